package filter

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/spam/signal"
)

// Who has not proved his name is nobody's correspondent.
func TestCorrespondentsAreVouchedFor(t *testing.T) {
	s := newSpam(t)
	if err := s.Lessons.Wrote("ann@example.org", mail.MustParseAddress("Carol@example.net")); err != nil {
		t.Fatal(err)
	}
	for results, want := range map[string]bool{
		"dmarc=pass header.from=example.net":                                           true,
		"dmarc=fail header.from=example.net; dkim=pass header.d=example.net":           false,
		"dmarc=temperror header.from=example.net; dkim=pass header.d=example.net":      false,
		"dmarc=none header.from=example.net; dkim=pass header.d=example.net":           true,
		"dmarc=none header.from=example.net; dkim=pass header.d=net":                   false,
		"dmarc=none header.from=example.net; dkim=pass header.d=evil.example":          false,
		"dmarc=none header.from=example.net; dkim=fail header.d=example.net":           false,
		"dmarc=none header.from=example.net; spf=pass smtp.mailfrom=x@example.net":     true,
		"dmarc=none header.from=example.net; spf=pass smtp.mailfrom=x@evil.example":    false,
		"dmarc=none header.from=example.net; spf=pass smtp.helo=example.net":           false,
		"dmarc=none header.from=example.net; spf=none smtp.mailfrom=carol@example.net": false,
	} {
		for _, to1 := range []string{"ann@example.org", "bob@example.org"} {
			m := to("Authentication-Results: mx.example.org; "+results+"\n"+note, to1)
			v, err := s.Classify(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			said := slices.ContainsFunc(v.Reasons, func(r string) bool { return strings.HasPrefix(r, "you have written to this address") })
			if want := want && to1 == "ann@example.org"; said != want || s.Spares(to1, m) != want {
				t.Errorf("%s, to %s: reasons %v, spared %v", results, to1, v.Reasons, s.Spares(to1, m))
			}
		}
	}
}

func TestTaughtGoodIsSpared(t *testing.T) {
	s := newSpam(t)
	m := to(spamNote, "ann@example.org", "bob@example.org")
	if s.Spares("ann@example.org", m) {
		t.Fatal("spared although nothing was taught")
	}
	if err := s.Lessons.Teach("ann@example.org", s.Judge(), m.Message, false); err != nil {
		t.Fatal(err)
	}
	if !s.Spares("ann@example.org", m) || s.Spares("bob@example.org", m) {
		t.Error("the wrong people are spared")
	}
}

const spamNote = `From: eve@example.com
Subject: FREE credit card!!!
Message-ID: <2@example.com>

CONGRATULATIONS!!! You have been selected to receive a FREE credit card with NO credit check
and a guaranteed $5000 limit. This is a limited time offer, so act now! Click here to claim:
http://192.0.2.66/claim.php?id=4711
Earn $1000 a week working from home, 100% guaranteed or your money back. Order cheap
viagra online without a prescription. To be removed from our mailing list, click here.
`

const from66 = "Authentication-Results: mx.example.org; iprev=pass policy.iprev=192.0.2.66; dmarc=pass header.from=example.com\n"

// Spam of a domain makes its other mail suspect, and nothing that a user teaches does.
func TestReputationIsLearned(t *testing.T) {
	s := newSpam(t)
	s.Reputation = &signal.Reputation{}
	look := func(raw string) Verdict {
		t.Helper()
		v, err := s.Classify(t.Context(), to(raw, "ann@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	speaks := func(v Verdict) bool { return strings.Contains(strings.Join(v.Reasons, ";"), "earlier mail") }
	good := strings.Replace(note, "example.net", "example.com", 1)
	before := look(from66 + good)
	if err := s.Lessons.Teach("ann@example.org", s.Judge(), to(good, "ann@example.org").Message, true); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if v := look(from66 + good); v.Label != Yes || strings.Contains(strings.Join(v.Reasons, ";"), "mostly spam") {
			t.Fatalf("%+v", v)
		}
	}
	if err := s.Lessons.ForgetAll("ann@example.org"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if v := look(spamNote); speaks(v) {
			t.Fatalf("nobody's mail has a reputation: %v", v.Reasons)
		}
	}
	for range 20 {
		look(from66 + spamNote)
	}
	after := look(from66 + good)
	if !speaks(after) || !(after.Probability > before.Probability) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestBlockLists(t *testing.T) {
	s := newSpam(t)
	before, err := s.Classify(t.Context(), to(from66+note, "ann@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	lists, err := signal.NewBlockLists([]string{"bl.example"}, dnstest.Zone(t, "66.2.0.192.bl.example. A 127.0.0.2\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.BlockLists = lists
	v, err := s.Classify(context.Background(), to(from66+note, "ann@example.org"))
	if err != nil || !(v.Probability > before.Probability) || !strings.Contains(strings.Join(v.Reasons, ";"), "block list bl.example") {
		t.Errorf("%+v, %v", v, err)
	}
	if got := source(s.results(&to(from66 + note).Message.Header)); got.Addr != netip.MustParseAddr("192.0.2.66") || got.Domain != "example.com" {
		t.Errorf("%+v", got)
	}
}
