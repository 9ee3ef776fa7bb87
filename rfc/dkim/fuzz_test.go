package dkim

import (
	"strings"
	"testing"

	"stagecoach/mail"
)

func FuzzParseSignature(f *testing.F) {
	for _, text := range []string{football, brisbane} {
		m := message(text)
		for field := range m.Header.Fields("DKIM-Signature") {
			f.Add(field.Body())
		}
	}
	f.Add("v=1;;")
	f.Add(" b=\r\n ; b")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSignature(text)
		if strings.ContainsAny(s.domain+s.selector, "\x00\r\n\t ;:@\"\\()<>") {
			t.Errorf("unsafe names %q, %q", s.domain, s.selector)
		}
		for _, c := range s.identity {
			if c < ' ' || c == 0x7f {
				t.Errorf("unsafe identity %q", s.identity)
			}
		}
		if err != nil {
			return
		}
		if s.domain == "" || s.selector == "" || len(s.fields) == 0 || !strings.HasSuffix(s.identity, s.domain) {
			t.Errorf("%q was read as %+v", text, s)
		}
		// Without its b= the field reads the same, but for b= being empty.
		cut := text[:s.bTag.start] + text[s.bTag.end:]
		if tags, err := parseTags(cut); err != nil || tags.get("b", "missing") != "" {
			t.Errorf("%q without b= is %q", text, cut)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("v=DKIM1; h=sha256; k=rsa; t=y:s; s=email; n=x; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")
	f.Add(edRecord)
	f.Add("p=")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			return
		}
		k.verify(make([]byte, 32), make([]byte, 64))
		again, err := RecordText(k.Key)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !Holds(again, k.Key) {
			t.Errorf("%q became %q", text, again)
		}
	})
}

func FuzzVerify(f *testing.F) {
	names := keys(f, map[string]string{
		"brisbane._domainkey.football.example.com": edRecord,
		"ed._domainkey.example.org":                edRecord,
	})
	f.Add(crlf(football))
	f.Add(crlf(brisbane))
	f.Fuzz(func(t *testing.T, text string) {
		m := mail.NewMessage([]byte(text))
		for _, r := range Verify(t.Context(), m, names, Options{MaxSignatures: 3}) {
			if r.Status == "" || strings.ContainsAny(r.Prefix+r.Domain+r.Selector+r.Algorithm, "\x00\r\n ") {
				t.Errorf("%+v", r)
			}
			if r.Status == Pass && m.Header.Count("From") != 1 {
				t.Errorf("%q passes", text)
			}
		}
		fields, err := Sign(m, Signer{Domain: "example.org", Selector: "ed", Key: footballKey(t)})
		if err != nil {
			return
		}
		m.Header.Prepend(fields...)
		if r := Verify(t.Context(), m, names, Options{})[0]; r.Status != Pass {
			t.Errorf("what we signed: %+v\n%q", r, m.String())
		}
	})
}
