package mail

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ann@example.com", "ann@example.com"},
		{"Ann@EXAMPLE.Com", "Ann@example.com"},
		{`"ann"@example.com`, "ann@example.com"},
		{`"ann.lee"@example.com`, "ann.lee@example.com"},
		{`"ann lee"@example.com`, `"ann lee"@example.com`},
		{`"b@other"@us.example`, `"b@other"@us.example`},
		{`"a\"b\\c"@example.com`, `"a\"b\\c"@example.com`},
		{`"a\b"@example.com`, "ab@example.com"},
		{`".a"@example.com`, `".a"@example.com`},
		{"user%other@us.example", "user%other@us.example"},
		{"other!user@us.example", "other!user@us.example"},
		{"ann@[192.0.2.1]", "ann@[192.0.2.1]"},
		{"ann@[IPv6:2001:DB8:0::1]", "ann@[IPv6:2001:db8::1]"},
		{"ann@[ipv6:::1]", "ann@[IPv6:::1]"},
		{"δοκιμή@παράδειγμα.example", "δοκιμή@xn--hxajbheg2az3al.example"},
		{"ann@XN--HXAJBHEG2AZ3AL.example", "ann@xn--hxajbheg2az3al.example"},
		{"ann@bücher.example", "ann@xn--bcher-kva.example"},
		{"x@a", "x@a"},
	} {
		a, err := ParseAddress(c.in)
		if err != nil {
			t.Errorf("ParseAddress(%q): %v", c.in, err)
			continue
		}
		if got := a.String(); got != c.want {
			t.Errorf("ParseAddress(%q) prints %q, want %q", c.in, got, c.want)
		}
		if back, err := ParseAddress(a.String()); err != nil || back != a {
			t.Errorf("%q does not come back: %v %v", a, back, err)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "ann", "ann@", "@example.com", "ann@example.com.", "ann@.example.com", "ann@exa mple.com",
		"an n@example.com", ".ann@example.com", "ann.@example.com", "a..b@example.com", `"ann@example.com`,
		`""@example.com`, `"a"b@example.com`, "ann@b@example.com", "<ann@example.com>", "ann@example.com>",
		"ann(x)@example.com", "ann@[192.0.2.256]", "ann@[192.0.2.1", "ann@[2001:db8::1]", "ann@[IPv6:192.0.2.1]",
		"ann@[IPv6:fe80::1%eth0]", "ann@under_score.example", "ann@-a.example", "ann@a-.example",
		strings.Repeat("a", 65) + "@example.com", "ann@" + strings.Repeat("a", 64) + ".example",
		"ann@" + strings.Repeat("abcdefg.", 40) + "example", "a\r\nb@example.com", "\"a\r\nb\"@example.com", "a\x00b@example.com",
		"a\xffb@example.com", "a\u0085b@example.com", "ann@xn--a", "ann@xn--0.example", "ann@xn--.example",
		"ann@xn--a@b-ksa.example",
		"=?utf-8?q?a=40b?=@x@example.com", "ann@exam\u2024ple\u2024com\u002f", "ann@\uff0e.example",
	} {
		if a, err := ParseAddress(in); err == nil {
			t.Errorf("ParseAddress(%q) = %q, want an error", in, a)
		}
	}
}

// A dot look-alike becomes a dot before anybody compares, never after.
func TestDomainDots(t *testing.T) {
	a, err := ParseAddress("ann@example\u3002com")
	if err == nil && a.Domain() != "example.com" {
		t.Errorf("got %q", a.Domain())
	}
}

func TestNewAddressPrintsWhatItParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.String().Draw(t, "local")
		a, err := NewAddress(local, rapid.SampledFrom([]string{"example.com", "[192.0.2.1]", "bücher.example"}).Draw(t, "domain"))
		if err != nil {
			t.Skip()
		}
		if back, err := ParseAddress(a.String()); err != nil || back != a || back.Local() != local {
			t.Fatalf("%q became %q: %v", a, back, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ann@example.com", `"a b"@x`, "a@[IPv6:::1]", "δ@παράδειγμα.example", "a@xn--hxajbheg2az3al.example", `"\""@x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		back, err := ParseAddress(a.String())
		if err != nil || back != a {
			t.Fatalf("%q parses to %q, which parses to %q: %v", s, a, back, err)
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q has a control character", a)
		}
		if strings.ContainsAny(a.Domain(), "@<>,;\"\\ ()") || a.Domain() == "" {
			t.Fatalf("domain %q", a.Domain())
		}
		if u := a.Unicode(); strings.Count(u[len(quoteLocal(a.local)):], "@") != 1 {
			t.Fatalf("Unicode %q", u)
		}
	})
}
