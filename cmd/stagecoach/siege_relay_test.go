package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
	"stagecoach/rfc/srs"
)

// relayForms are the ways to ask for mail to bob@lookout.example, who is not ours. %[1]s is
// our domain, %[2]s our address, %[3]s that of lookout.example. from is the argument of MAIL when
// it matters.
var relayForms = []struct{ name, from, to string }{
	{"plain", "", "<bob@lookout.example>"},
	{"percent", "", "<bob%%lookout.example@%[1]s>"},
	{"percent twice", "", "<bob%%lookout.example%%x.example@%[1]s>"},
	{"percent without a domain", "", "<bob%%lookout.example>"},
	{"percent at our literal", "", "<bob%%lookout.example@[%[2]s]>"},
	{"percent to us", "", "<bob@lookout.example%%%[1]s>"},
	{"bang", "", "<lookout.example!bob@%[1]s>"},
	{"bang without a domain", "", "<lookout.example!bob>"},
	{"bang with us", "", "<%[1]s!lookout.example!bob>"},
	{"quoted at", "", `<"bob@lookout.example"@%[1]s>`},
	{"quoted at, no domain", "", `<"bob@lookout.example">`},
	{"quotes in quotes", "", `<"\"bob@lookout.example\""@%[1]s>`},
	{"quote that does not end", "", `<"bob@lookout.example@%[1]s>`},
	{"escaped at", "", `<bob\@lookout.example@%[1]s>`},
	{"quoted blank", "", `<"bob@lookout.example "@%[1]s>`},
	{"source route", "", "<@%[1]s:bob@lookout.example>"},
	{"source route of two", "", "<@%[1]s,@lookout.example:bob@lookout.example>"},
	{"source route to us", "", "<@lookout.example:bob@%[1]s>"},
	{"foreign literal", "", "<bob@[%[3]s]>"},
	{"our literal", "", "<bob@[%[2]s]>"},
	{"loopback literal", "", "<bob@[127.0.0.1]>"},
	{"IPv6 literal", "", "<bob@[IPv6:::ffff:%[3]s]>"},
	{"localhost", "", "<bob@localhost>"},
	{"final dot", "", "<bob@lookout.example.>"},
	{"final dot on ours", "", "<bob%%lookout.example@%[1]s.>"},
	{"upper case", "", "<BOB@LOOKOUT.EXAMPLE>"},
	{"at us at them", "", "<bob@%[1]s@lookout.example>"},
	{"at them at us", "", "<bob@lookout.example@%[1]s>"},
	{"below ours", "", "<bob@lookout.example.%[1]s>"},
	{"ours below theirs", "", "<bob@%[1]s.lookout.example>"},
	{"our host name", "", "<bob@mx.%[1]s>"},
	{"U-label", "", "<bob@lookoüt.example>"},
	{"U-label with SMTPUTF8", "<x@plain.example> SMTPUTF8", "<bob@lookoüt.example>"},
	{"A-label", "", "<bob@xn--lookot-6ya.example>"},
	{"A-label that decodes to nothing good", "", "<bob@xn--lookout.example-.example>"},
	{"ideographic dot", "<x@plain.example> SMTPUTF8", "<bob@lookout\u3002example>"},
	{"full-width at", "<x@plain.example> SMTPUTF8", "<bob\uff20lookout.example@%[1]s>"},
	{"NUL", "", "<bob@lookout.example\x00@%[1]s>"},
	{"NUL before us", "", "<bob@lookout.example\x00.%[1]s>"},
	{"comment", "", "<bob(x)@lookout.example>"},
	{"comment with us", "", "<bob@(%[1]s)lookout.example>"},
	{"comment at the end", "", "<bob@lookout.example(@%[1]s)>"},
	{"null path", "", "<>"},
	{"their postmaster", "", "<postmaster@lookout.example>"},
	{"no brackets", "", "bob@lookout.example"},
	{"two paths", "", "<ann@%[1]s> <bob@lookout.example>"},
	{"a list", "", "<ann@%[1]s,bob@lookout.example>"},
	{"brackets in brackets", "", "<<bob@lookout.example>@%[1]s>"},
	{"encoded word", "", "<=?utf-8?q?bob=40lookout.example=00?=@%[1]s>"},
	{"a parameter that routes", "", "<nobody@%[1]s> ORCPT=rfc822;bob@lookout.example"},
	{"we send it", "<ann@%[1]s>", "<bob@lookout.example>"},
	{"nobody sends it", "<>", "<bob@lookout.example>"},
	{"with AUTH=", "<ann@%[1]s> AUTH=ann@%[1]s", "<bob@lookout.example>"},
	{"they send it to themselves", "<bob@lookout.example>", "<bob@lookout.example>"},
	{"SRS forged", "<>", "<SRS0=aaaaaaaaaaaaaaaa=aa=lookout.example=bob@%[1]s>"},
	{"SRS forged with +", "<>", "<SRS0+aaaaaaaaaaaaaaaa=aa=lookout.example=bob@%[1]s>"},
	{"SRS without a tag", "<>", "<SRS0===lookout.example=bob@%[1]s>"},
	{"SRS1 forged", "<>", "<SRS1=aaaaaaaaaaaaaaaa=lookout.example==aaaa=aa=x.example=bob@%[1]s>"},
	{"SRS expired", "<>", "<%[4]s>"},
	{"SRS of another domain's key", "<>", "<%[5]s>"},
	{"SRS of another recipient", "<>", "<%[6]s>"},
	{"SRS replayed by a sender", "<x@plain.example>", "<%[7]s>"},
	{"SRS at another domain", "<>", "<%[8]s>"},
}

// forms fills the table in.
func (w *world) forms(t *testing.T) (commands [][3]string) {
	t.Helper()
	key, err := ensureSecret(w.path("srs.key"))
	if err != nil {
		t.Fatal(err)
	}
	bob := mail.MustParseAddress("bob@" + lab.LookoutDomain)
	srsOf := func(domain string, at time.Time) string {
		r := &srs.Rewriter{Domain: domain, Keys: [][]byte{key}}
		a, err := r.Forward(bob, at)
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	now := time.Now()
	valid := srsOf(w.domain, now)
	args := []any{
		w.domain, w.address, w.Lookout.Addr,
		srsOf(w.domain, now.AddDate(0, 0, -30)),
		strings.ReplaceAll(srsOf("other.example", now), "@other.example", "@"+w.domain),
		strings.ReplaceAll(valid, "=bob@", "=eve@"),
		valid,
		strings.ReplaceAll(valid, "@"+w.domain, "@"+lab.LookoutDomain),
	}
	const none = "%.0[1]s%.0[2]s%.0[3]s%.0[4]s%.0[5]s%.0[6]s%.0[7]s%.0[8]s" // Sprintf wants all to be used
	for _, f := range relayForms {
		from := f.from
		if from == "" {
			from = "<x@plain.example>"
		}
		commands = append(commands, [3]string{f.name, fmt.Sprintf(from+none, args...), fmt.Sprintf(f.to+none, args...)})
	}
	return commands
}

// S11: nobody gets a mail through us to where it does not belong, by any way to write it.
func TestOpenRelay(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	w.cheapLogin(t, annsMailbox+"@"+lab.BigMailDomain)
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "none" })
	if err := w.AddZone("plain.example", "@ MX 10 mx.lookout.example.\n"); err != nil {
		t.Fatal(err)
	}
	starttls := func(a *attacker) error { return a.startTLS(w.clientTLS()) }
	hello := func(a *attacker) error { a.say("EHLO siege.example"); return nil }
	wrong := func(before func(*attacker) error) func(*attacker) error {
		return func(a *attacker) error {
			if err := before(a); err != nil {
				return err
			}
			if r := a.say(plainAuth("ann@"+w.domain, "wrong")); r.code != 535 {
				return fmt.Errorf("the wrong password: %s", r)
			}
			return nil
		}
	}
	doors := []door{
		{"25", w.mx(), hello, ""},
		{"25 under TLS", w.mx(), starttls, ""},
		{"587", w.at(587), hello, "530"},
		{"587 under TLS", w.at(587), starttls, "530"},
		{"465", w.at(465), hello, "530"},
		{"587, wrong password", w.at(587), wrong(starttls), "530"},
		{"465, wrong password", w.at(465), wrong(hello), "530"},
	}
	commands := w.forms(t)
	var all sync.WaitGroup
	for i, d := range doors {
		all.Go(func() {
			if err := d.try(t.Context(), w, commands, 64*i); err != nil {
				t.Errorf("port %s: %v", d.name, err)
			}
		})
	}
	all.Wait()
	// Had one of them been queued, it would have arrived before this.
	if _, err := w.out(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Lookout.User("bob").Mails()); n != 1 {
		t.Errorf("%d mails were relayed", n-1)
	}
	if n := len(w.BigMail.User(annsMailbox).Mails()) + len(w.Correspondent.User("carol").Mails()); n != 0 {
		t.Errorf("%d mails went elsewhere", n)
	}
	if n := len(relayForms); n < 40 {
		t.Errorf("only %d forms", n)
	}
}

// A door is a way to the service.
type door struct {
	name, address string
	begin         func(*attacker) error
	want          string // the reply begins so
}

// try says all of the commands at a door, from addresses of its own.
func (d door) try(ctx context.Context, w *world, commands [][3]string, first int) (failed error) {
	var config *tls.Config
	if strings.HasPrefix(d.name, "465") {
		config = w.clientTLS()
	}
	var a *attacker
	for n, c := range commands {
		if a == nil {
			var err error
			if a, _, err = attack(ctx, stranger(first+n), d.address, config); err != nil {
				return errors.Join(failed, err)
			}
			defer a.close()
			if err := d.begin(a); err != nil {
				return errors.Join(failed, err)
			}
		}
		r := tryToRelay(a, c[1], c[2])
		if r.code < 500 || !strings.HasPrefix(r.text, d.want) {
			failed = errors.Join(failed, fmt.Errorf("%s: MAIL FROM:%s RCPT TO:%s: %s", c[0], c[1], c[2], r))
		}
		if a.say("RSET").code != 250 { // too many errors, or bad talk
			a = nil
		}
	}
	return failed
}

// tryToRelay goes as far as it is let, to the end of the message, and returns the last reply.
func tryToRelay(a *attacker, from, to string) reply {
	if r := a.all("MAIL FROM:"+from, "RCPT TO:"+to, "DATA"); !r.good() {
		return r
	}
	return a.say("From: x@plain.example\r\nTo: bob@lookout.example\r\nSubject: relayed\r\n\r\nspam\r\n.")
}

// The door between our own stages opens to nobody from elsewhere but the networks of --from.
func TestInnerPortIsClosed(t *testing.T) {
	t.Parallel()
	outside := outsideAddress(t)
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.shutdown() })
	taken := make(chan *mail.Mail, 1)
	next := mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error { taken <- m; return nil })
	open := func(from ...netip.Prefix) string {
		address := netip.AddrPortFrom(outside, freePort(t, outside)).String()
		o := innerOptions{Listen: []string{address}, From: from}
		if err := p.inner("inner", identityOptions{Domain: "x.example", Name: "x.example"}, o, limitOptions{MaxSize: 1 << 20}, t.TempDir(), next); err != nil {
			t.Fatal(err)
		}
		return address
	}
	a, greeting, err := attack(t.Context(), outside, open(), nil)
	if err != nil || greeting.code != 554 {
		t.Fatalf("%v %v", greeting, err)
	}
	if r := a.say("EHLO siege.example"); r.code != 0 {
		t.Errorf("it still talks: %s", r)
	}
	a, greeting, err = attack(t.Context(), outside, open(netip.PrefixFrom(outside, 32)), nil)
	if err != nil || greeting.code != 220 {
		t.Fatalf("%v %v", greeting, err)
	}
	defer a.close()
	if r := a.all("EHLO siege.example", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"); r.code != 502 {
		t.Errorf("DATA between stages: %s", r)
	}
	if r := a.say("BDAT 6 LAST\r\nA: b"); r.code != 250 || len(taken) != 1 {
		t.Errorf("BDAT between stages: %s, %d mails", r, len(taken))
	}
}

// outsideAddress returns an address of this machine that is not loopback, from which it can
// talk to itself as a stranger would.
func outsideAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}

func freePort(t *testing.T, on netip.Addr) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(on, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}
