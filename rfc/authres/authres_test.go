package authres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
)

var full = Results{
	ID: "mx.example.org",
	Results: []Result{
		{Method: "iprev", Value: "pass", Props: []Prop{{"policy", "iprev", "2001:db8::1"}}},
		{Method: "spf", Value: "fail", Reason: "does not designate", Props: []Prop{{"smtp", "mailfrom", "ann@sender.example"}}},
		{Method: "dkim", Value: "pass", Comment: "2048-bit (good) key", Props: []Prop{
			{"header", "d", "sender.example"}, {"header", "s", "s1"}, {"header", "a", "rsa-sha256"}, {"header", "b", "dGVzdA+/"}}},
		{Method: "dmarc", Version: 1, Value: "fail", Comment: "p=reject dis=none", Props: []Prop{{"header", "from", "sender.example"}}},
	},
}

func TestField(t *testing.T) {
	want := strings.ReplaceAll(`Authentication-Results: mx.example.org;
	iprev=pass policy.iprev="2001:db8::1";
	spf=fail reason="does not designate" smtp.mailfrom=ann@sender.example;
	dkim=pass (2048-bit \(good\) key) header.d=sender.example header.s=s1
	header.a=rsa-sha256 header.b="dGVzdA+/";
	dmarc/1=fail (p=reject dis=none) header.from=sender.example
`, "\n", "\r\n")
	if got := full.Field().Raw(); got != want {
		t.Error(cmp.Diff(want, got))
	}
	if got, want := (Results{ID: "mx.example.org"}).Field().Raw(), "Authentication-Results: mx.example.org; none\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFieldHoldsHostileText(t *testing.T) {
	r := Results{ID: "mx", Results: []Result{{
		Method: "spf\r\nX: y", Value: "pass;dkim=pass", Comment: "a) ; dkim=pass (\r\n",
		Reason: "\";\r\nFrom: x", Props: []Prop{{"smtp;", "", "a@b; dkim=pass\x00\r\n\r\nbody"}},
	}}}
	raw := r.Field().Raw()
	h := mail.ParseHeader(raw + "\r\n")
	if h.Len() != 1 {
		t.Fatalf("one field became %d: %q", h.Len(), raw)
	}
	got, err := Parse(h.Value(FieldName))
	if err != nil || len(got.Results) != 1 || got.Results[0].Method != "spfxy" {
		t.Errorf("%q reads as %+v, %v", raw, got, err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Results
	}{
		{full.String(), full},
		{"example.org 1; none", Results{ID: "example.org", Version: 1}},
		{"example.com; spf=pass smtp.mailfrom=example.net", Results{ID: "example.com", Results: []Result{
			{Method: "spf", Value: "pass", Props: []Prop{{"smtp", "mailfrom", "example.net"}}}}}},
		// RFC 8601 appendix B.6, with comments everywhere.
		{"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462",
			Results{ID: "foo.example.net", Version: 1, Results: []Result{
				{Method: "dkim", Version: 1, Value: "fail", Props: []Prop{{"policy", "expired", "1362471462"}}}}}},
		{`"mx example" ; dkim=neutral reason="a; b" header.i=@x.example ;`, Results{ID: "mx example", Results: []Result{
			{Method: "dkim", Value: "neutral", Reason: "a; b", Props: []Prop{{"header", "i", "@x.example"}}}}}},
		{`mx; auth=pass smtp.auth="a b"@x.example`, Results{ID: "mx", Results: []Result{
			{Method: "auth", Value: "pass", Props: []Prop{{"smtp", "auth", `"a b"@x.example`}}}}}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("Parse(%q): %s", tt.in, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", ";", "mx", "mx;", "mx; ;", "mx 2; none", "mx 0; none", "mx; none; spf=pass", "mx; spf=pass; none", "mx; none x",
		"mx; spf", "mx; spf=", "mx; =pass", "mx; spf=pass smtp", "mx; spf=pass smtp.", "mx; spf=pass smtp.x=",
		"mx; spf=pass smtp.x=a reason=b", "(mx; spf=pass", `"mx; spf=pass`, "mx; spf=pass (", "mx; spf=pass )", "mx\r; none", "mx\x00; none",
		"mx; spf=pass" + strings.Repeat("(", 40) + strings.Repeat(")", 40),
		"mx" + strings.Repeat("; spf=pass", 200),
	} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, got)
		}
	}
}

func TestStrike(t *testing.T) {
	ours := func(id string) bool { return id == "mx.example.org" }
	for _, tt := range []struct {
		field string
		gone  bool
	}{
		{"Authentication-Results: mx.example.org; dkim=pass", true},
		{"authentication-results: MX.Example.ORG; dkim=pass", true},
		{"Authentication-Results : mx.example.org; dkim=pass", true},
		{"Authentication-Results:mx.example.org.; dkim=pass", true},
		{"Authentication-Results: (hi) mx.example.org (there); none", true},
		{"Authentication-Results:\r\n (a (b) c)\r\n mx.example.org; none", true},
		{"Authentication-Results: \"mx.example.org\"; none", true},
		{"Authentication-Results: \"mx\\.example.org\"; none", true},
		{"Authentication-Results: \"mx.example\r\n .org\"; none", false},
		{"Authentication-Results: mx.example.org 2; dkim=pass", true},
		{"Authentication-Results: mx.example.org 99999999999; dkim=pass", true},
		{"Authentication-Results: mx.example.org", true},
		{"Authentication-Results: mx.example.org garbage =", true},
		{"Authentication-Results: mx.example.org;;;", true},
		{"Authentication-Results: (mx.example.org; dkim=pass", true},
		{"Authentication-Results: \"mx.example.org; dkim=pass", true},
		{"Authentication-Results: ; dkim=pass", true},
		{"Authentication-Results:", true},
		{"Authentication-Results: =?utf-8?q?mx.example.org?=; dkim=pass", true},
		{"Authentication-Results: mx.example.org\r; dkim=pass", true},
		{"Authentication-Results: mx.example.com; dkim=pass", false},
		{"Authentication-Results: sub.mx.example.org; dkim=pass", false},
		{"Authentication-Results: other.example (mx.example.org); dkim=pass", false},
		{"ARC-Authentication-Results: i=1; mx.example.org; dkim=pass", false},
		{"X-Authentication-Results: mx.example.org; dkim=pass", false},
	} {
		h := mail.ParseHeader("Subject: x\r\n" + tt.field + "\r\n\r\n")
		n := Strike(&h, ours)
		if gone := n == 1; gone != tt.gone || h.Len() != 2-n {
			t.Errorf("%q: struck %v, want %v", tt.field, gone, tt.gone)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full.String())
	f.Add("foo (a) 1 (b); dkim (c) / 1 = (d) fail policy . expired = 13; spf=none")
	f.Add(`"a\"b"; x=y reason="z" p.q="r"@s`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		back, err := Parse(r.String())
		if err != nil {
			t.Fatalf("Parse(%q) gives %+v, printed %q: %v", s, r, r.String(), err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Fatalf("Parse(%q), printed %q: %s", s, r.String(), d)
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add("mx", "spf", "pass", "comment", "reason", "smtp", "mailfrom", "a@b")
	f.Fuzz(func(t *testing.T, id, method, value, comment, reason, ptype, name, pvalue string) {
		r := Results{ID: id, Results: []Result{{Method: method, Value: value, Comment: comment, Reason: reason, Props: []Prop{{ptype, name, pvalue}}}}}
		raw := r.Field().Raw()
		h := mail.ParseHeader(raw + "\r\n")
		if h.Len() != 1 {
			t.Fatalf("one field became %d: %q", h.Len(), raw)
		}
		if id == "" {
			return
		}
		back, err := Parse(h.Value(FieldName))
		if err != nil || len(back.Results) != 1 {
			t.Fatalf("%q reads as %+v, %v", raw, back, err)
		}
	})
}
