package verify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// failures are the ways in which DNS fails, the last being a resolver that is not there.
var failures = []struct {
	name string
	how  dnstest.Failure
}{
	{"servfail or bogus", dnstest.ServFail}, {"refused", dnstest.Refused}, {"timeout", dnstest.Timeout},
	{"garbage", dnstest.Garbage}, {"lame", dnstest.Lame}, {"no resolver", 0},
}

// unreachable fails for some names as a resolver does that is not there.
type unreachable struct {
	dns.Exchanger
	names []string
}

func (u unreachable) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	for _, n := range u.names {
		if dns.Canonical(n) == dns.Canonical(q.Question[0].Name) {
			return nil, errors.New("connection refused")
		}
	}
	return u.Exchanger.Exchange(ctx, q)
}

func failing(t *testing.T, how dnstest.Failure, names ...string) dns.Exchanger {
	x := newWorld(t)
	if how == 0 {
		return unreachable{x, names}
	}
	for _, n := range names {
		x.Fail(n, how)
	}
	return x
}

// R13: six failures of DNS, each user of DNS here: never none, fail or permanent where the
// truth would have been pass.
func TestDNSFailures(t *testing.T) {
	const dkimName = "s1._domainkey.legit.example"
	users := []struct {
		name  string
		fails []string
		want  string // "" for a temporary refusal
	}{
		{"iprev PTR", []string{"1.2.0.192.in-addr.arpa"}, "iprev=temperror spf=pass spf=pass dkim=pass dmarc=pass"},
		{"iprev A", []string{"mail.legit.example"}, "iprev=temperror spf=temperror spf=pass dkim=pass dmarc=pass"},
		{"spf of MAIL FROM", []string{"legit.example"}, "iprev=pass spf=pass spf=temperror dkim=pass dmarc=pass"},
		{"dkim key", []string{dkimName}, "iprev=pass spf=pass spf=pass dkim=temperror dmarc=pass"},
		{"dmarc record", []string{"_dmarc.legit.example"}, "iprev=pass spf=pass spf=pass dkim=pass dmarc=temperror"},
		{"spf and dkim, p=reject", []string{"legit.example", dkimName}, ""},
		{"all", []string{"1.2.0.192.in-addr.arpa", "mail.legit.example", "legit.example", dkimName, "_dmarc.legit.example"},
			"iprev=temperror spf=temperror spf=temperror dkim=temperror dmarc=temperror"},
	}
	in := incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\n", []string{"legit.example"}}
	for _, f := range failures {
		for _, u := range users {
			v, s := newVerifier(t, failing(t, f.how, u.fails...))
			err := v.Handle(t.Context(), in.mail(t))
			switch {
			case u.want == "" && (code(err) != 451 || mail.RefusalOf(err).Status != "4.7.0"):
				t.Errorf("%s, %s: %v, want 451 4.7.0", f.name, u.name, err)
			case u.want != "" && err != nil:
				t.Errorf("%s, %s: %v", f.name, u.name, err)
			case u.want != "":
				if got := values(topResults(t, s.got)); got != u.want {
					t.Errorf("%s, %s: %s, want %s", f.name, u.name, got, u.want)
				}
			}
		}
	}
}

// Mail that claims a domain of ours waits while DNS fails: it is neither let in nor refused.
func TestDNSFailuresAndOurDomains(t *testing.T) {
	in := incoming{attackIP, "mx.attack.example", "cat@ours.example", "From: cat@ours.example\n", []string{"ours.example"}}
	key := dkim.RecordName("s1", "ours.example")
	for _, f := range failures {
		for _, names := range []string{key, key + " ours.example", "_dmarc.ours.example ours.example " + key} {
			v, s := newVerifier(t, failing(t, f.how, strings.Fields(names)...))
			if err := v.Handle(t.Context(), in.mail(t)); code(err) != 451 || s.got != nil {
				t.Errorf("%s of %s: %v, want 451", f.name, names, err)
			}
		}
	}
}

func TestTimeLimit(t *testing.T) {
	hang := dns.ExchangerFunc(func(ctx context.Context, _ *dns.Msg) (*dns.Msg, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	v, s := newVerifier(t, hang)
	v.Timeout = 50e6
	in := incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\n", []string{"legit.example"}}
	if err := v.Handle(t.Context(), in.mail(t)); err != nil {
		t.Fatal(err)
	}
	if got := values(topResults(t, s.got)); strings.Count(got, "temperror") != 5 {
		t.Errorf("%s", got)
	}
}
