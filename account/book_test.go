package account

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"stagecoach/mail"
)

func files(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		m[f.Name] = f.Data
	}
	return m
}

func parse(t *testing.T, archive string) *Book {
	t.Helper()
	b, err := Parse(files(t, archive), Settings{Domain: "x.example", Separator: "+", Postmaster: mail.MustParseAddress("boss@far.example")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const household = `
-- ann --
{"targets": ["ann@far.example"], "aliases": ["info", "ann@y.example", "Ann.Other"]}
-- a-b --
{"targets": ["ab@far.example"], "separator": "-"}
-- a --
{"targets": ["a@far.example"], "separator": "-"}
-- rest --
{"targets": ["ann@x.example", "rest@far.example"], "catch_all": true}
-- "two words" --
{"targets": []}
-- gone --
{"targets": ["gone@far.example"], "disabled": true}
-- reference --
{"targets":["romain@far.example"],"password":"` + hex128 + `","insecure":true}
-- README.md --
not a user
-- .gitattributes --
neither
-- y.example/@domain --
{"separator": "", "postmaster": "bob@y.example"}
-- y.example/bob --
{"targets": ["bob@far.example"]}
-- bücher.example/carl --
{"targets": ["carl@far.example"]}
`

const hex128 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestLookup(t *testing.T) {
	b := parse(t, household)
	if diff := cmp.Diff([]string{"x.example", "xn--bcher-kva.example", "y.example"}, b.Domains()); diff != "" {
		t.Error(diff)
	}
	for address, want := range map[string]string{
		"ann@x.example":              "ann@x.example",
		"ANN@x.example":              "ann@x.example",
		"info@x.example":             "ann@x.example",
		"Info+News@x.example":        "ann@x.example",
		"ann.other@x.example":        "ann@x.example",
		"ann@y.example":              "ann@x.example",
		"ann+@x.example":             "ann@x.example",
		"ann+a+b@x.example":          "ann@x.example",
		"ann-x@x.example":            "rest@x.example",
		"a-b@x.example":              "a-b@x.example",
		"a-b-c@x.example":            "a-b@x.example",
		"a-c@x.example":              "a@x.example",
		"a+c@x.example":              "rest@x.example",
		`"two words"@x.example`:      `"two words"@x.example`,
		`"two words+x"@x.example`:    `"two words"@x.example`,
		"nobody@x.example":           "rest@x.example",
		"postmaster@x.example":       "postmaster@x.example",
		"Abuse@x.example":            "abuse@x.example",
		"gone@x.example":             "gone@x.example",
		"gone+x@x.example":           "gone@x.example",
		"bob@y.example":              "bob@y.example",
		"bob+x@y.example":            "",
		"nobody@y.example":           "",
		"postmaster@y.example":       "postmaster@y.example",
		"carl@xn--bcher-kva.example": "carl@xn--bcher-kva.example",
		"ann@far.example":            "",
		"ann@[192.0.2.1]":            "",
	} {
		u, ok := b.Lookup(mail.MustParseAddress(address))
		got := ""
		if ok {
			got = u.Address().String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if _, ok := b.Lookup(mail.Address{}); ok {
		t.Error("the null path belongs to somebody")
	}
	for address, want := range map[string]string{"postmaster@x.example": "boss@far.example", "abuse@y.example": "bob@y.example"} {
		if u, _ := b.Lookup(mail.MustParseAddress(address)); u.Targets[0].String() != want {
			t.Errorf("%s goes to %v, want %s", address, u.Targets, want)
		}
	}
}

func TestLogin(t *testing.T) {
	b := parse(t, household)
	for name, want := range map[string]string{
		"ann": "ann@x.example", "ANN": "ann@x.example", "ann@x.example": "ann@x.example", "Ann@X.EXAMPLE": "ann@x.example",
		"bob@y.example": "bob@y.example", "carl@bücher.example": "carl@xn--bcher-kva.example",
		"two words": `"two words"@x.example`, "two words@x.example": `"two words"@x.example`, `"two words"@x.example`: `"two words"@x.example`,
		"info": "", "bob": "", "ann+x": "", "nobody": "", "postmaster": "", "ann@y.example": "", "ann@far.example": "", "": "", "@": "", "ann@": "", "a\x00nn": "",
	} {
		u, ok := b.Login(name)
		got := ""
		if ok {
			got = u.Address().String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestOwns(t *testing.T) {
	b := parse(t, household)
	owns := func(name, address string) bool {
		u, ok := b.Login(name)
		if !ok {
			t.Fatalf("no user %s", name)
		}
		return u.Owns(mail.MustParseAddress(address))
	}
	for _, c := range []struct {
		name, address string
		want          bool
	}{
		{"ann", "ann@x.example", true},
		{"ann", "ANN+x@x.example", true},
		{"ann", "info@x.example", true},
		{"ann", "ann@y.example", true},
		{"ann", "rest@x.example", false},
		{"ann", "nobody@x.example", false},
		{"ann", "bob@y.example", false},
		{"ann", "ann@far.example", false},
		{"ann", "postmaster@x.example", false},
		{"rest", "nobody@x.example", true},
		{"rest", "ann@x.example", false},
		{"rest", "postmaster@x.example", false},
		{"bob@y.example", "postmaster@y.example", true},
		{"bob@y.example", "abuse@y.example", true},
		{"bob@y.example", "bob+x@y.example", false},
	} {
		if got := owns(c.name, c.address); got != c.want {
			t.Errorf("%s owns %s: %v", c.name, c.address, got)
		}
	}
	ann, _ := b.Login("ann")
	if ann.Owns(mail.Address{}) {
		t.Error("the null path is owned")
	}
}

// Each case is a household and a part of the error that it gives; the parts name the file,
// and the line or key.
func TestErrors(t *testing.T) {
	cases, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := txtar.Parse(text)
			_, err = Parse(files(t, string(text)), Settings{Domain: "x.example", Separator: "+"})
			if err == nil {
				t.Fatal("no error")
			}
			for part := range strings.Lines(string(a.Comment)) {
				if part = strings.TrimSpace(part); !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not stand in the error:\n%v", part, err)
				}
			}
		})
	}
}

func TestManyErrors(t *testing.T) {
	m := map[string][]byte{}
	for i := range 100 {
		m[fmt.Sprintf("user%d", i)] = []byte("{")
	}
	_, err := Parse(m, Settings{Domain: "x.example"})
	if err == nil || !strings.Contains(err.Error(), "and 80 more") {
		t.Errorf("%v", err)
	}
}

func TestBadSettings(t *testing.T) {
	for _, s := range []Settings{{}, {Domain: "a b"}, {Domain: "x.example", Separator: "++"}, {Domain: "x.example", Separator: "@"},
		{Domain: "x.example", Postmaster: mail.MustParseAddress("nobody@x.example")},
		{Domain: "x.example", Postmaster: mail.MustParseAddress("postmaster@x.example")}} {
		if _, err := Parse(nil, s); err == nil {
			t.Errorf("%+v: accepted", s)
		}
	}
}

// Whatever is in a file: no crash, no secret in an error, and what is accepted holds together.
func FuzzUser(f *testing.F) {
	for _, s := range []string{
		`{"targets":["a@b.example"],"password":"` + hex128 + `"}`,
		`{"targets":[],"aliases":["x","y@x.example"],"catch_all":true,"separator":"-","disabled":false}`,
		`{"password":"$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"password":"SCRAM-SHA-256$4096:AAAAAAAAAAA=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
		`{"a":[[]]}`, `[`, `{"targets":["a@b"]}{}`,
	} {
		f.Add("ann", []byte(s))
	}
	f.Add("@domain", []byte(`{"separator":"-","postmaster":"ann@far.example"}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		b, err := Parse(map[string][]byte{name: data, "zoe": []byte(`{"targets":["z@far.example"]}`)}, Settings{Domain: "x.example", Separator: "+"})
		if err != nil {
			return
		}
		for u := range b.Users() {
			for _, a := range append(u.Aliases, u.Address()) {
				if got, ok := b.Lookup(a); !ok || got != u {
					t.Fatalf("%s does not lead to %s", a, u.Address())
				}
				if !u.Owns(a) {
					t.Fatalf("%s does not own %s", u.Address(), a)
				}
			}
		}
	})
}
