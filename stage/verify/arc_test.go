package verify

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns/dnstest"
)

// sealed puts sets of the domains on a mail, each of which claims that all was well.
func sealed(t *testing.T, m *mail.Mail, x *dnstest.Names, domains ...string) *mail.Mail {
	t.Helper()
	for _, d := range domains {
		s := arc.Sealer{Domain: d, Selector: "s1", Key: key(d)}
		found := authres.Results{ID: d, Results: []authres.Result{{Method: "dmarc", Value: "pass"}, {Method: "spf", Value: "pass"}}}
		fields, err := s.Seal(m.Message, found, arc.Verify(t.Context(), m.Message, x))
		if err != nil {
			t.Fatal(err)
		}
		m.Message.Header.Prepend(fields...)
	}
	return m
}

func arcOf(t *testing.T, m *mail.Mail) authres.Result {
	t.Helper()
	r := topResults(t, m).Results
	if last := r[len(r)-1]; last.Method == "arc" {
		return last
	}
	t.Fatalf("no arc in %v", r)
	return authres.Result{}
}

// What a chain says is written down, and the verdict is the same with it and without.
func TestARC(t *testing.T) {
	forged := incoming{attackIP, "mx.attack.example", "a@attack.example", "From: lea@soft.example\nSubject: x\n", nil}
	for _, c := range []struct {
		name   string
		by     []string
		change [2]string
		want   string
	}{
		{"none", nil, [2]string{}, "none  "},
		{"one", []string{"attack.example"}, [2]string{}, "pass i=1 0"},
		{"two", []string{"legit.example", "attack.example"}, [2]string{}, "pass i=2 0"},
		{"broken", []string{"legit.example", "attack.example"}, [2]string{"Subject: x", "Subject: y"}, "fail  "},
		{"malformed", []string{"legit.example", "attack.example"}, [2]string{"ARC-Seal: i=1", "ARC-Seal: i=7"}, "fail  "},
		{"no sense at all", []string{"legit.example"}, [2]string{"ARC-Seal: i=1", "ARC-Seal: what"}, "fail  "},
		{"more than 50", []string{"legit.example"}, [2]string{"ARC-Seal: i=1", "ARC-Seal: i=51"}, "fail  "},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newWorld(t)
			v, s := newVerifier(t, x)
			m := sealed(t, forged.mail(t), x, c.by...)
			if c.change[0] != "" {
				m.Message = mail.NewMessage([]byte(strings.Replace(m.Message.String(), c.change[0], c.change[1], 1)))
			}
			if err := v.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			r := arcOf(t, s.got)
			if got := fmt.Sprint(r.Value, " ", r.Comment, " ", r.Prop("header", "oldest-pass")); got != c.want || r.Prop("smtp", "remote-ip") != attackIP.String() {
				t.Errorf("%+v, want %q", r, c.want)
			}
			if got := values(authres.Results{Results: topResults(t, s.got).Results[:5]}); !strings.HasSuffix(got, "dkim=none dmarc=fail") {
				t.Errorf("the verdict became %s", got) // S25
			}
		})
	}
}

// A seal lends no trust (S25): who fails DMARC at a domain that rejects is refused.
func TestARCIsNoProof(t *testing.T) {
	x := newWorld(t)
	v, _ := newVerifier(t, x)
	for _, from := range []string{"lea@legit.example", "ann@our.example"} {
		m := sealed(t, incoming{attackIP, "mx.attack.example", "a@attack.example", "From: " + from + "\n", nil}.mail(t), x, "attack.example", "legit.example")
		if err := v.Handle(t.Context(), m); code(err) != 550 {
			t.Errorf("%s: %v", from, err)
		}
	}
}

// A failure of DNS is said as that. A chain of more hands than any real one has costs no more than
// the budget, after which nothing is known.
func TestARCAndDNS(t *testing.T) {
	for _, f := range failures {
		x := newWorld(t)
		m := sealed(t, incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\n", nil}.mail(t), x, "weak.example")
		v, s := newVerifier(t, failing(t, f.how, dkim.RecordName("s1", "weak.example")))
		if err := v.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if r := arcOf(t, s.got); r.Value != "temperror" || r.Reason == "" {
			t.Errorf("%s: %+v", f.name, r)
		}
	}

	x := newWorld(t)
	var hands []string
	record, err := dkim.RecordText(key("any").Public())
	if err != nil {
		t.Fatal(err)
	}
	m := incoming{netip.Addr{}, "x", "lea@weak.example", "From: lea@weak.example\n", nil}.mail(t)
	for i := range arc.MaxInstance {
		d := fmt.Sprintf("hand%d.example", i)
		hands = append(hands, d)
		if err := x.Add(dkim.RecordName("s1", d) + ` TXT "` + record + `"`); err != nil {
			t.Fatal(err)
		}
		found := arc.Claimed(&m.Message.Header, arc.Pass)
		if i == 0 {
			found = arc.Claimed(&m.Message.Header, arc.None)
		}
		s := arc.Sealer{Domain: d, Selector: "s1", Key: key("any")}
		fields, err := s.Seal(m.Message, authres.Results{ID: d}, found)
		if err != nil {
			t.Fatal(err)
		}
		m.Message.Header.Prepend(fields...)
	}
	if r := arc.Verify(t.Context(), m.Message, x); r.Status != arc.Pass {
		t.Fatalf("the chain is not good: %+v", r)
	}
	v, s := newVerifier(t, x)
	v.LabelOnly = true
	before := x.Total()
	if err := v.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	asked := x.Total() - before
	if r := arcOf(t, s.got); r.Value != "temperror" || r.Prop("smtp", "remote-ip") != "" || asked > arcQueries+20 {
		t.Errorf("%d hands: %+v after %d queries", len(hands), r, asked)
	}
}
