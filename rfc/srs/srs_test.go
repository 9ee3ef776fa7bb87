package srs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

var (
	key1 = bytes.Repeat([]byte{1}, 32)
	key2 = bytes.Repeat([]byte{2}, 32)
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ours = &Rewriter{Domain: "our.example", Keys: [][]byte{key1}}
)

func addr(s string) mail.Address { return mail.MustParseAddress(s) }

func forward(t *testing.T, r *Rewriter, from mail.Address) mail.Address {
	t.Helper()
	a, err := r.Forward(from, noon)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := mail.ParseAddress(a.String()); err != nil || back != a {
		t.Fatalf("%q is no valid address: %v", a, err)
	}
	if n := len(a.String()) - len(a.Domain()) - 1; n > mail.MaxLocal {
		t.Fatalf("%q has a local part of %d octets", a, n)
	}
	return a
}

func TestThereAndBack(t *testing.T) {
	for _, s := range []string{
		"bob@remote.example",
		"Bob.Builder+tag@remote.example",
		"a=b==c@remote.example",
		`"two words"@remote.example`,
		`"a\"b\\c"@remote.example`,
		`"a@b"@remote.example`,
		"jörg@bücher.example",
		"bob@[192.0.2.1]",
		"bob@[IPv6:2001:db8::1]",
		"srs@remote.example",
		"SRS0@remote.example",
		"SRS1=nothing@remote.example",
		"=@a.example",
	} {
		from := addr(s)
		a := forward(t, ours, from)
		if a.Domain() != "our.example" || !strings.HasPrefix(a.Local(), "SRS0=") || !ours.Is(a) {
			t.Errorf("%s became %s", s, a)
		}
		for _, seen := range []mail.Address{a, addr(strings.ToLower(a.String())), addr(upper(a.String()))} {
			back, err := ours.Reverse(seen, noon.Add(20*24*time.Hour))
			if err != nil || !strings.EqualFold(back.String(), from.String()) {
				t.Errorf("%s came back as %s, %v", seen, back, err)
			}
		}
		if back, _ := ours.Reverse(a, noon); back != from {
			t.Errorf("%s came back as %s", s, back)
		}
	}
}

// upper is what a server does that knows no Unicode.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c &^ 0x20
		}
	}
	return string(b)
}

func TestStays(t *testing.T) {
	for _, a := range []mail.Address{{}, addr("ann@our.example")} {
		if got, err := ours.Forward(a, noon); err != nil || got != a {
			t.Errorf("%q became %q, %v", a, got, err)
		}
	}
}

// A chain of three forwarders goes back to the first, and from there to the sender.
func TestChain(t *testing.T) {
	first := &Rewriter{Domain: "a.example", Keys: [][]byte{key2}}
	third := &Rewriter{Domain: "c.example", Keys: [][]byte{bytes.Repeat([]byte{3}, 16)}}
	second := &Rewriter{Domain: "b.example", Keys: [][]byte{key1}}
	from := addr("b@x.example")
	srs0 := addr("SRS0=HHHH=TT=x.example=b@a.example") // another program's, with a shorter tag
	at2 := forward(t, second, srs0)
	if !strings.HasPrefix(at2.Local(), "SRS1=") || !strings.HasSuffix(at2.Local(), "=a.example==HHHH=TT=x.example=b") {
		t.Fatalf("second: %s", at2)
	}
	at3 := forward(t, third, at2)
	back, err := third.Reverse(at3, noon)
	if err != nil || back != srs0 {
		t.Errorf("the third leads back to %s, %v", back, err)
	}
	for _, sep := range []string{"+", "-"} {
		theirs := addr("SRS0" + sep + "HHHH=TT=x.example=b@a.example")
		if back, err := second.Reverse(forward(t, second, theirs), noon); err != nil || back != theirs {
			t.Errorf("%s came back as %s, %v", theirs, back, err)
		}
	}
	if _, err := first.Reverse(at2, noon); !errors.Is(err, ErrNotSRS) {
		t.Errorf("another domain's: %v", err)
	}
	own := forward(t, first, from)
	if back, err := first.Reverse(own, noon); err != nil || back != from {
		t.Errorf("the first leads back to %s, %v", back, err)
	}
}

func TestTooLong(t *testing.T) {
	long := []mail.Address{
		addr("010001890abc1234-0d3b1c2e-1234-4a5b-9c8d-1234567890ab-000000@amazonses.example"),
		addr("SRS0=abcdefghijklmnop=aa=a.very.long.domain.example=somebody@forwarder.example"),
		addr(strings.Repeat(`"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\""`, 1) + "@r.example"),
		addr("b@" + strings.Repeat("l.", 100) + "example"),
	}
	seen := map[mail.Address]bool{}
	for _, from := range long {
		a := forward(t, ours, from)
		if _, err := ours.Reverse(a, noon); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v", a, err)
		}
		if seen[a] {
			t.Errorf("%s stands for two", a)
		}
		seen[a] = true
	}
}

func TestRefused(t *testing.T) {
	good := forward(t, ours, addr("bob@remote.example"))
	change := func(old, new string) mail.Address {
		s := strings.Replace(good.String(), old, new, 1)
		if s == good.String() {
			t.Fatalf("nothing changed in %s", s)
		}
		return addr(s)
	}
	other := &Rewriter{Domain: "other.example", Keys: ours.Keys}
	for name, test := range map[string]struct {
		a    mail.Address
		want error
	}{
		"another local part": {change("=bob", "=rob"), ErrForged},
		"another domain":     {change("=remote.", "=remote2."), ErrForged},
		"another day":        {change("="+dayOf(noon)+"=", "="+dayOf(noon.Add(48*time.Hour))+"="), ErrForged},
		"no tag":             {addr("SRS0=" + dayOf(noon) + "=remote.example=bob@our.example"), ErrForged},
		"an empty tag":       {addr("SRS0==" + dayOf(noon) + "=remote.example=bob@our.example"), ErrForged},
		"a short tag":        {addr("SRS0=aaaa=" + dayOf(noon) + "=remote.example=bob@our.example"), ErrForged},
		"no base32":          {addr("SRS0=0000000000000000=" + dayOf(noon) + "=remote.example=bob@our.example"), ErrForged},
		"SRS1 for SRS0":      {change("SRS0", "SRS1"), ErrForged},
		"our key, their own": {must(other.Reverse(addr(strings.Replace(good.String(), "our.", "other.", 1)), noon)), nil},
		"no SRS":             {addr("bob@our.example"), ErrNotSRS},
		"another's":          {addr("SRS0=a=b=c=d@remote.example"), ErrNotSRS},
	} {
		if test.want == nil {
			if !test.a.IsZero() {
				t.Errorf("%s: %s", name, test.a)
			}
			continue
		}
		if got, err := ours.Reverse(test.a, noon); !errors.Is(err, test.want) || !got.IsZero() {
			t.Errorf("%s: %s gave %s, %v", name, test.a, got, err)
		}
	}
}

func must(a mail.Address, _ error) mail.Address { return a }

func TestAge(t *testing.T) {
	a := forward(t, ours, addr("bob@remote.example"))
	day := 24 * time.Hour
	for _, test := range []struct {
		age  time.Duration
		want error
	}{
		{0, nil}, {21 * day, nil}, {22 * day, ErrExpired}, {400 * day, ErrExpired},
		{-day, nil}, {-2 * day, ErrExpired}, {1024 * day, nil}, // once in 1024 days, with our tag
	} {
		if _, err := ours.Reverse(a, noon.Add(test.age)); !errors.Is(err, test.want) {
			t.Errorf("after %v: %v", test.age, err)
		}
	}
	brief := &Rewriter{Domain: ours.Domain, Keys: ours.Keys, MaxAge: 2 * day}
	if _, err := brief.Reverse(a, noon.Add(3*day)); !errors.Is(err, ErrExpired) {
		t.Errorf("MaxAge is not kept: %v", err)
	}
	before := &Rewriter{Domain: ours.Domain, Keys: ours.Keys}
	old, _ := before.Forward(addr("bob@remote.example"), time.Unix(-1e6, 0))
	if _, err := before.Reverse(old, time.Unix(-1e6, 0)); err != nil {
		t.Errorf("a clock before 1970: %v", err)
	}
}

func TestKeysRotate(t *testing.T) {
	old := forward(t, ours, addr("bob@remote.example"))
	both := &Rewriter{Domain: ours.Domain, Keys: [][]byte{key2, key1}}
	if _, err := both.Reverse(old, noon); err != nil {
		t.Errorf("the old key does not verify: %v", err)
	}
	young := forward(t, both, addr("bob@remote.example"))
	if _, err := ours.Reverse(young, noon); !errors.Is(err, ErrForged) {
		t.Errorf("signed with the old key: %v", err)
	}
	for _, keys := range [][][]byte{nil, {key1, []byte("short")}} {
		bad := &Rewriter{Domain: ours.Domain, Keys: keys}
		if _, err := bad.Forward(addr("bob@remote.example"), noon); err == nil {
			t.Errorf("%d keys were taken", len(keys))
		}
		if _, err := bad.Reverse(old, noon); err == nil {
			t.Errorf("%d keys were taken", len(keys))
		}
	}
}

// 200,000 random tags here, 80 bits in all: none may pass (reliability S19).
func TestGuessing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, tagSize)
	for range 200_000 {
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		a, _ := mail.NewAddress("SRS0="+digits.EncodeToString(b)+"="+dayOf(noon)+"=remote.example=bob", ours.Domain)
		if got, err := ours.Reverse(a, noon); err == nil {
			t.Fatalf("%s leads to %s", a, got)
		}
	}
}

func FuzzForward(f *testing.F) {
	for _, s := range []string{"bob@remote.example", `"a b"@[192.0.2.1]`, "SRS0=a=b=c=d@e.example", "SRS1=a=b.example==c@e.example", "jörg@x.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		a := forward(t, ours, from)
		back, err := ours.Reverse(a, noon)
		_, _, chained := guarded(from)
		switch {
		case from.Domain() == ours.Domain, errors.Is(err, ErrTooLong):
		case err != nil:
			t.Fatalf("%s became %s: %v", from, a, err)
		case !chained && back != from:
			t.Fatalf("%s became %s and %s", from, a, back)
		}
	})
}

func FuzzReverse(f *testing.F) {
	a, _ := ours.Forward(addr("bob@remote.example"), noon)
	f.Add(a.Local())
	f.Add("SRS1=aaaaaaaaaaaaaaaa=h.example==a=b=c=d")
	f.Add("SRS0=")
	f.Fuzz(func(t *testing.T, local string) {
		in, err := mail.NewAddress(local, ours.Domain)
		if err != nil {
			return
		}
		back, err := ours.Reverse(in, noon)
		if err == nil && !strings.EqualFold(back.String(), "bob@remote.example") {
			t.Fatalf("%s leads to %s", in, back)
		}
	})
}
