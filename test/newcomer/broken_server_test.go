package newcomer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// served is what goes wrong with ports, certificates and servers that answer on them.
func served() []breakage {
	return []breakage{
		{"nothing on port 25", "port-25-in", "nothing listens", nil, closed("INPUT", "tcp", 25, "REJECT --reject-with tcp-reset")},
		{"hoster closes port 25", "port-25-out", "IPv4: the mail servers of", nil, closedOut},
		{"nothing on port 465", "submissions", "nothing listens", nil, closed("INPUT", "tcp", 465, "REJECT --reject-with tcp-reset")},
		{"nothing on port 587", "submission", "nothing listens", nil, closed("INPUT", "tcp", 587, "REJECT --reject-with tcp-reset")},
		{"no DNS over TCP", "nameservers", "nothing listens there on TCP", nil, closed("INPUT", "tcp", 53, "REJECT --reject-with tcp-reset")},
		{"nothing on port 443", "mta-sts", "", nil, closed("INPUT", "tcp", 443, "REJECT --reject-with tcp-reset")},
		{"open relay", "open-relay", "takes mail of a stranger", []string{"dane"}, stranger("mx."+domain, []string{"mx." + domain}, valid)},
		{"EHLO name", "ehlo", "localhost: the server calls itself so", []string{"open-relay", "dane"}, stranger("localhost", []string{"mx." + domain}, valid)},
		{"self-made certificate", "certificate", "not trusted", []string{"open-relay", "dane", "mta-sts"}, stranger("mx."+domain, nil, valid)},
		{"certificate of another name", "certificate", "for another name", []string{"open-relay", "dane", "mta-sts"}, stranger("mx."+domain, []string{"www." + domain}, valid)},
		{"certificate has expired", "certificate", "expired", []string{"open-relay", "dane", "mta-sts"}, stranger("mx."+domain, []string{"mx." + domain}, expired)},
	}
}

// closed closes a port of the server by a rule of its firewall.
func closed(chain, protocol string, port int, verdict string) func(w *scene) func() {
	return func(w *scene) func() { return w.firewall("%s -p %s --dport %d -j %s", chain, protocol, port, verdict) }
}

// closedOut lets connections to port 25 of this machine alone.
func closedOut(w *scene) func() {
	return w.firewall("OUTPUT -p tcp --dport 25 ! -d %s -j DROP", address)
}

func (w *scene) firewall(rule string, args ...any) func() {
	w.t.Helper()
	words := strings.Fields(fmt.Sprintf(rule, args...))
	w.iptables("-A", words)
	return func() { w.iptables("-D", words) }
}

func (w *scene) iptables(verb string, words []string) {
	w.t.Helper()
	w.must("ip", append([]string{"netns", "exec", "server", "iptables", "-w", verb}, words...)...)
}

// How long a certificate is good.
const (
	valid   = 60 * 24 * time.Hour
	expired = -time.Minute
)

// stranger puts another server in the place of ours on port 25: one that takes every mail, under a
// name, with a certificate of the world's authority for hosts, or one that it made itself.
func stranger(name string, hosts []string, left time.Duration) func(w *scene) func() {
	return func(w *scene) func() {
		authority := w.CA
		if hosts == nil {
			hosts = []string{name}
			var err error
			if authority, err = lab.NewCA(); err != nil {
				w.t.Fatal(err)
			}
		}
		cert, err := authority.IssueUntil(time.Now().Add(left), hosts...)
		if err != nil {
			w.t.Fatal(err)
		}
		l, err := net.Listen("tcp", "45.33.32.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		s := &smtp.Server{
			Name: name, Domain: domain, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
			Next: mail.HandlerFunc(func(context.Context, *mail.Mail) error { return nil }),
		}
		ctx, stop := context.WithCancel(context.Background())
		go s.Serve(ctx, l) //nolint:errcheck // it ends with the test
		open := w.firewall("OUTPUT -t nat -p tcp -d %s --dport 25 -j DNAT --to-destination %s", address, l.Addr())
		return func() {
			open()
			stop()
		}
	}
}
