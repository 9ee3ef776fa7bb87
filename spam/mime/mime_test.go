package mime

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// parts lists the leaves of a message body as "type[name]=text".
func parts(contentType, encoding, body string) (string, Trouble) {
	var w Walker
	var out []string
	var all Trouble
	w.Walk(contentType, encoding, "", []byte(body), func(p *Part) {
		text, trouble := p.Decode(nil, 1000)
		utf8, more := ToUTF8(text, p.Charset)
		all |= trouble | more
		s := p.Type
		if p.Name != "" {
			s += "[" + p.Name + "]"
		}
		out = append(out, s+"="+string(utf8))
	})
	return strings.Join(out, "|"), all | w.Trouble
}

func TestWalk(t *testing.T) {
	two := "preamble\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>x\n--b\nContent-Type: image/png; name=\"a b.png\"\n\nPNG\n--b--\nepilogue"
	for name, c := range map[string]struct {
		ct, enc, body, want string
		trouble             Trouble
	}{
		"plain":            {"", "", "hello\r\n", "text/plain=hello\r\n", 0},
		"LF multipart":     {`multipart/mixed; boundary="b"`, "", two, "text/html=<p>x|image/png[a b.png]=PNG", 0},
		"CRLF multipart":   {`MULTIPART/Mixed;BOUNDARY=b`, "", strings.ReplaceAll(two, "\n", "\r\n"), "text/html=<p>x|image/png[a b.png]=PNG", 0},
		"unclosed":         {"multipart/mixed; boundary=b", "", "--b\n\nx", "text/plain=x", Unclosed},
		"boundary absent":  {"multipart/mixed; boundary=b", "", "x", "text/plain=x", NoBoundary},
		"no boundary":      {"multipart/mixed", "", "--b\n\nx", "text/plain=--b\n\nx", NoBoundary},
		"boundary inside":  {"multipart/mixed; boundary=b", "", "--bb\n\nx\n--b\n\ny --b z\n--b--", "text/plain=y --b z", 0},
		"base64":           {"text/plain", "Base64", "aGVs\r\nbG8=", "text/plain=hello", 0},
		"base64 rubbish":   {"text/plain", "base64", "aG*Vs bG8", "text/plain=hello", BadEncoding},
		"base64 in pieces": {"text/plain", "base64", "aGVsbG8=aGVsbG8=", "text/plain=hellohello", 0},
		"quoted":           {"text/plain; charset=iso-8859-1", "quoted-printable", "=E4=\r\nb=3D=zz", "text/plain=äb==zz", BadEncoding},
		"odd encoding":     {"text/plain", "x-uue", "x", "text/plain=x", BadEncoding},
		"utf-7 is unknown": {"text/plain; charset=utf-7", "", "x", "text/plain=x", BadCharset},
		"koi8":             {"text/plain; charset=koi8-r", "8bit", "\xd0\xd2\xc9", "text/plain=при", 0},
		"attached message": {"message/rfc822", "", "Content-Type: text/html\r\n\r\nx", "text/html=x", 0},
		"no header":        {"multipart/mixed; boundary=b", "", "--b\nthis is text\n--b--", "text/plain=this is text", BadField},
		"RFC 2231":         {"multipart/mixed; boundary=b", "", "--b\nContent-Disposition: attachment; filename*0*=utf-8''%c3%a4; filename*1=b.exe\n\nx\n--b--", "text/plain[äb.exe]=x", 0},
		"RFC 2047 name":    {"application/x; name=\"=?utf-8?b?w6Q=?=.exe\"", "", "x", "application/x[ä.exe]=x", 0},
	} {
		got, trouble := parts(c.ct, c.enc, c.body)
		if got != c.want || trouble != c.trouble {
			t.Errorf("%s: %q, trouble %b, want %q, %b", name, got, trouble, c.want, c.trouble)
		}
	}
}

func TestDecodeWords(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                               "plain",
		"=?iso-8859-1?q?a=E4_b?=":             "aä b",
		"=?UTF-8?B?w6Q=?= =?utf-8?b?w7Y=?= x": "äö x",
		"a=?utf-8?q?b?=c":                     "abc",
		"=?utf-8*en?q?b?=":                    "b",
		"=?utf-8?x?b?=":                       "=?utf-8?x?b?=",
		"=?utf-8?q?b":                         "=?utf-8?q?b",
		"=?=?=?":                              "=?=?=?",
		"caf\xe9":                             "café",
	} {
		if got := DecodeWords(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// What is meant to cost much costs little.
func TestBounded(t *testing.T) {
	nested := &bytes.Buffer{}
	for i := range 3000 {
		fmt.Fprintf(nested, "--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	many := strings.Repeat("--b0\n\nx\n", 100_000)
	for name, c := range map[string]struct{ ct, body string }{
		"deep":      {"multipart/mixed; boundary=b0", nested.String()},
		"many":      {"multipart/mixed; boundary=b0", many},
		"same":      {"multipart/mixed; boundary=b", strings.Repeat("--b\nContent-Type: multipart/mixed; boundary=b\n\n", 20_000)},
		"parameter": {"text/plain" + strings.Repeat("; name*1=x", 100_000), ""},
		"words":     {"text/plain; name=\"" + strings.Repeat("=?utf-8?q?x?=", 100_000) + "\"", ""},
	} {
		start := time.Now()
		parts(c.ct, "", c.body)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
	start := time.Now()
	DecodeWords(strings.Repeat("=?utf-8?q?x?= ", 100_000))
	DecodeWords(strings.Repeat("=?", 500_000))
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("encoded words took %v", d)
	}
}

func TestAttachedMessages(t *testing.T) {
	var got []string
	w := Walker{Message: func(raw []byte) { got = append(got, string(raw)) }}
	body := "--b\n\nplease learn\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogegoKeQ==\n--b--"
	w.Walk("multipart/mixed; boundary=b", "", "", []byte(body), func(*Part) {})
	if strings.Join(got, "|") != "Subject: x\n\ny|Subject: z\n\ny" {
		t.Errorf("%q", got)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add("multipart/mixed; boundary=b", "", "--b\nContent-Type: text/html\n\n<p>\n--b--")
	f.Add("text/plain; charset=utf-7; name*0*=a''%20", "base64", "aGVsbG8=")
	f.Add("message/rfc822", "quoted-printable", "=20=\n")
	f.Fuzz(func(t *testing.T, ct, enc, body string) {
		n := 0
		var w Walker
		w.Walk(ct, enc, ct, []byte(body), func(p *Part) {
			n++
			if out, _ := p.Decode(nil, 100); len(out) > 100 {
				t.Fatalf("decoded %d octets", len(out))
			}
			ToUTF8(p.Raw[:min(len(p.Raw), 1000)], p.Charset)
		})
		if n > MaxParts {
			t.Fatalf("%d parts", n)
		}
	})
}

func FuzzDecodeWords(f *testing.F) {
	f.Add("=?utf-8?q?a=20b?= =?iso-2022-jp?b?GyRC?=")
	f.Fuzz(func(t *testing.T, s string) { DecodeWords(s) })
}
