package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/rfc/smtp"
	"stagecoach/tool/generate"
)

// Whatever mail is made by the grammar comes over the wire byte for byte, by DATA and by
// BDAT; of nearly valid mail, whatever is taken.
func TestGeneratedOverTheWire(t *testing.T) {
	var got []byte
	s := &smtp.Server{Name: "localhost", Limits: smtp.Limits{Rate: -1, Errors: -1}, Next: mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
		received := true
		m.Message.Header.Strike(func(mail.Field) bool { // the topmost, the server's own
			first := received
			received = false
			return first
		})
		got = []byte(m.Message.String())
		return nil
	})}
	address := serveOn(t, s)
	for _, noChunking := range []bool{false, true} {
		hop := &smtp.NextHop{Name: "client.example", Host: "localhost", NoChunking: noChunking, Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}}
		t.Cleanup(func() { hop.Close() })
		for seed := range uint64(300) {
			valid := generate.New(seed)
			if err := hop.Handle(t.Context(), wrapped(valid.Raw)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !arrived(valid.Raw, got) {
				t.Fatalf("seed %d:\n%q\n%q", seed, valid.Raw, got)
			}
			raw := generate.Nearly(seed, 2)
			if err := hop.Handle(t.Context(), wrapped(raw)); err == nil && !arrived(raw, got) {
				t.Fatalf("seed %d, nearly:\n%q\n%q", seed, raw, got)
			}
		}
	}
}

// arrived reports whether a mail came as it was sent. DATA ends its last line (RFC 5321
// section 4.1.1.4), BDAT does not (RFC 3030).
func arrived(sent, got []byte) bool {
	return bytes.Equal(sent, got) || bytes.Equal(append(sent[:len(sent):len(sent)], "\r\n"...), got)
}

func wrapped(raw []byte) *mail.Mail {
	e := mail.Envelope{From: mail.MustParseAddress("ann@example.org"), To: []mail.Recipient{{Address: mail.MustParseAddress("bob@example.net")}}}
	if !isASCII(string(raw)) {
		e.Body, e.UTF8 = mail.Body8BitMIME, true
	}
	return &mail.Mail{Envelope: e, Message: mail.NewMessage(raw)}
}

func serveOn(t *testing.T, s *smtp.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// What is signed verifies, and what is sealed too, whatever the mail.
func TestGeneratedSigned(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	record, err := dkim.Record("s1", "example.org", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	names := dnstest.Zone(t, record)
	for valid := range generate.All(0, 200) {
		m := valid.Message()
		chain := arc.Verify(t.Context(), m, names)
		for _, canon := range []dkim.Canon{dkim.Relaxed, dkim.Simple} {
			fields, err := dkim.Sign(m, dkim.Signer{Domain: "example.org", Selector: "s1", Key: key, Header: canon, Body: canon, Time: time.Now()})
			if err != nil {
				t.Fatalf("%v:\n%s", err, valid.Raw)
			}
			m.Header.Prepend(fields...)
		}
		sealer := arc.Sealer{Domain: "example.org", Selector: "s1", Key: key}
		set, err := sealer.Seal(m, authres.Results{ID: "example.org"}, chain)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Prepend(set...)
		sent := mail.NewMessage([]byte(m.String()))
		results := dkim.Verify(t.Context(), sent, names, dkim.Options{})
		if len(results) != 2 || dkimEnding(results) != nil {
			t.Fatalf("%v:\n%s", results, sent)
		}
		if r := arc.Verify(t.Context(), sent, names); r.Status != arc.Pass {
			t.Fatalf("%v %v:\n%s", r.Status, r.Problem, sent)
		}
	}
}
