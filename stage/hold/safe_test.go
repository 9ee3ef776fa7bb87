package hold

import (
	"strings"
	"testing"
	"unicode/utf8"

	"stagecoach/mail"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"Hello, World.":                      "Hello, World.",
		"visit www.evil.example now":         "visit www[.]evil[.]example now",
		"https://evil.example/":              "https[:]//evil[.]example/",
		"=?utf-8?q?gr=C3=BC=C3=9Fe?=":        "grüße",
		"=?utf-8?q?a=0D=0ARelease:_x?=":      "a Release: x",
		"a\u202ebc\u200bd":                   "abcd",
		"":                                   "(none)",
		"\u200b":                             "(none)",
		"eve@evil.example":                   "eve[@]evil[.]example",
		"javascript:alert(1)":                "javascript[:]alert(1)",
		strings.Repeat("a", maxShown+1):      strings.Repeat("a", maxShown) + "…",
		"e\u0301\u0301\u0301\u0301\u0301vil": "e\u0301vil",
	} {
		if got := Safe(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	for _, s := range []string{"x", "http://a.b", "=?utf-8?q?=0A?=", "\x00\xff", "a@b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\x1b") || strings.Contains(got, "://") || len(got) > 16*maxShown {
			t.Fatalf("%q became %q", s, got)
		}
		if _, err := mail.ParseAddress(got); err == nil {
			t.Fatalf("%q became the address %q", s, got)
		}
	})
}

func FuzzDecodeItem(f *testing.F) {
	f.Add(magic + `{"id":"aaaaaaaaaaaaaaaa","user":"a@b","to":[{"address":"a@b"}],"size":1}` + "\nx")
	f.Fuzz(func(t *testing.T, s string) {
		it, err := decodeItem(strings.NewReader(s))
		if err == nil && (it.offset > int64(len(s)) || !isID(it.ID) || len(it.To) == 0) {
			t.Fatalf("%+v", it)
		}
	})
}

func FuzzVerdict(f *testing.F) {
	f.Add(status)
	f.Add("X-Spamtacus: yes\r\nX-Spam-Status: Yes, probability=NaN\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		h := mail.ParseHeader(s)
		if v := verdictOf(&h); v.spam && !(v.probability >= 0 && v.probability <= 1) {
			t.Fatalf("%+v", v)
		}
	})
}
