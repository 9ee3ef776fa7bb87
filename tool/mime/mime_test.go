package mime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const nested = `From: ann@example.org
Content-Type: multipart/mixed; boundary="a"

preamble
--a
Content-Type: multipart/alternative; boundary=a.b

--a.b

plain
--a.b
Content-Type: text/html

<p>
--a.b--
--a 	
Content-Type: message/rfc822
Content-Disposition: attachment; filename*=utf-8''%C3%A9.eml

Subject: inner
Content-Type: multipart/digest; boundary=x

--x

From: bob@example.org

deep
--x--
--a
Content-Type: image/png; name="p.png"
Content-Transfer-Encoding: base64

AAEC
--a--
epilogue
--a
`

func outline(p *Part) string {
	var b strings.Builder
	for depth, e := range p.All() {
		content, err := e.Content()
		if len(e.Parts) > 0 {
			content = nil
		}
		fmt.Fprintf(&b, "%s%s %q %q %v %v\n", strings.Repeat(" ", depth), e.Type, e.Filename, content, err, e.Problems)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	want := `multipart/mixed "" "" <nil> []
 multipart/alternative "" "" <nil> []
  text/plain "" "plain" <nil> []
  text/html "" "<p>" <nil> []
 message/rfc822 "é.eml" "" <nil> []
  multipart/digest "" "" <nil> []
   message/rfc822 "" "" <nil> []
    text/plain "" "deep" <nil> []
 image/png "p.png" "\x00\x01\x02" <nil> []
`
	p := Parse(crlf(nested))
	if diff := cmp.Diff(want, outline(p)); diff != "" {
		t.Error(diff)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for raw, want := range map[string]string{
		"Content-Type: multipart/mixed\n\nx\n":                                      "a multipart without a boundary",
		"Content-Type: multipart/mixed; boundary=a\n\nx\n":                          "the boundary does not occur",
		"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n":                   "the last boundary is missing",
		"Content-Type: text\n\nx\n":                                                 `Content-Type: "text" is no type`,
		"Content-Type: text/plain\nContent-Type: text/html\n\nx\n":                  "2 Content-Type fields: the first one counts here",
		"Content-Transfer-Encoding: rot13\n\nx\n":                                   `Content-Transfer-Encoding: "rot13" is not known`,
		"From: x\nno field\n\nx\n":                                                  "a line of the header is no field: \"no field\\r\\n\"",
		"From: x":                                                                   "the last line of the header does not end",
		"Content-Type: text/plain; name=a b\n\nx\n":                                 "Content-Type: a parameter value needs quotes",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA\n": "a message is encoded with base64 (RFC 2046 section 5.2.1)",
	} {
		if got := Parse(crlf(raw)).Problems; !slices.Contains(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// A bomb of parts in each other costs no more than the limits allow.
func TestParseIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	n := 0
	for range Parse([]byte(b.String())).All() {
		n++
	}
	if n != MaxDepth+1 {
		t.Errorf("%d entities in each other", n)
	}
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", 3*MaxParts)
	n = 0
	for range Parse([]byte(many)).All() {
		n++
	}
	if n > MaxParts+2 {
		t.Errorf("%d entities side by side", n)
	}
}

func TestContent(t *testing.T) {
	for _, c := range []struct{ encoding, body, want, err string }{
		{"base64", "aGVs\r\nbG8=\r\n", "hello", ""},
		{"base64", "aGVs*bG8=\r\n", "hello", "1 octets"},
		{"base64", "aGVsbG8", "hello", "breaks off"},
		{"base64", "aGVsbG8=aGVs", "hello", "follows the padding"},
		{"quoted-printable", "a=3D=\r\nb \t\r\nc=C3=a9", "a=b\r\nc\xc3\xa9", ""},
		{"quoted-printable", "a=zz\r\n", "a=zz\r\n", "1 octets"},
		{"quoted-printable", "a=", "a", ""},
		{"8bit", "\xff", "\xff", ""},
		{"uuencode", "x", "x", "unknown"},
	} {
		p := Parse([]byte("Content-Transfer-Encoding: " + c.encoding + "\r\n\r\n" + c.body))
		got, err := p.Content()
		if string(got) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %q: %q, %v", c.encoding, c.body, got, err)
		}
	}
}

func TestText(t *testing.T) {
	p := Parse([]byte("Content-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=A4"))
	if s, err := p.Text(); s != "€" || err != nil {
		t.Errorf("%q %v", s, err)
	}
}

func TestParseParams(t *testing.T) {
	for in, want := range map[string]Params{
		`text/plain; charset=utf-8`:                                            {{"charset", "utf-8"}},
		`text/plain (a comment); CharSet="utf-8" (another) ; x=1`:              {{"charset", "utf-8"}, {"x", "1"}},
		`attachment; filename="a \"b\" \\ c"`:                                  {{"filename", `a "b" \ c`}},
		`attachment; filename*=iso-8859-1'en'%E9`:                              {{"filename", "é"}},
		`attachment; filename*0*=utf-8''%c3; filename*1=x; filename*2*=%C3%A9`: {{"filename", "\xc3x\xc3\xa9"}},
		`attachment; filename=plain; filename*=utf-8''%C3%A9`:                  {{"filename", "é"}},
		`attachment; filename="=?utf-8?q?=C3=A9?="`:                            {{"filename", "é"}},
		`text/plain; =x; y; z=`:                                                {{"z", ""}},
	} {
		_, got, _ := ParseParams(in)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", in, diff)
		}
	}
}

func TestParseMailboxes(t *testing.T) {
	for in, want := range map[string][]Mailbox{
		"ann@example.org": {{Addr: "ann@example.org"}},
		"Ann Lee <ann@example.org>, bob@example.org": {{Name: "Ann Lee", Addr: "ann@example.org"}, {Addr: "bob@example.org"}},
		`"Lee, Ann" <ann@example.org>`:               {{Name: "Lee, Ann", Addr: "ann@example.org"}},
		`"a b"@example.org`:                          {{Addr: `"a b"@example.org`}},
		`"a b" . c @ example.org`:                    {{Addr: `"a b".c@example.org`}},
		`<"a>b"@example.org>`:                        {{Addr: `"a>b"@example.org`}},
		"ann@example.org (Ann)":                      {{Name: "Ann", Addr: "ann@example.org"}},
		"friends: a@x.org, B <b@x.org>;, c@x.org":    {{Addr: "a@x.org", Group: "friends"}, {Name: "B", Addr: "b@x.org", Group: "friends"}, {Addr: "c@x.org"}},
		"undisclosed-recipients:;":                   nil,
		"=?utf-8?q?Zo=C3=A9?= <z@x.org>":             {{Name: "=?utf-8?q?Zo=C3=A9?=", Addr: "z@x.org"}},
		"<@a.org,@b.org:c@d.org>":                    {{Addr: "c@d.org"}},
		"ann@[IPv6:::1], Bob <bob@[192.0.2.1]>":      {{Addr: "ann@[IPv6:::1]"}, {Name: "Bob", Addr: "bob@[192.0.2.1]"}},
		"ann @ example . org":                        {{Addr: "ann@example.org"}},
	} {
		got, wrong := ParseMailboxes(in)
		if diff := cmp.Diff(want, got); diff != "" || wrong > 0 {
			t.Errorf("%s: %d wrong\n%s", in, wrong, diff)
		}
	}
	if got, wrong := ParseMailboxes("nobody, <a@b, c@d.org) x, e@f.org"); wrong == 0 {
		t.Errorf("%v", got)
	}
}

func TestNewField(t *testing.T) {
	f := NewField("Subject", strings.Repeat("word ", 40)+"\r\nEvil: x")
	for line := range strings.Lines(f.Raw()) {
		if len(line) > foldAt+2 {
			t.Errorf("%q", line)
		}
	}
	if want := strings.Repeat("word ", 40) + "  Evil: x"; f.Value() != want {
		t.Errorf("%q", f.Value())
	}
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if got, err := DecodeBase64(EncodeBase64(b)); !bytes.Equal(got, b) || err != nil {
			t.Fatalf("base64: %q %v", got, err)
		}
		for _, text := range []bool{true, false} {
			if got, err := DecodeQuotedPrintable(EncodeQuotedPrintable(b, text)); !bytes.Equal(got, b) || err != nil {
				t.Fatalf("quoted-printable: %q %v", got, err)
			}
		}
		s := rapid.String().Draw(t, "text")
		f := NewField("Subject", EncodeText(s))
		if got := DecodeWords(f.Value()); got != s {
			t.Fatalf("%q: %q", f.Raw(), got)
		}
		params := Params{{"filename", s}, {"charset", "utf-8"}}
		value, got, problems := ParseParams(FormatParams(21, "attachment", params))
		if diff := cmp.Diff(params, got); value != "attachment" || diff != "" || len(problems) > 0 {
			t.Fatalf("%q %s %q", value, diff, problems)
		}
		if s != "" {
			list, wrong := ParseMailboxes(EncodePhrase(s) + " <a@b.org>, c@d.org")
			if wrong > 0 || len(list) != 2 || DecodeWords(list[0].Name) != s || list[0].Addr != "a@b.org" {
				t.Fatalf("%q: %v %d", EncodePhrase(s), list, wrong)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(crlf(nested))
	f.Add([]byte("Content-Type: multipart/x; boundary=\"\r\n \"\r\n\r\n--\r\n----"))
	f.Add([]byte("Content-Type: multipart/x; boundary=a\n\n--a\r\n\r\n--a--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := Parse(raw)
		var b bytes.Buffer
		if n, err := p.WriteTo(&b); err != nil || n != int64(len(raw)) || !bytes.Equal(b.Bytes(), raw) {
			t.Fatalf("%q became %q", raw, b.Bytes())
		}
		for _, e := range p.All() {
			e.Text() //nolint:errcheck // that it returns is what is asked
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add("a@b, c <d@e>; (f) g: h@i;")
	f.Add(`text/plain; a*0*=utf-8''%e; a*1="x\"y"`)
	f.Add("=?utf-8?q?=C3?= =?iso-2022-jp?b?GyRC?=")
	f.Fuzz(func(t *testing.T, s string) {
		list, _ := ParseMailboxes(s)
		for _, m := range list {
			if strings.ContainsAny(m.Addr, "\r\n") && !strings.ContainsAny(m.Addr, "[\"") {
				t.Fatalf("%q: %q", s, m.Addr)
			}
		}
		if strings.Contains(s, "=?") != (DecodeWords(s) != s) && !strings.Contains(s, "=?") && utf8.ValidString(s) {
			t.Fatalf("%q is changed without an encoded word", s)
		}
		_, params, _ := ParseParams(s)
		for _, p := range params {
			if !isToken(p.Name) || strings.Contains(p.Name, "*") || len(p.Name) > 20 || !utf8.ValidString(p.Value) || strings.Contains(p.Value, "=?") {
				return
			}
		}
		_, same, problems := ParseParams(FormatParams(0, "x", params))
		if !slices.Equal(same, params) || len(problems) > 0 {
			t.Fatalf("%q: %q became %q: %q", s, params, same, problems)
		}
	})
}
