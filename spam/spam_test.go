package spam_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
)

func judge(t testing.TB) *spam.Judge {
	t.Helper()
	m, err := spam.Default()
	if err != nil {
		t.Fatal(err)
	}
	return &spam.Judge{Model: m}
}

func explain(t testing.TB, text string) spam.Verdict {
	t.Helper()
	v, err := judge(t).Explain(mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), spam.Beside{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func reasons(v spam.Verdict) string {
	var out []string
	for _, r := range v.Reasons {
		out = append(out, r.Text)
	}
	return strings.Join(out, "; ")
}

// The article's mail says nothing that anybody could have learned from.
func TestLoremIpsum(t *testing.T) {
	if v := explain(t, "Subject: Lorem Ipsum\n\nHello World!\n"); v.Label != spam.Unknown {
		t.Errorf("%+v", v)
	}
}

const gmail = `MIME-Version: 1.0
Date: Tue, 3 Mar 2026 10:11:12 +0100
Message-ID: <CAGx=abcDEF123_456-7890@mail.gmail.com>
Subject: Dinner on Thursday?
From: Romain Lee <romain.lee@gmail.com>
To: ann@example.org
Content-Type: multipart/alternative; boundary="000000000000a1b2c305f0"

--000000000000a1b2c305f0
Content-Type: text/plain; charset="UTF-8"

Hi Ann,

are you still coming on Thursday? The others said that they would be there at
seven, and I thought that we could meet at the station before and walk. Tell me
if you want me to bring the book that you lent me last month, I have read it.

Romain

--000000000000a1b2c305f0
Content-Type: text/html; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

<div dir=3D"ltr"><div>Hi Ann,</div><div><br></div><div>are you still coming on Thursday? The others sai=
d that they would be there at seven, and I thought that we could meet at the station before and walk. Tell me
if you want me to bring the book that you lent me last month, I have read it.</div><div><br></div><div>Romain</div></div>

--000000000000a1b2c305f0--
`

func TestMultipartIsNoSpam(t *testing.T) {
	if v := explain(t, gmail); v.Label == spam.Yes || v.Probability > 0.5 {
		t.Errorf("%s %.3f: %s", v.Label, v.Probability, reasons(v))
	}
}

// Facts are found, and said in words.
func TestFacts(t *testing.T) {
	for _, c := range []struct{ name, head, body, want string }{
		{"other host", "Content-Type: text/html", `<a href="http://evil.example.net/x">www.bank.com</a>`, "links to a host that the text does not show"},
		{"hidden", "Content-Type: text/html", `<p>x<div style="display: none">` + strings.Repeat("innocent words ", 9) + `</div>`, "hidden text"},
		{"numeric", "Content-Type: text/plain", "see http://10.1.2.3/login now", "links to a numeric address"},
		{"look-alikes", "Content-Type: text/plain; charset=utf-8", "your p\u0430yp\u0430l account", "words with look-alike letters of another script"},
		{"program", "Content-Type: application/octet-stream; name=\"invoice.pdf.exe\"\nContent-Disposition: attachment", "x", "attaches a program under the name of a document"},
		{"reply", "Reply-To: x@elsewhere.com\nContent-Type: text/plain", "x", "answers go to another domain"},
		{"name", "X: y\nContent-Type: text/plain", "x", "the sender's name shows another address"},
		{"invisible", "Content-Type: text/plain; charset=utf-8", "v\u200bi\u200ba\u200bg\u200br\u200ba", "invisible letters in the text"},
	} {
		v := spamFacts(t, "From: \"help@bank.com\" <x@sender.org>\n"+c.head+"\n\n"+c.body+"\n")
		if !slices.Contains(v, c.want) {
			t.Errorf("%s: %q is not among %q", c.name, c.want, v)
		}
	}
}

func spamFacts(t *testing.T, text string) []string {
	t.Helper()
	return spam.Facts(mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n"))))
}

// A message is judged the same whatever was judged before, and the same as by another judge.
func TestDeterministic(t *testing.T) {
	j := judge(t)
	texts := []string{gmail, "Subject: x\n\n" + strings.Repeat("cheap pills for you now ", 50), "\n\n\xff\xfe"}
	var want []float64
	for range 3 {
		for i, text := range texts {
			v, err := j.Judge(mail.NewMessage([]byte(text)), spam.Beside{})
			if err != nil {
				t.Fatal(err)
			}
			if len(want) <= i {
				want = append(want, v.Odds)
			} else if v.Odds != want[i] {
				t.Errorf("mail %d: %v, then %v", i, want[i], v.Odds)
			}
		}
	}
}

// hostile are mails that are meant to cost much.
func hostile() map[string][]byte {
	const size = 25 << 20
	deep := &bytes.Buffer{}
	deep.WriteString("Content-Type: multipart/mixed; boundary=b0\r\n\r\n")
	for i := range 3000 {
		fmt.Fprintf(deep, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	parts := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 100_000)
	return map[string][]byte{
		"deep":        deep.Bytes(),
		"many parts":  []byte(parts),
		"many tags":   []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<a href=http://x.y/", size/19)),
		"entities":    []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("&#x41", size/5)),
		"one word":    []byte("\r\n" + strings.Repeat("a", size)),
		"base64":      []byte("Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("QUJD", size/4)),
		"links":       []byte("\r\n" + strings.Repeat("http://a.b ", size/11)),
		"subject":     []byte("Subject: " + strings.Repeat("=?utf-8?q?x?= ", 70_000) + "\r\n\r\nx"),
		"boundary":    []byte("Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 10_000) + "\r\n\r\nx"),
		"parameters":  []byte("Content-Type: text/plain" + strings.Repeat(";\r\n name*1=x", 20_000) + "\r\n\r\nx"),
		"fields":      []byte(strings.Repeat("Received: x\r\n", 20_000) + "\r\nx"),
		"attributes":  []byte("Content-Type: text/html\r\n\r\n<p " + strings.Repeat("a='", size/3)),
		"comments":    []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<!--", size/4)),
		"raw":         []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<script></", size/10)),
		"ideographs":  []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("漢", size/3)),
		"iso-2022-jp": []byte("Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + strings.Repeat("\x1b$B", size/3)),
	}
}

func TestHostile(t *testing.T) {
	j := judge(t)
	for name, raw := range hostile() {
		m := mail.NewMessage(raw)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		v, err := j.Explain(m, spam.Beside{})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took > time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
			t.Errorf("%s allocated %d MB", name, used>>20)
		}
		if (name == "deep" || name == "many parts") && v.Label != spam.Unknown {
			t.Errorf("%s is %s although not all of it was looked at", name, v.Label)
		}
	}
}

func TestModelFile(t *testing.T) {
	var tr spam.Trainer
	for i := range 40 {
		text := fmt.Sprintf("Subject: mail %d\r\n\r\nthe meeting of the committee is on monday in room %d\r\n", i, i)
		if i%2 == 0 {
			text = fmt.Sprintf("Subject: offer %d\r\n\r\nbuy cheap pills without prescription today only %d\r\n", i, i)
		}
		if err := tr.Add(mail.NewMessage([]byte(text)), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	var a, b bytes.Buffer
	tr.Model("small").WriteTo(&a) //nolint:errcheck // a buffer does not fail
	tr.Model("small").WriteTo(&b) //nolint:errcheck // a buffer does not fail
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("training twice gave different models")
	}
	m, err := spam.ReadModel(bytes.NewReader(a.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	j := &spam.Judge{Model: m}
	v, err := j.Judge(mail.NewMessage([]byte("Subject: offer\r\n\r\nbuy cheap pills without prescription today\r\n")), spam.Beside{})
	if err != nil || v.Label != spam.Yes {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := j.Judge(mail.NewMessage([]byte("Subject: Lorem Ipsum\r\n\r\nHello World!\r\n")), spam.Beside{}); err != nil || v.Label != spam.Unknown {
		t.Errorf("the article's mail by a small model: %+v, %v", v, err)
	}
	for i := 0; i < a.Len(); i += 99_991 {
		bad := bytes.Clone(a.Bytes())
		bad[i] ^= 1
		if _, err := spam.ReadModel(bytes.NewReader(bad)); err == nil {
			t.Errorf("a model with octet %d changed was taken", i)
		}
	}
	if _, err := spam.ReadModel(bytes.NewReader(a.Bytes()[:a.Len()-1])); err == nil {
		t.Error("a model without its end was taken")
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte(gmail))
	f.Add([]byte("Content-Type: text/html\r\n\r\n<a href='http://x@[::1]:1/'>&#65;&amp</a><!-- <style>x</style>"))
	f.Add([]byte("Content-Type: text/plain; charset=gb2312\r\n\r\n\xb0\xa1 漢字 \xff"))
	f.Add([]byte("From: =?utf-8?q?=22?= <@,>\r\nSubject: =?x?b?=?=\r\n\r\nhttp://"))
	j := judge(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := mail.NewMessage(raw)
		v, err := j.Explain(m, spam.Beside{})
		if err != nil || !(v.Probability >= 0 && v.Probability <= 1) {
			t.Fatalf("%+v, %v", v, err)
		}
		quick, _ := j.Judge(m, spam.Beside{})
		if quick.Odds != v.Odds || quick.Label != v.Label {
			t.Fatalf("%v with reasons, %v without", v, quick)
		}
	})
}

// What stands at the end is seen however much comes before it.
func TestPadding(t *testing.T) {
	const want = "links to a numeric address"
	line := strings.Repeat("quiet words about nothing ", 3) + "\n"
	for name, text := range map[string]string{
		"long body": "Content-Type: text/plain\n\n" + strings.Repeat(line, 20_000) + "see http://10.1.2.3/login now\n",
		"long part": "Content-Type: text/html\n\n<p>" + strings.Repeat(line, 500) + "<a href=\"http://10.1.2.3/login\">now</a>\n",
		"after base64": "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n" +
			strings.Repeat("QUJD", 19) + "\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 20_000) + "--b\nContent-Type: text/plain\n\nsee http://10.1.2.3/login now\n--b--\n",
	} {
		if v := spamFacts(t, text); !slices.Contains(v, want) {
			t.Errorf("%s: %q is not among %q", name, want, v)
		}
	}
}
