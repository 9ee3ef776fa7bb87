package submit

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

func hash(password string) string {
	sum := blake2b.Sum512([]byte(password))
	return hex.EncodeToString(sum[:])
}

func scramText(t testing.TB, password string) string {
	t.Helper()
	k, err := sasl.NewScramKeys(password, sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return k.String()
}

func house(t testing.TB) *account.Directory {
	t.Helper()
	b, err := account.Parse(map[string][]byte{
		"ann":  fmt.Appendf(nil, `{"targets":["a@far.example"],"password":%q,"aliases":["info"]}`, hash("secret")),
		"bob":  fmt.Appendf(nil, `{"targets":["b@far.example"],"password":%q}`, hash("secret")),
		"rest": fmt.Appendf(nil, `{"targets":["r@far.example"],"password":%q}`, hash("secret")),
		"fay":  []byte(`{"targets":["f@far.example"]}`),

		".unconfirmed/fay": []byte("f@far.example\n"),

		"gone":          fmt.Appendf(nil, `{"targets":["g@far.example"],"password":%q,"disabled":true}`, hash("secret")),
		"y.example/all": fmt.Appendf(nil, `{"targets":["r@far.example"],"password":%q,"catch_all":true}`, hash("secret")),
	}, account.Settings{Domain: "x.example", Separator: "+", Postmaster: mail.MustParseAddress("ann@x.example")})
	if err != nil {
		t.Fatal(err)
	}
	return account.Static(b)
}

// A sink takes mails, or refuses them.
type sink struct {
	mails []*mail.Mail
	err   error
}

func (s *sink) Handle(_ context.Context, m *mail.Mail) error {
	if s.err == nil {
		s.mails = append(s.mails, m)
	}
	return s.err
}

var tlsState = &tls.ConnectionState{Version: tls.VersionTLS12}

func peerOf(user string) mail.Peer {
	return mail.Peer{Addr: netip.MustParseAddr("192.0.2.1"), Hello: "client", ESMTP: true, TLS: tlsState, User: user}
}

func newMail(user, from, header string, to ...string) *mail.Mail {
	m := &mail.Mail{Peer: peerOf(user), Message: mail.NewMessage([]byte(strings.ReplaceAll(header, "\n", "\r\n") + "\r\nbody\r\n"))}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
	}
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a)})
	}
	return m
}

func code(err error) string {
	if err == nil {
		return "250"
	}
	r := mail.RefusalOf(err)
	return fmt.Sprintf("%d %s", r.Code, r.Status)
}

// S30: whom a user may write as.
func TestOwnership(t *testing.T) {
	for _, c := range []struct{ name, user, from, header, want string }{
		{"own", "ann", "ann@x.example", "From: Ann <ann@x.example>\n", "250"},
		{"login with domain", "ann@x.example", "ann@x.example", "From: ann@x.example\n", "250"},
		{"case", "ann", "ANN@X.example", "From: Ann@x.example\n", "250"},
		{"alias", "ann", "info@x.example", "From: info@x.example\n", "250"},
		{"sub-address", "ann", "ann+shop@x.example", "From: info+a@x.example\n", "250"},
		{"role", "ann", "ann@x.example", "From: postmaster@x.example\n", "250"},
		{"role of another", "bob", "bob@x.example", "From: postmaster@x.example\n", "550 5.7.1"},
		{"catch-all", "all@y.example", "anything@y.example", "From: else@y.example\n", "250"},
		{"null sender", "ann", "", "From: ann@x.example\n", "250"},
		{"null sender, other From", "ann", "", "From: bob@x.example\n", "550 5.7.1"},
		{"other user in MAIL", "ann", "bob@x.example", "From: ann@x.example\n", "550 5.7.1"},
		{"other user in From", "ann", "ann@x.example", "From: bob@x.example\n", "550 5.7.1"},
		{"unknown in own domain", "ann", "ann@x.example", "From: nobody@x.example\n", "550 5.7.1"},
		{"other domain in MAIL", "ann", "ann@far.example", "From: ann@x.example\n", "550 5.7.1"},
		{"other domain in From", "ann", "ann@x.example", "From: ann@far.example\n", "550 5.7.1"},
		{"own target in From", "ann", "ann@x.example", "From: a@far.example\n", "550 5.7.1"},
		{"two From fields", "ann", "ann@x.example", "From: ann@x.example\nFrom: bob@x.example\n", "550 5.7.1"},
		{"two own From fields", "ann", "ann@x.example", "From: ann@x.example\nFrom: ann@x.example\n", "550 5.7.1"},
		{"two addresses", "ann", "ann@x.example", "From: ann@x.example, bob@x.example\n", "550 5.7.1"},
		{"address in a comment", "ann", "ann@x.example", "From: <bob@x.example> (ann@x.example)\n", "550 5.7.1"},
		{"blank before the colon", "ann", "ann@x.example", "From: ann@x.example\nFrom : bob@x.example\n", "550 5.7.1"},
		{"no From", "ann", "ann@x.example", "To: x@far.example\n", "550 5.7.1"},
		{"own Sender", "ann", "ann@x.example", "From: ann@x.example\nSender: info@x.example\n", "250"},
		{"other Sender", "ann", "ann@x.example", "From: ann@x.example\nSender: bob@x.example\n", "550 5.7.1"},
		{"two Senders", "ann", "ann@x.example", "From: ann@x.example\nSender: ann@x.example\nSender: ann@x.example\n", "550 5.7.1"},
		{"8-bit header", "ann", "ann@x.example", "From: Änn <ann@x.example>\nSubject: caf\xe9\n", "250"},
		{"broken MIME", "ann", "ann@x.example", "From: ann@x.example\nContent-Type: multipart/;;\nno colon here\n", "250"},
		{"nobody", "", "ann@x.example", "From: ann@x.example\n", "530 5.7.0"},
		{"disabled since", "gone@x.example", "gone@x.example", "From: gone@x.example\n", "550 5.7.1"},
		{"removed since", "old@x.example", "ann@x.example", "From: ann@x.example\n", "550 5.7.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := &sink{}
			s := &Submitter{Accounts: house(t), Next: next}
			if got := code(s.Handle(t.Context(), newMail(c.user, c.from, c.header, "x@far.example"))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if (len(next.mails) == 1) != (c.want == "250") {
				t.Errorf("%d mails went on", len(next.mails))
			}
		})
	}
}

func TestAdmit(t *testing.T) {
	s := &Submitter{Accounts: house(t), Next: &sink{}}
	for _, c := range []struct{ user, from, to, want string }{
		{"ann", "ann@x.example", "x@far.example", "250"},
		{"ann", "ann@x.example", "bob@x.example", "250"},
		{"ann", "ann@x.example", "Postmaster@x.example", "250"},
		{"ann", "ann@x.example", "nobody@x.example", "550 5.1.1"},
		{"ann", "ann@x.example", "gone@x.example", "550 5.2.1"},
		{"ann", "ann@x.example", "fay@x.example", "450 4.2.1"},
		{"ann", "ann@x.example", "nobody@y.example", "250"},
		{"ann", "bob@x.example", "x@far.example", "550 5.7.1"},
		{"", "ann@x.example", "x@far.example", "530 5.7.0"},
	} {
		m := newMail(c.user, c.from, "")
		m.Message = nil
		if got := code(s.Admit(t.Context(), m, mail.MustParseAddress(c.to))); got != c.want {
			t.Errorf("%s from %s to %s: %s, want %s", c.user, c.from, c.to, got, c.want)
		}
	}
}

func TestCompletes(t *testing.T) {
	next := &sink{}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	s := &Submitter{Accounts: house(t), Next: next, Now: func() time.Time { return now }}
	m := newMail("ann", "ann@x.example", "Received: from us\nfrom: Ann <Ann@X.example>\nBCC: hidden@far.example\nResent-Bcc: b@far.example\n"+
		"Return-Path: <z@far.example>\nAuthentication-Results: x.example; spf=pass\nX-Spamtacus: no\nX-Spam-Flag: NO\nSubject: hi\n", "hidden@far.example")
	if err := s.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := next.mails[0]
	id := regexp.MustCompile(`<[0-9a-f]{32}@x\.example>`)
	text := id.ReplaceAllString(got.Message.String(), "<ID>")
	want := "Date: Sun, 01 Mar 2026 12:00:00 +0100\r\nMessage-ID: <ID>\r\nReceived: from us\r\nfrom: Ann <Ann@X.example>\r\nSubject: hi\r\n\r\nbody\r\n"
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if got.Envelope.Submitter != "ann@x.example" || got.Peer != (mail.Peer{}) || len(got.Envelope.To) != 1 {
		t.Errorf("envelope %+v, peer %+v", got.Envelope, got.Peer)
	}
	whole := "From: ann@x.example\nDate: Sun, 01 Mar 2026 12:00:00 +0100\nMessage-Id: <a@b>\n"
	if err := s.Handle(t.Context(), newMail("ann", "ann@x.example", whole, "x@far.example")); err != nil {
		t.Fatal(err)
	}
	if got := next.mails[1].Message.String(); got != strings.ReplaceAll(whole, "\n", "\r\n")+"\r\nbody\r\n" {
		t.Errorf("a whole message was changed:\n%s", got)
	}
}

// S29: what a stolen password is good for.
func TestRates(t *testing.T) {
	next := &sink{}
	var log bytes.Buffer
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := &Submitter{Accounts: house(t), Next: next, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))}
	send := func(user string, n int) string {
		var to []string
		for i := range n {
			to = append(to, fmt.Sprintf("x%d@far.example", i))
		}
		return code(s.Handle(t.Context(), newMail(user, user+"@x.example", "From: "+user+"@x.example\n", to...)))
	}
	for i := range 60 {
		if got := send("ann", 1); got != "250" {
			t.Fatalf("mail %d: %s", i+1, got)
		}
	}
	if got := send("ann", 1); got != "450 4.7.1" {
		t.Errorf("mail 61 in a minute: %s", got)
	}
	if !strings.Contains(log.String(), "sending limit reached") || !strings.Contains(log.String(), "ann@x.example") {
		t.Errorf("no alarm in the log: %s", log.String())
	}
	m := newMail("ann", "ann@x.example", "")
	if got := code(s.Admit(t.Context(), m, mail.MustParseAddress("x@far.example"))); got != "450 4.7.1" {
		t.Errorf("at RCPT: %s", got)
	}
	if got := send("bob", 1); got != "250" {
		t.Errorf("another user: %s", got)
	}
	now = now.Add(time.Minute)
	if got := send("ann", 440); got != "250" {
		t.Errorf("500 recipients in all: %s", got)
	}
	if got := send("ann", 1); got != "450 4.7.1" {
		t.Errorf("recipient 501 in a day: %s", got)
	}
	if got := send("rest", 501); got != "550 5.7.1" {
		t.Errorf("501 recipients at once: %s", got)
	}
	next.err = errors.New("down")
	for range 100 {
		if got := send("rest", 100); got != "451 4.3.0" {
			t.Fatalf("the next stage is down: %s", got)
		}
	}
	next.err = nil
	if got := send("rest", 500); got != "250" {
		t.Errorf("what was not sent was counted: %s", got)
	}
	now = now.Add(25 * time.Hour)
	if got := send("ann", 500); got != "250" {
		t.Errorf("next day: %s", got)
	}
	if len(s.budget.spent) != 1 {
		t.Errorf("the budget remembers %d users", len(s.budget.spent))
	}
}
