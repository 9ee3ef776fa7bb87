package dkim

import (
	"strings"
	"testing"

	"stagecoach/mail"
)

func benchMessage(body int) *mail.Message {
	line := strings.Repeat("lorem ipsum dolor ", 4) + "\r\n"
	return mail.NewMessage([]byte("From: a@example.org\r\nTo: b@example.net\r\nSubject: s\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\n" +
		"Message-ID: <1@example.org>\r\n\r\n" + strings.Repeat(line, body/len(line)+1)))
}

func BenchmarkSign(b *testing.B) {
	ring := newKeyring(b)
	for name, signers := range map[string][]Signer{"rsa": ring.signers[:1], "ed25519": ring.signers[1:], "both": ring.signers} {
		b.Run(name, func(b *testing.B) {
			m := benchMessage(4 << 10)
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Sign(m, signers...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	ring := newKeyring(b)
	m := benchMessage(4 << 10)
	fields, err := Sign(m, ring.signers...)
	if err != nil {
		b.Fatal(err)
	}
	m.Header.Prepend(fields...)
	b.SetBytes(m.Size())
	b.ReportAllocs()
	for b.Loop() {
		if Verify(b.Context(), m, ring.names, Options{})[0].Status != Pass {
			b.Fatal("no pass")
		}
	}
}

func BenchmarkBody(b *testing.B) {
	m := benchMessage(1 << 20)
	for _, c := range canons {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(m.Body.Size())
			for b.Loop() {
				var wanted [2]bool
				wanted[c] = true
				if _, err := sumBody(m, wanted); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
