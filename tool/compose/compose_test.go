package compose

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stagecoach/tool/mime"
)

func TestMake(t *testing.T) {
	when := time.Date(2022, 12, 20, 9, 3, 56, 0, time.FixedZone("", -5*3600))
	got, err := Make(Letter{
		Date: when, To: []string{"foo@yopmail.com", "Zoé <zoe@example.org>, bob@bücher.example"}, From: []string{"dinosaure@x25519.net"},
		MessageID: "1@x25519.net", Fields: []string{"Subject:Hello World", "X-Note: é"},
	}, []byte("Hello World!\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`Date: Tue, 20 Dec 2022 09:03:56 -0500
To: foo@yopmail.com, =?utf-8?b?Wm/DqQ==?= <zoe@example.org>,
 bob@xn--bcher-kva.example
From: dinosaure@x25519.net
Message-ID: <1@x25519.net>
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Type: text/plain; charset=utf-8
Subject: Hello World
X-Note: =?utf-8?b?w6k=?=

Hello World!
`, "\n", "\r\n")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestMakeRefuses(t *testing.T) {
	for why, l := range map[string]Letter{
		"no mailbox":          {To: []string{"nobody"}},
		"no local part":       {From: []string{"<@x>"}},
		"two authors":         {From: []string{"a@b.org, c@d.org"}},
		"two senders":         {Sender: "a@b.org, c@d.org"},
		"a line end":          {Fields: []string{"Subject: x\r\nEvil: y"}},
		"no field":            {Fields: []string{"Subject"}},
		"a blank in the name": {Fields: []string{"Sub ject: x"}},
		"two subjects":        {Fields: []string{"Subject: x", "subject: y"}},
		"From twice":          {From: []string{"a@b.org"}, Fields: []string{"From: c@d.org"}},
		"multipart":           {Type: "multipart/mixed"},
		"no type":             {Type: "text"},
		"encoding":            {Encoding: "rot13"},
		"7bit":                {Encoding: "7bit"},
		"coded message":       {Type: "message/rfc822", Encoding: "base64"},
	} {
		if got, err := Make(l, []byte("é\n")); err == nil {
			t.Errorf("%s: %s", why, got)
		}
	}
}

func TestChooseEncoding(t *testing.T) {
	for body, want := range map[string]string{
		"plain\n": "7bit", "caf\u00e9 and some more plain text\n": "quoted-printable", "ελληνικά\n": "base64",
		strings.Repeat("x", 999) + "\n": "quoted-printable", "a\rb": "quoted-printable", "\x00": "base64", "": "7bit",
	} {
		got, err := Make(Letter{}, []byte(body))
		if err != nil || !bytes.Contains(got, []byte("Content-Transfer-Encoding: "+want+"\r\n")) {
			t.Errorf("%q: want %s in %q, %v", body, want, got, err)
		}
	}
}

// What goes in comes out, whatever is put together.
func TestPutTogetherAndTakenApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := strings.NewReplacer("\r", "", "\n", "\r\n").Replace(rapid.String().Draw(t, "body"))
		subject := rapid.StringMatching(`[^\r\n\x00-\x1f\x7f]{0,80}`).Draw(t, "subject")
		raw, err := Make(Letter{Fields: []string{"Subject: " + subject}}, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(0, 3).Draw(t, "attachments")
		names, files := make([]string, n), make([][]byte, n)
		for i := range n {
			names[i] = rapid.StringMatching(`[^\r\n\x00-\x1f\x7f]{1,80}`).Draw(t, "name")
			files[i] = rapid.SliceOf(rapid.Byte()).Draw(t, "file")
			if raw, err = Put(raw, Attachment{Name: names[i], Content: files[i]}); err != nil {
				t.Fatal(err)
			}
		}
		p := mime.Parse(raw)
		if got := mime.DecodeWords(p.Header.Value("Subject")); got != strings.TrimSpace(subject) {
			t.Fatalf("subject %q became %q", subject, got)
		}
		if _, err := mail.ReadMessage(bytes.NewReader(raw)); err != nil {
			t.Fatalf("%v:\n%s", err, raw)
		}
		text := p
		if n > 0 {
			text = p.Parts[0]
		}
		if got, err := text.Text(); err != nil || got != body {
			t.Fatalf("body %q became %q: %v", body, got, err)
		}
		for i := range n {
			e := p.Parts[i+1]
			if got, err := e.Content(); err != nil || !bytes.Equal(got, files[i]) || e.Filename != names[i] || len(e.Problems) > 0 {
				t.Fatalf("file %q %q became %q %q: %v %v", names[i], files[i], e.Filename, got, err, e.Problems)
			}
		}
	})
}

func TestWrap(t *testing.T) {
	raw := []byte("DKIM-Signature: x\r\n folded\r\nContent-Type: text/html\r\nFrom: a@b.org\r\n\r\n<p>\r\n")
	got, err := Wrap(raw, Wrapping{Subtype: "alternative", Boundary: "b", Fields: []string{"Subject: x"}})
	want := "DKIM-Signature: x\r\n folded\r\nFrom: a@b.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\nSubject: x\r\n\r\n" +
		"--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n\r\n--b--\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Wrap([]byte("A: b\r\n\r\n--b\r\n"), Wrapping{Boundary: "b"}); err == nil {
		t.Error("the boundary occurs in the body")
	}
	if _, err := Wrap(raw, Wrapping{Boundary: "a\"b"}); err == nil {
		t.Error("no boundary")
	}
}

func TestPutLeavesTheRestAlone(t *testing.T) {
	before := "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none"
	after := "\r\n--b-- \t\r\nepilogue"
	got, err := Put([]byte(before+after), Attachment{Type: "text/plain", Content: []byte("two\n"), Inline: true})
	want := before + "\r\n--b\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\n\r\ntwo\r\n" + after
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	empty := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b--\r\n"
	if got, err := Put([]byte(empty), Attachment{Name: "x"}); err != nil || len(mime.Parse(got).Parts) != 2 {
		t.Errorf("%q %v", got, err)
	}
	for why, raw := range map[string]string{
		"no end":  before,
		"signed":  "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n",
		"no part": "Content-Type: multipart/mixed; boundary=b\r\n\r\nx\r\n",
	} {
		if got, err := Put([]byte(raw), Attachment{}); err == nil {
			t.Errorf("%s: %q", why, got)
		}
	}
	if _, err := Put([]byte(before+after), Attachment{Type: "text/plain", Content: []byte("--b\n")}); err == nil {
		t.Error("the boundary occurs in the attachment")
	}
}

func TestAddField(t *testing.T) {
	raw := "From: a@b.org\r\n\r\nx"
	got, err := AddField([]byte(raw), "X-Ours:  yes ")
	if string(got) != "X-Ours: yes\r\n"+raw || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, err := AddField(nil, "A: b"); err == nil {
		t.Error("an empty mail")
	}
}

func FuzzPut(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n"), []byte("x"))
	f.Add([]byte("From: a@b\r\n\r\nx"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, raw, file []byte) {
		got, err := Put(raw, Attachment{Name: "f", Content: file})
		if err != nil {
			return
		}
		p := mime.Parse(got)
		if len(p.Parts) == 0 {
			t.Fatalf("%q", got)
		}
		last := p.Parts[len(p.Parts)-1]
		if b, err := last.Content(); err != nil || !bytes.Equal(b, file) {
			t.Fatalf("%q: %q %v", got, b, err)
		}
	})
}
