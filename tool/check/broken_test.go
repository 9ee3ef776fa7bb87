package check

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A breakage is one thing that is broken in a healthy world, and the checks that have to say
// so: they and no others.
type breakage struct {
	name   string
	status Status   // of what is said; "" is Wrong
	checks []string // that say so
	says   string   // a part of the text, with what it is about
	do     func(w *world)
}

func TestBrokenNames(t *testing.T) {
	breakages(t, []breakage{
		{"not registered", "", []string{"delegation"}, "does not exist", func(w *world) {
			w.target.Domain = "nowhere.example"
			w.options.Only = []string{"delegation", "glue", "nameservers", "soa", "ns", "ds"}
		}},
		{"not delegated", "", []string{"delegation"}, "do not delegate", func(w *world) {
			w.parent.ns, w.parent.glue = nil, nil
		}},
		{"parent names a server too many", "", []string{"delegation"}, "ns2.other.example: .example delegates to it", func(w *world) {
			for _, s := range w.servers {
				s.zone = strings.Replace(s.zone, "stage.example. NS ns2.other.example.\n", "", 1)
			}
		}},
		{"parent lacks a server", "", []string{"delegation"}, "ns2.other.example: the zone names it", func(w *world) {
			w.parent.ns = w.parent.ns[:1]
		}},
		{"name server is an alias", "", []string{"delegation"}, "alias of real.other.example", func(w *world) {
			w.replace("ns2.other.example. A 203.0.113.53", "ns2.other.example. CNAME real.other.example.\nreal.other.example. A 203.0.113.53")
		}},
		{"no glue", "", []string{"glue"}, "ns1.stage.example: the parent gives no address", func(w *world) { w.parent.glue = nil }},
		{"wrong glue", "", []string{"glue"}, "the parent gives 192.0.2.54", func(w *world) {
			w.parent.glue = []string{"ns1.stage.example. A 192.0.2.54", "ns1.stage.example. AAAA 2001:db8::53"}
			w.servers["192.0.2.54"] = w.servers["192.0.2.53"]
		}},
		{"lame server", "", []string{"nameservers"}, "ns2.other.example (203.0.113.53): the server is lame: REFUSED", func(w *world) {
			w.servers["203.0.113.53"].rcode = dns.RcodeRefused
		}},
		{"no authority", "", []string{"nameservers"}, "not the answer of an authority", func(w *world) { w.servers["203.0.113.53"].noAA = true }},
		{"nothing on port 53", "", []string{"nameservers"}, "nothing listens there on UDP and TCP", func(w *world) {
			w.servers["203.0.113.53"].udpErr, w.servers["203.0.113.53"].tcpErr = syscall.ECONNREFUSED, syscall.ECONNREFUSED
		}},
		{"TCP is closed", "", []string{"nameservers"}, "over UDP, not over TCP", func(w *world) {
			w.servers["192.0.2.53"].tcpErr = context.DeadlineExceeded
		}},
		{"server is silent", Unknown, []string{"nameservers"}, "ns2.other.example (203.0.113.53): no answer", func(w *world) {
			w.servers["203.0.113.53"].udpErr, w.servers["203.0.113.53"].tcpErr = context.DeadlineExceeded, context.DeadlineExceeded
		}},
		{"serial is behind", "", []string{"soa"}, "it has serial 6, another server 7", func(w *world) {
			s := w.servers["203.0.113.53"]
			s.zone = strings.Replace(s.zone, " 7 7200", " 6 7200", 1)
		}},
		{"servers name others", "", []string{"ns"}, "ns2.other.example (203.0.113.53): it names ns1.stage.example, the others", func(w *world) {
			s := w.servers["203.0.113.53"]
			s.zone = strings.Replace(s.zone, "stage.example. NS ns2.other.example.\n", "", 1)
		}},
		{"chain is broken", "", []string{"dnssec"}, "signature expired", func(w *world) {
			w.verdict = Verdict{State: "bogus", Steps: []string{"stage.example. MX: signature expired"}}
		}},
		{"DS of another key", "", []string{"ds"}, "no DS record is the digest", func(w *world) {
			other, err := dnstest.NewKey("stage.example.", dnstest.Ed25519, 257)
			if err != nil {
				w.t.Fatal(err)
			}
			w.parent.ds = []*dns.DSRecord{other.DS(2)}
		}},
		{"signed without DS", "", []string{"ds"}, "has no DS record for it", func(w *world) { w.parent.ds = nil }},
		{"not signed", Note, []string{"dnssec"}, "not signed", func(w *world) {
			w.parent.ds, w.verdict.State = nil, "insecure"
			for _, s := range w.servers {
				s.dnskey = nil
			}
		}},
		{"CAA forbids", "", []string{"caa"}, "allow other.example, and not letsencrypt.org", func(w *world) {
			w.replace(`issue "letsencrypt.org"`, `issue "other.example"`)
		}},
		{"parent fails", Unknown, []string{"delegation", "glue", "ds"}, "SERVFAIL", func(w *world) { w.parent.fail = dns.RcodeServerFailure }},
	})
}

func TestBrokenHosts(t *testing.T) {
	each := func(w *world, port string, do func(m *mailServer)) {
		for _, ip := range []string{"192.0.2.25", "[2001:db8::25]"} {
			do(w.hosts[ip+port])
		}
	}
	breakages(t, []breakage{
		{"no MX", "", []string{"mx"}, "no MX record", func(w *world) {
			w.replace("stage.example. MX 10 mx.stage.example.\n", "")
			w.replace("v=spf1 mx -all", "v=spf1 a:mx.stage.example -all")
		}},
		{"null MX", "", []string{"mx"}, "takes no mail", func(w *world) {
			w.replace("MX 10 mx.stage.example.", "MX 0 .")
			w.replace("v=spf1 mx -all", "v=spf1 a:mx.stage.example -all")
		}},
		{"MX is an alias", "", []string{"mx"}, "alias of host.stage.example", func(w *world) {
			w.replace("MX 10 mx.stage.example.", "MX 10 post.stage.example.")
			w.names += "post.stage.example. CNAME mx.stage.example.\n"
			w.names = strings.Replace(w.names, "CNAME mx.stage", "CNAME host.stage", 1)
			w.names += "host.stage.example. A 192.0.2.25\nhost.stage.example. AAAA 2001:db8::25\n"
			for _, m := range w.hosts {
				m.cert = w.issue("mx.stage.example", "post.stage.example")
			}
			w.policy = func(o http.ResponseWriter, _ *http.Request) {
				o.Write([]byte("version: STSv1\nmode: enforce\nmx: *.stage.example\nmax_age: 1209600\n"))
			}
			w.options.Skip = []string{"dane"}
		}},
		{"MX without address", "", []string{"mx"}, "no address", func(w *world) {
			w.names += "stage.example. MX 20 gone.stage.example.\n"
			w.policy = func(o http.ResponseWriter, _ *http.Request) {
				o.Write([]byte("version: STSv1\nmode: enforce\nmx: *.stage.example\nmax_age: 1209600\n"))
			}
			w.options.Skip = []string{"dane"}
		}},
		{"private MX", "", []string{"mx"}, "cannot reach 10.1.2.3", func(w *world) {
			w.names += "stage.example. MX 20 in.stage.example.\nin.stage.example. A 10.1.2.3\n"
			w.hosts["10.1.2.3:25"] = w.hosts["192.0.2.25:25"]
			w.hosts["10.1.2.3:25"].cert = w.issue("mx.stage.example", "in.stage.example")
			w.options.Only = []string{"mx", "ptr", "spf", "certificate"}
			w.hosts["[2001:db8::25]:25"].cert = w.hosts["10.1.2.3:25"].cert
		}},
		{"MX leads elsewhere", Note, []string{"mx"}, "no MX record leads to this service", func(w *world) {
			w.replace("MX 10 mx.stage.example.", "MX 10 mx.big.example.")
			w.options.Only = []string{"mx", "ptr", "port-25-in"}
		}},
		{"no PTR", "", []string{"ptr"}, "192.0.2.25: the address has no name", func(w *world) {
			w.replace("25.2.0.192.in-addr.arpa. PTR mx.stage.example.\n", "")
		}},
		{"no PTR for IPv6", "", []string{"ptr"}, "2001:db8::25: the address has no name", func(w *world) {
			w.replace("5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.stage.example.\n", "")
		}},
		{"PTR does not lead back", "", []string{"ptr"}, "its name is host.hoster.example", func(w *world) {
			w.replace("25.2.0.192.in-addr.arpa. PTR mx.stage.example.", "25.2.0.192.in-addr.arpa. PTR host.hoster.example.")
		}},
		{"EHLO name is local", "", []string{"ehlo"}, "localhost: the server calls itself so", func(w *world) {
			each(w, ":25", func(m *mailServer) { m.name = "localhost" })
		}},
		{"EHLO name is elsewhere", "", []string{"ehlo"}, "ns1.stage.example: the server calls itself so at", func(w *world) {
			each(w, ":25", func(m *mailServer) { m.name = "ns1.stage.example" })
		}},
		{"EHLO name of a stranger", Note, []string{"ehlo"}, "localhost: the server calls itself so", func(w *world) {
			w.target.Name = ""
			each(w, ":25", func(m *mailServer) { m.name = "localhost" })
		}},
		{"nothing on port 25", "", []string{"port-25-in"}, "mx.stage.example (192.0.2.25): nothing listens", func(w *world) { w.refused["192.0.2.25:25"] = true }},
		{"firewall before port 25", "", []string{"port-25-in"}, "a firewall is closed", func(w *world) { w.silent["192.0.2.25:25"] = true }},
		{"port 25 says nothing now", Unknown, []string{"port-25-in"}, "421 busy", func(w *world) { w.hosts["192.0.2.25:25"].greeting = "421 busy" }},
		{"hoster closes port 25", "", []string{"port-25-out"}, "IPv4: the mail servers of", func(w *world) {
			w.silent["203.0.113.125:25"], w.silent["203.0.113.126:25"] = true, true
		}},
		{"receivers refuse us", "", []string{"port-25-out"}, "you are listed", func(w *world) {
			w.hosts["203.0.113.125:25"].greeting, w.hosts["203.0.113.126:25"].greeting = "554 you are listed", "554 you are listed"
		}},
		{"no STARTTLS", "", []string{"starttls"}, "offers no STARTTLS", func(w *world) { each(w, ":25", func(m *mailServer) { m.noSTARTTLS = true }) }},
		{"STARTTLS fails", "", []string{"starttls"}, "TLS fails", func(w *world) { each(w, ":25", func(m *mailServer) { m.cert = nil }) }},
		{"old TLS", "", []string{"starttls"}, "TLS 1.1", func(w *world) { each(w, ":25", func(m *mailServer) { m.maxVersion = tls.VersionTLS11 }) }},
		{"certificate of another name", "", []string{"certificate"}, "for another name", func(w *world) {
			w.otherCertificate(w.issue("www.stage.example"))
		}},
		{"certificate of an unknown authority", "", []string{"certificate"}, "not trusted", func(w *world) {
			w.otherCertificate(w.foreign("mx.stage.example"))
		}},
		{"refuses postmaster", "", []string{"postmaster"}, "refused: 550 5.1.1", func(w *world) {
			each(w, ":25", func(m *mailServer) { m.postmaster = "550 5.1.1 unknown" })
		}},
		{"open relay", "", []string{"open-relay"}, "takes mail of a stranger", func(w *world) {
			w.hosts["192.0.2.25:25"].relay = "250 2.1.5 fine"
		}},
		{"greylisted", Unknown, []string{"postmaster", "open-relay"}, "450 4.7.1 later", func(w *world) {
			each(w, ":25", func(m *mailServer) { m.postmaster, m.relay = "450 4.7.1 later", "450 4.7.1 later" })
		}},
		{"nothing on port 465", "", []string{"submissions"}, "nothing listens", func(w *world) { w.refused["192.0.2.25:465"] = true }},
		{"no login", "", []string{"submissions"}, "no AUTH within TLS", func(w *world) { each(w, ":465", func(m *mailServer) { m.auth = false }) }},
		{"AUTH before TLS", "", []string{"submission"}, "AUTH PLAIN SCRAM-SHA-256 before TLS", func(w *world) {
			each(w, ":587", func(m *mailServer) { m.authEarly = true })
		}},
		{"wrong certificate on 587", "", []string{"submission"}, "for another name", func(w *world) {
			each(w, ":587", func(m *mailServer) { m.cert = w.issue("www.stage.example") })
		}},
		{"SRV without address", "", []string{"srv"}, "gone.stage.example", func(w *world) {
			w.names += "_submissions._tcp.stage.example. SRV 0 1 465 gone.stage.example.\n"
		}},
	})
}

func TestBrokenPolicies(t *testing.T) {
	breakages(t, []breakage{
		{"no SPF", "", []string{"spf"}, "no SPF record", func(w *world) { w.replace("v=spf1 mx -all", "something else") }},
		{"two SPF records", "", []string{"spf"}, "2 SPF records", func(w *world) { w.names += "stage.example. TXT \"v=spf1 -all\"\n" }},
		{"SPF without us", "", []string{"spf"}, "2001:db8::25: our own address may not send", func(w *world) { w.replace("v=spf1 mx -all", "v=spf1 ip4:192.0.2.25 -all") }},
		{"SPF syntax", "", []string{"spf"}, "is broken", func(w *world) { w.replace("v=spf1 mx -all", "v=spf1 mx ipv4:192.0.2.1 -all") }},
		{"SPF for everybody", "", []string{"spf"}, "everybody may send", func(w *world) { w.replace("v=spf1 mx -all", "v=spf1 mx +all") }},
		{"SPF with too many look-ups", "", []string{"spf"}, "more than 10 terms", func(w *world) {
			w.replace("v=spf1 mx -all", "v=spf1 mx "+strings.Repeat("a:ns1.stage.example ", 11)+"-all")
		}},
		{"DKIM key is missing", "", []string{"dkim"}, "ed._domainkey.stage.example: no key is published", func(w *world) {
			w.replace("ed._domainkey.stage.example.", "elsewhere.stage.example.")
		}},
		{"DKIM key of another", "", []string{"dkim"}, "not the one that mail is signed with", func(w *world) {
			other, _, _ := ed25519.GenerateKey(rand.Reader)
			w.target.Keys = []Key{w.target.Keys[0], {"ed", other}}
		}},
		{"DKIM key is revoked", "", []string{"dkim"}, "revoked", func(w *world) {
			w.replace("ed._domainkey.stage.example.", "elsewhere.stage.example.")
			w.names += "ed._domainkey.stage.example. TXT \"v=DKIM1; p=\"\n"
		}},
		{"no DMARC", "", []string{"dmarc"}, "no DMARC record", func(w *world) { w.replace("_dmarc.stage.example.", "_nodmarc.stage.example.") }},
		{"DMARC with a mistake", "", []string{"dmarc"}, "p=rejekt is no policy", func(w *world) { w.replace("p=reject", "p=rejekt") }},
		{"DMARC asks for nothing", Note, []string{"dmarc"}, "p=none", func(w *world) { w.replace("p=reject", "p=none") }},
		{"two DMARC records", "", []string{"dmarc"}, "2 DMARC records", func(w *world) { w.names += "_dmarc.stage.example. TXT \"v=DMARC1; p=none\"\n" }},
		{"MTA-STS policy is missing", "", []string{"mta-sts"}, "404", func(w *world) {
			w.policy = func(o http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					http.NotFound(o, r)
				}
			}
		}},
		{"MTA-STS names another host", "", []string{"mta-sts"}, "does not name this MX", func(w *world) {
			w.policy = func(o http.ResponseWriter, _ *http.Request) {
				o.Write([]byte("version: STSv1\nmode: enforce\nmx: old.stage.example\nmax_age: 1209600\n"))
			}
		}},
		{"MTA-STS mode", "", []string{"mta-sts"}, "mode is", func(w *world) {
			w.policy = func(o http.ResponseWriter, _ *http.Request) {
				o.Write([]byte("version: STSv1\nmode: strict\nmx: mx.stage.example\nmax_age: 1209600\n"))
			}
		}},
		{"MTA-STS without id", "", []string{"mta-sts"}, "no id=", func(w *world) { w.replace("id=20260101", "id=") }},
		{"no MTA-STS", Note, []string{"mta-sts"}, "no MTA-STS record", func(w *world) { w.replace("_mta-sts.stage", "_no-sts.stage") }},
		{"TLS reports to nobody", "", []string{"tls-rpt"}, "no rua=", func(w *world) { w.replace("rua=mailto:tls@stage.example", "rua=nobody") }},
		{"TLSA of another key", "", []string{"dane"}, "no TLSA record matches", func(w *world) {
			w.replace("TLSA 3 0 0 ", "TLSA 3 0 0 00")
		}},
		{"on a block list", "", []string{"blocklist"}, "192.0.2.25: it is on the block list list.example: 127.0.0.3, a reason", func(w *world) {
			w.names += "25.2.0.192.list.example. A 127.0.0.3\n25.2.0.192.list.example. TXT \"a reason\"\n"
		}},
		{"domain on a block list", "", []string{"blocklist"}, "stage.example: it is on", func(w *world) {
			w.names += "stage.example.domains.example. A 127.0.1.2\n"
		}},
		{"block list refuses our resolver", Unknown, []string{"blocklist"}, "public resolver", func(w *world) {
			w.replace("2.0.0.127.list.example. A 127.0.0.2", "2.0.0.127.list.example. A 127.255.255.254")
			w.names += "25.2.0.192.list.example. A 127.255.255.254\n"
		}},
		{"DNS fails", Unknown, []string{"dmarc"}, "SERVFAIL", func(w *world) { w.fail["_dmarc.stage.example"] = dnstest.ServFail }},
	})
}

func TestBrokenMachine(t *testing.T) {
	breakages(t, []breakage{
		{"configuration", "", []string{"config"}, "unknown key", func(w *world) { w.target.ConfigErr = errors.New("unknown key") }},
		{"readable key", "", []string{"permissions"}, "others may read it (mode 0644)", func(w *world) {
			w.chmod(filepath.Join(w.target.State, "srs.key"), 0o644)
		}},
		{"writable state", "", []string{"permissions"}, "others may write", func(w *world) { w.chmod(w.target.State, 0o777) }},
		{"full disk", "", []string{"disk"}, "only 5 MiB", func(w *world) {
			w.env.Disk = func(string) (Space, error) { return Space{Free: 5 << 20, Total: 20 << 30}, nil }
		}},
		{"disk fills up", Note, []string{"disk"}, "only 300 MiB", func(w *world) {
			w.env.Disk = func(string) (Space, error) { return Space{Free: 300 << 20, Total: 20 << 30}, nil }
		}},
		{"clock", "", []string{"clock"}, "s ahead", func(w *world) {
			w.policyWithDate(-2 * time.Minute)
		}},
		{"no clock to compare with", Unknown, []string{"clock"}, "could not be asked", func(w *world) { w.target.Clock = "https://gone.example/" }},
		{"expired certificate", "", []string{"certificate", "submissions", "submission"}, "expired on", func(w *world) {
			w.env.Now = func() time.Time { return time.Now().Add(40 * 24 * time.Hour) }
			w.options.Skip = []string{"clock", "mta-sts"}
		}},
		{"certificate to renew", "", []string{"certificate", "submissions", "submission"}, "expires in 1 days", func(w *world) {
			w.env.Now = func() time.Time { return time.Now().Add(28 * 24 * time.Hour) }
			w.options.Skip = []string{"clock", "mta-sts"}
		}},
	})
}

func breakages(t *testing.T, all []breakage) {
	t.Helper()
	for _, b := range all {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			if b.status == "" {
				b.status = Wrong
			}
			w := newWorld(t)
			b.do(w)
			b.verify(t, w.run())
		})
	}
}

// verify wants the checks of b to say what is broken, and no other check to find anything
// wrong, unknown or, where b is about notes, worth a note.
func (b breakage) verify(t *testing.T, r *Report) {
	t.Helper()
	said, where := map[string]bool{}, false
	for _, l := range r.Lines {
		bad := l.Status == Wrong || l.Status == Unknown || l.Status == b.status
		if bad && (!slices.Contains(b.checks, l.ID) || l.Status != b.status) {
			t.Errorf("besides: %s %s: %s: %s", l.Status, l.ID, l.About, l.Text)
		}
		if l.Status == b.status {
			said[l.ID] = true
			where = where || strings.Contains(l.About+": "+l.Text, b.says)
			if b.status != Unknown && (l.Why == "" || l.Fix == "") {
				t.Errorf("%s does not say why, or what to do: %+v", l.ID, l)
			}
		}
	}
	for _, id := range b.checks {
		if !said[id] {
			t.Errorf("%s does not say %q", id, b.status)
		}
	}
	if !where {
		t.Errorf("nobody says %q", b.says)
	}
	want := b.status
	if want == Note {
		want = OK
	}
	if r.Result != want {
		t.Errorf("the result is %s, want %s", r.Result, want)
	}
	if t.Failed() {
		for _, l := range r.Lines {
			t.Logf("%-8s %-12s %s: %s", l.Status, l.ID, l.About, l.Text)
		}
	}
}

func (w *world) chmod(name string, mode os.FileMode) {
	if err := os.Chmod(name, mode); err != nil {
		w.t.Fatal(err)
	}
}
