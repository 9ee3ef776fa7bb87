package dkim

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stagecoach/mail"
)

func TestSignText(t *testing.T) {
	m := message("Received: x\nTo: b@example.net\nFrom: a@example.org\nX-Other: x\nTO: c@example.net\n\nHello World!\n")
	fields, err := Sign(m, Signer{
		Domain: "example.org", Selector: "s1", Key: footballKey(t), Identity: "ann lee@example.org",
		Time: time.Unix(1_700_000_000, 0), Expires: time.Unix(1_700_604_800, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw := fields[0].Raw()
	want := crlf(`DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;
 s=s1; i=ann=20lee@example.org; t=1700000000; x=1700604800; h=From:From
 :Reply-To:To:To:To:Cc:Subject:Date:Message-ID:MIME-Version:Content-Type
 :Content-Transfer-Encoding:Content-ID:Content-Description
 :Content-Disposition; bh=z85OKVJZHnmg3qFlSpLbpPCZ00irfBdrzQUtabiSl3A=;
 b=`)
	if !strings.HasPrefix(raw, want) {
		t.Errorf("got\n%s\nwant\n%s", raw, want)
	}
}

// As in the articles: `--fields` names what is signed, and From always is.
func TestSignFields(t *testing.T) {
	m := message("From: a@example.org\nTo: b@example.net\nSubject: s\nDate: d\n\nx\n")
	for want, s := range map[string]Signer{
		"h=From:From;":                      {Fields: []string{}},
		"h=From:From:Subject:Subject:X-Y;":  {Fields: []string{"Subject", "X-Y"}, Oversign: []string{"Subject", "X-Y"}},
		"h=From:From:date:date:to:to;":      {Fields: []string{"date", "to", "x-y", "FROM"}},
		"h=From:From:Date;":                 {Fields: []string{"Date"}, Oversign: []string{}},
		"h=From:From:Subject:Subject:To:To": {Fields: []string{"Subject"}, Oversign: []string{"Subject", "To"}},
	} {
		s.Domain, s.Selector, s.Key = "example.org", "s", footballKey(t)
		fields, err := Sign(m, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(fields[0].Raw(), "\r\n ", ""); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key := footballKey(t)
	m := message("From: a@example.org\n\nx\n")
	for name, s := range map[string]Signer{
		"no domain":          {Selector: "s", Key: key},
		"no selector":        {Domain: "example.org", Key: key},
		"no key":             {Domain: "example.org", Selector: "s"},
		"upper case":         {Domain: "Example.org", Selector: "s", Key: key},
		"a tag in d=":        {Domain: "example.org; l=0", Selector: "s", Key: key},
		"a literal":          {Domain: "[192.0.2.1]", Selector: "s", Key: key},
		"a tag in s=":        {Domain: "example.org", Selector: "s; l=0", Key: key},
		"a line in h=":       {Domain: "example.org", Selector: "s", Key: key, Fields: []string{"To\r\nX"}},
		"a colon in h=":      {Domain: "example.org", Selector: "s", Key: key, Oversign: []string{"To:From"}},
		"a tag in h=":        {Domain: "example.org", Selector: "s", Key: key, Fields: []string{"To; l=0"}},
		"a foreign AUID":     {Domain: "example.org", Selector: "s", Key: key, Identity: "a@example.net"},
		"too long for a TXT": {Domain: strings.Repeat("a.", 100) + "org", Selector: strings.Repeat("s.", 30) + "s", Key: key},
	} {
		if f, err := Sign(m, s); err == nil {
			t.Errorf("%s: signed as %q", name, f[0].Raw())
		}
	}
	for _, text := range []string{"", "\nFrom: a@example.org\n", "From: a@example.org\nfrom: b@example.org\n\nx\n"} {
		if _, err := Sign(message(text), Signer{Domain: "example.org", Selector: "s", Key: key}); err != ErrNoFrom {
			t.Errorf("%q: %v, want ErrNoFrom", text, err)
		}
	}
}

// Whatever stands in the mail, lines stay short, and the signature verifies in all canonical
// forms and from any split between signing and verifying.
func TestSignedVerifies(t *testing.T) {
	ring := newKeyring(t)
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		signers := append([]Signer(nil), ring.signers...)
		for i := range signers {
			signers[i].Header = rapid.SampledFrom(canons).Draw(t, "header canon")
			signers[i].Body = rapid.SampledFrom(canons).Draw(t, "body canon")
		}
		fields, err := Sign(m, signers...)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			for line := range strings.Lines(f.Raw()) {
				if len(line) > 78+2 {
					t.Fatalf("a line of %d octets: %q", len(line), line)
				}
			}
		}
		m.Header.Prepend(fields...)
		m = mail.NewMessage([]byte(m.String()))
		for i, r := range Verify(t.Context(), m, ring.names, Options{}) {
			if r.Status != Pass {
				t.Fatalf("signature %d: %+v", i, r)
			}
		}
	})
}

// A change of any octet that canonicalisation does not hide, of a signed field or of the body,
// and any field more or less of those that are over-signed, is seen.
func TestChangesAreSeen(t *testing.T) {
	ring := newKeyring(t)
	over := DefaultOversign()
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		signers := append([]Signer(nil), ring.signers...)
		for i := range signers {
			signers[i].Header, signers[i].Body = Simple, Simple
		}
		fields, err := Sign(m, signers...)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Prepend(fields...)
		raw := m.String()
		changed := m
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0: // one more
			name := rapid.SampledFrom(over).Draw(t, "name")
			changed.Header.Prepend(mail.NewField(name, rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "value")))
		case 1: // one less
			gone := rapid.IntRange(0, m.Header.Len()-1-len(fields)).Draw(t, "index") + len(fields)
			i := -1
			changed.Header.Strike(func(mail.Field) bool { i++; return i == gone })
		case 2: // an octet of the body
			at := strings.Index(raw, "\r\n\r\n") + 4
			body := strings.TrimRight(raw[at:], "\r\n")
			if body == "" {
				return
			}
			k := at + rapid.IntRange(0, len(body)-1).Draw(t, "at")
			changed = mail.NewMessage([]byte(raw[:k] + string(raw[k]^1) + raw[k+1:]))
		case 3: // a line more
			changed = mail.NewMessage([]byte(raw + "x\r\n"))
		}
		for i, r := range Verify(t.Context(), changed, ring.names, Options{}) {
			if r.Status == Pass {
				t.Fatalf("signature %d passes: %q became %q", i, raw, changed.String())
			}
		}
	})
}

// drawMessage makes a message in which every field is one that is signed.
func drawMessage(t *rapid.T) *mail.Message {
	value := rapid.StringMatching(`[ -~]{0,30}(\r\n[ \t][ -~\t]{0,20}){0,3}`)
	fields := []mail.Field{mail.NewField("From", value.Draw(t, "From"))}
	for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{
		"To", "Cc", "Subject", "Date", "Reply-To", "mime-version", "CONTENT-TYPE", "List-Id", "References",
	}), 0, 8).Draw(t, "names") {
		fields = append(fields, mail.NewField(name, value.Draw(t, name)))
	}
	fields = rapid.Permutation(fields).Draw(t, "order")
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f.Raw())
	}
	b.WriteString("\r\n")
	b.WriteString(rapid.StringMatching(`([ -~\t]{0,30}(\r\n){1,3}){0,5}`).Draw(t, "body"))
	return mail.NewMessage([]byte(b.String()))
}
