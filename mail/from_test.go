package mail

import (
	"strings"
	"testing"
)

func TestParseFrom(t *testing.T) {
	tests := []struct{ in, want string }{
		{"ann@example.org", "ann@example.org"},
		{"<ann@example.org>", "ann@example.org"},
		{"Ann <ann@Example.ORG>", "ann@example.org"},
		{"Ann <ann@example.org> (at work)", "ann@example.org"},
		{"ann@example.org (Ann)", "ann@example.org"},
		{"(Ann) ann@example.org", "ann@example.org"},
		{`"Ann, B." <ann@example.org>`, "ann@example.org"},
		{`"bob@other.example via list" <ann@example.org>`, "ann@example.org"},
		{`"a \" b" <ann@example.org>`, "ann@example.org"},
		{"Ann B. Smith <ann@example.org>", "ann@example.org"},
		{"=?utf-8?q?J=C3=BCrgen?= <j@example.org>", "j@example.org"},
		{"Jürgen <j@example.org>", "j@example.org"},
		{"J\xfcrgen <j@example.org>", "j@example.org"},
		{"ann@example.org <ann@example.org>", "ann@example.org"},
		{"< ann@example.org >", "ann@example.org"},
		{"ann@[192.0.2.1]", "ann@[192.0.2.1]"},
		{"ann@[IPv6:2001:db8::1]", "ann@[IPv6:2001:db8::1]"},
		{`"ann smith"@example.org`, `"ann smith"@example.org`},
		{"Ann <j@bücher.example>", "j@xn--bcher-kva.example"},
		{"a (b (c)) <ann@example.org>", "ann@example.org"},
	}
	for _, tt := range tests {
		got, err := ParseFrom(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseFrom(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseFromRefuses(t *testing.T) {
	for _, in := range []string{
		"", "<>", "Ann", "Ann <>", "ann@", "@example.org",
		"a@good.example, b@bad.example",
		"a@good.example,",
		"<a@good.example>(x)<b@bad.example>",
		"<a@good.example><b@bad.example>",
		"a@good.example <b@bad.example>",
		"a@good.example(<b@bad.example>)",
		"a@good.example (b@bad.example)",
		"group: a@good.example;",
		"undisclosed-recipients:;",
		"<@a.example,@b.example:c@d.example>",
		"a @good.example", "a@ good.example", "a@good.example x",
		"a@good.example b@bad.example",
		"a@(x)good.example", "<a(x)@good.example>",
		`"a@good.example"@bad.example`,
		`"a@good.example,"@bad.example`,
		"=?utf-8?q?a=40good.example?=@bad.example",
		"=?utf-8?b?YUBnb29kLmV4YW1wbGU=?=",
		"=?utf-8?b?PGFAZ29vZC5leGFtcGxlPg==?= <b@bad.example>",
		"a@good.example\x00@bad.example",
		"a＠good.example@bad.example",
		"Ann <a@good.example", "Ann a@good.example>", `"Ann <a@good.example>`, "(Ann <a@good.example>",
		"a@good.example\\", "<<a@good.example>>", "[a@good.example]", "a@good.example[x]", "a@@good.example",
		strings.Repeat("(", 100) + strings.Repeat(")", 100) + "a@good.example",
		strings.Repeat("a ", 5000) + "<a@good.example>",
		"a..b@good.example", "a@good..example", "a@-good.example",
	} {
		if got, err := ParseFrom(in); err == nil {
			t.Errorf("ParseFrom(%q) = %v, want an error", in, got)
		}
	}
}

func TestAuthor(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"From: a@x.example\r\n\r\n", "a@x.example"},
		{"from:a@x.example\r\n\r\n", "a@x.example"},
		{"FROM: Ann\r\n <a@x.example>\r\n\r\n", "a@x.example"},
		{"Subject: x\r\n From: b@y.example\r\nFrom: a@x.example\r\n\r\n", "a@x.example"},
		{"From a@b Mon Jan  1 00:00:00 2026\r\nFrom: a@x.example\r\n\r\n", "a@x.example"},
		{"Subject: x\r\n\r\n", ""},
		{"From: a@x.example\r\nFrom: b@y.example\r\n\r\n", ""},
		{"From: a@x.example\r\nfrom: a@x.example\r\n\r\n", ""},
		{"From : a@x.example\r\n\r\n", ""},
		{"From: a@x.example\r\nFrom\t: b@y.example\r\n\r\n", ""},
		{" From: b@y.example\r\nFrom: a@x.example\r\n\r\n", ""},
		{"From\x00: b@y.example\r\nFrom: a@x.example\r\n\r\n", ""},
		{"\x01From: b@y.example\r\nFrom: a@x.example\r\n\r\n", ""},
		{"From\u200b: b@y.example\r\nFrom: a@x.example\r\n\r\n", ""},
		{"From: a@x.example\rFrom: b@y.example\r\n\r\n", ""},
	} {
		h := ParseHeader(tt.header)
		got, err := h.Author()
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Author of %q = %v, %v, want %q", tt.header, got, err, tt.want)
		}
	}
}

func FuzzParseFrom(f *testing.F) {
	for _, s := range []string{"Ann <ann@example.org>", `"a" (b) <c@d>`, "a@[IPv6:::1]", "=?utf-8?b?PGE+?= <a@b>", "g: a@b;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseFrom(s)
		if err != nil {
			return
		}
		if a.IsZero() || a.Domain() == "" {
			t.Fatalf("ParseFrom(%q) gives an empty address", s)
		}
		back, err := ParseFrom("x <" + a.String() + ">")
		if err != nil || back != a {
			t.Fatalf("ParseFrom(%q) = %v, printed and read again %v, %v", s, a, back, err)
		}
	})
}
