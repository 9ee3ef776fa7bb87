package account

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/blake2b"

	"stagecoach/rfc/sasl"
)

// cheapArgon2 is for tests: the parameters of the real one take 64 MiB.
func cheapArgon2(password string) string {
	a := argonSecret{memory: 64, time: 1, threads: 1, salt: randomBytes(16)}
	a.sum = a.derive(password, 32)
	return a.String()
}

func cheapScram(t *testing.T, password string) string {
	t.Helper()
	k, err := sasl.NewScramKeys(password, sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return k.String()
}

func blakeHex(password string) string {
	sum := blake2b.Sum512([]byte(password))
	return hex.EncodeToString(sum[:])
}

func passwords(t *testing.T) *Directory {
	t.Helper()
	m := map[string][]byte{}
	add := func(name, secret, more string) { m[name] = fmt.Appendf(nil, `{"password": %q%s}`, secret, more) }
	add("argon", cheapArgon2("pässword"), "")
	add("argon2", cheapArgon2("other"), "")
	add("scram", cheapScram(t, "secret"), "")
	add("blake", blakeHex("secret"), "")
	add("gone", cheapArgon2("secret"), `, "disabled": true`)
	m["mute"] = []byte(`{}`)
	b, err := Parse(m, Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	return Static(b)
}

func TestAuthenticate(t *testing.T) {
	d := passwords(t)
	for _, c := range []struct{ name, password, want string }{
		{"argon", "pässword", "argon@x.example"},
		{"ARGON@x.example", "pässword", "argon@x.example"},
		{"argon", "password", ""},
		{"argon", "", ""},
		{"scram", "secret", "scram@x.example"},
		{"scram", "Secret", ""},
		{"blake", "secret", "blake@x.example"},
		{"blake", "secret ", ""},
		{"gone", "secret", ""},
		{"mute", "", ""},
		{"mute", "secret", ""},
		{"nobody", "secret", ""},
		{"argon", strings.Repeat("x", sasl.MaxPassword+1), ""},
		{strings.Repeat("x", sasl.MaxName+1), "secret", ""},
	} {
		u, err := d.Authenticate(t.Context(), c.name, c.password)
		switch {
		case c.want == "" && !errors.Is(err, sasl.ErrDenied):
			t.Errorf("%.20s with %.20q: %v, want a denial", c.name, c.password, err)
		case c.want != "" && (err != nil || u.Address().String() != c.want):
			t.Errorf("%s with %q: %v", c.name, c.password, err)
		}
	}
}

// The known hash is of the reference: BLAKE2b-512 without key and salt (RFC 7693 appendix A).
func TestReferenceHash(t *testing.T) {
	const abc = "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
	for _, text := range []string{abc, strings.ToUpper(abc)} {
		s, err := parseSecret(text)
		if err != nil || !s.matches("abc") || s.matches("abd") || !s.weak() {
			t.Errorf("%.10s…: %v", text, err)
		}
	}
}

// The known hash stands in the tests of the reference implementation of argon2 (test.c).
func TestArgon2Text(t *testing.T) {
	const known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	s, err := parseSecret(known)
	if err != nil {
		t.Fatal(err)
	}
	if s.(argonSecret).String() != known {
		t.Errorf("printed as %s", s)
	}
	if !s.matches("password") || s.matches("passwore") {
		t.Error("the known password does not match, or another does")
	}
	for _, bad := range []string{
		"$argon2id$", "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=65537,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA", "$argon2id$v=19$m=64,t=9,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=64,t=1,p=5$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA", "$argon2id$v=19$m=64,t=1,p=257$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA", "$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA", "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=64,t=1,p=1,k=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA", "$argon2id$v=19$m=64,t=1,p=1$c2$RdescudvJCsgt3ub+b27MA",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Rdes", "$argon2id$v=19$m=4294967296,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27MA",
	} {
		if _, err := parseSecret(bad); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

func TestHashPassword(t *testing.T) {
	text, err := HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Error(text)
	}
	s, err := parseSecret(text)
	if err != nil || !s.matches("secret") || s.matches("secrets") || s.weak() {
		t.Errorf("%s: %v", text, err)
	}
	if text, err = ScramPassword("secret"); err != nil {
		t.Fatal(err)
	}
	if s, err = parseSecret(text); err != nil || !s.matches("secret") || s.matches("secrets") || s.weak() {
		t.Errorf("%s: %v", text, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 2000), "a\x00b"} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("%.10q: hashed", bad)
		}
	}
}

func TestWeakAndPrevailing(t *testing.T) {
	d := passwords(t)
	var weak []string
	for u := range d.Book().Weak() {
		weak = append(weak, u.Name)
	}
	if got := strings.Join(weak, " "); got != "argon argon2 blake gone" {
		t.Errorf("weak: %s", got)
	}
	if got := d.Book().dummy.cost(); got != "argon2id m=64,t=1,p=1" {
		t.Errorf("the dummy costs %s", got)
	}
	empty, err := Parse(nil, Settings{Domain: "x.example"})
	if err != nil || empty.dummy.cost() != "argon2id m=65536,t=3,p=1" || empty.AllScram() {
		t.Errorf("no users: %v, %v", empty.dummy.cost(), err)
	}
	b, err := Parse(map[string][]byte{"a": fmt.Appendf(nil, `{"password": %q}`, cheapScram(t, "x")), "b": []byte(`{}`)}, Settings{Domain: "x.example"})
	if err != nil || !b.AllScram() {
		t.Errorf("all users have SCRAM keys, AllScram is %v, %v", b.AllScram(), err)
	}
}

func TestScramKeys(t *testing.T) {
	d := passwords(t)
	if k, u := d.ScramKeys("Scram@x.example"); u == nil || !k.Matches("secret") {
		t.Error("no keys for a user who has them")
	}
	// Nobody can tell a name that does not exist from one that cannot log in by SCRAM.
	for _, name := range []string{"nobody", "argon", "gone", "blake", "mute", "no\x00name"} {
		k, u := d.ScramKeys(name)
		again, _ := d.ScramKeys(strings.ToUpper(name))
		if u != nil || len(k.Salt) != 16 || k.Iterations != sasl.DefaultIterations || len(k.StoredKey) != 32 {
			t.Errorf("%s: %v, %v", name, k, u)
		}
		if string(k.Salt) != string(again.Salt) {
			t.Errorf("%s: the salt depends on letter case", name)
		}
	}
	a, _ := d.ScramKeys("nobody")
	b, _ := d.ScramKeys("nobody@x.example")
	c, _ := d.ScramKeys("nobody@y.example")
	if string(a.Salt) != string(b.Salt) || string(a.Salt) == string(c.Salt) {
		t.Error("salts of the same name differ, or of different names do not")
	}
}

// The bench seats two; a short queue waits, and the rest is turned away at once.
func TestBench(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		var mu sync.Mutex
		results := map[error]int{}
		count := func(err error) int {
			mu.Lock()
			defer mu.Unlock()
			return results[err]
		}
		for range benchSeats + benchQueue + 10 {
			go func() {
				err := b.enter(t.Context())
				mu.Lock()
				results[err]++
				mu.Unlock()
			}()
			synctest.Wait()
		}
		if count(nil) != benchSeats || count(ErrBusy) != 10 {
			t.Errorf("at once: %d seated, %d turned away", count(nil), count(ErrBusy))
		}
		b.leave()
		synctest.Wait()
		if count(nil) != benchSeats+1 {
			t.Errorf("a seat was left, but nobody took it: %d", count(nil))
		}
		time.Sleep(benchWait)
		synctest.Wait()
		if count(ErrBusy) != 10+benchQueue-1 {
			t.Errorf("after the wait: %d turned away", count(ErrBusy))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("client gone: %v", err)
		}
	})
}
