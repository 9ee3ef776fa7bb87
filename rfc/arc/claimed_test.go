package arc

import (
	"errors"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
)

// A hand that changes the mail before it seals breaks the signatures of those before it, and
// not the chain.
func TestOldest(t *testing.T) {
	w := newWorld(t, "one.example", "two.example", "three.example")
	m := mail.NewMessage([]byte(original))
	w.hand(t, m, "one.example")
	w.hand(t, m, "three.example")
	if res := Verify(t.Context(), m, w.names); res.Status != Pass || res.Oldest != 0 {
		t.Errorf("unchanged: %+v", res)
	}
	before := Verify(t.Context(), m, w.names)
	changed := mail.NewMessage([]byte(strings.Replace(m.String(), "Subject: Hello", "Subject: [list] Hello", 1)))
	s := Sealer{Domain: "two.example", Selector: "s1", Key: w.keys["two.example"]}
	fields, err := s.Seal(changed, authres.Results{ID: "two.example"}, before)
	if err != nil {
		t.Fatal(err)
	}
	changed.Header.Prepend(fields...)
	if res := Verify(t.Context(), changed, w.names); res.Status != Pass || res.Length != 3 || res.Oldest != 3 {
		t.Errorf("changed by the third hand: %+v", res)
	}
	w.hand(t, changed, "one.example")
	if res := Verify(t.Context(), changed, w.names); res.Status != Pass || res.Oldest != 3 {
		t.Errorf("and passed on by a fourth: %+v", res)
	}
}

// Whoever knows the state of a chain from a field seals it as whoever verified it.
func TestClaimed(t *testing.T) {
	w := newWorld(t, "one.example", "two.example")
	m := mail.NewMessage([]byte(original))
	s := Sealer{Domain: "two.example", Selector: "s1", Key: w.keys["two.example"]}
	for i := range 3 {
		res := Verify(t.Context(), m, w.names)
		claimed := Claimed(&m.Header, res.Status)
		if claimed.Status != res.Status || claimed.Length != i {
			t.Fatalf("%+v of %+v", claimed, res)
		}
		fields, err := s.Seal(m, authres.Results{ID: "x"}, claimed)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Prepend(fields...)
	}
	if res := Verify(t.Context(), m, w.names); res.Status != Pass || res.Length != 3 {
		t.Errorf("%+v", res)
	}
	broken := mail.NewMessage([]byte(strings.Replace(m.String(), "ARC-Seal: i=2;", "ARC-Seal: i=4;", 1)))
	bare := mail.NewMessage([]byte(original))
	for name, c := range map[string]struct {
		m     *mail.Message
		found Status
	}{
		"there is one": {m, None}, "there is none": {bare, Pass}, "it is broken": {broken, Pass}, "nobody knows": {m, TempError}, "no state": {m, "neutral"},
	} {
		if _, err := s.Seal(c.m, authres.Results{ID: "x"}, Claimed(&c.m.Header, c.found)); !errors.Is(err, ErrUnsealable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fields, err := s.Seal(broken, authres.Results{ID: "x"}, Claimed(&broken.Header, Fail))
	if err != nil || !strings.Contains(fields[0].Raw(), "i=5;") || !strings.Contains(fields[0].Raw(), "cv=fail") {
		t.Fatalf("a broken chain: %v, %v", fields, err)
	}
	broken.Header.Prepend(fields...)
	for _, res := range []Result{Claimed(&broken.Header, Fail), Verify(t.Context(), broken, w.names)} {
		if _, err := s.Seal(broken, authres.Results{ID: "x"}, res); res.Status != Fail || !errors.Is(err, ErrEnded) {
			t.Errorf("a broken chain that has ended: %+v, %v", res, err)
		}
	}
}
