package verify

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

const ourName = "mx.our.example"

// The world: legit.example rejects forgeries and sends from 192.0.2.1; attack.example is a
// domain of an attacker at 198.51.100.66, with all in order; our.example and ours.example are
// hosted here, the second one without any DMARC record.
const zone = `
legit.example                 TXT "v=spf1 ip4:192.0.2.1 -all"
legit.example                 A   192.0.2.1
mail.legit.example            A   192.0.2.1
mail.legit.example            TXT "v=spf1 a -all"
_dmarc.legit.example          TXT "v=DMARC1; p=reject"
1.2.0.192.in-addr.arpa        PTR mail.legit.example.
attack.example                TXT "v=spf1 ip4:198.51.100.66 -all"
attack.example                A   198.51.100.66
mx.attack.example             TXT "v=spf1 ip4:198.51.100.66 -all"
mx.attack.example             A   198.51.100.66
_dmarc.attack.example         TXT "v=DMARC1; p=none"
66.100.51.198.in-addr.arpa    PTR mx.attack.example.
weak.example                  TXT "v=spf1 ip4:192.0.2.1 ~all"
_dmarc.weak.example           TXT "v=DMARC1; p=none"
soft.example                  TXT "v=spf1 ip4:192.0.2.1 ~all"
_dmarc.soft.example           TXT "v=DMARC1; p=quarantine"
plain.example                 A   192.0.2.1
our.example                   TXT "v=spf1 ip4:192.0.2.50 -all"
_dmarc.our.example            TXT "v=DMARC1; p=none"
ours.example                  TXT "v=spf1 ip4:192.0.2.50 -all"
`

var (
	legitIP  = netip.MustParseAddr("192.0.2.1")
	attackIP = netip.MustParseAddr("198.51.100.66")
)

// key is the key of a domain's selector s1.
func key(domain string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, domain)
	return ed25519.NewKeyFromSeed(seed)
}

func newWorld(t testing.TB) *dnstest.Names {
	t.Helper()
	names := dnstest.Zone(t, zone)
	for _, domain := range []string{"legit.example", "attack.example", "weak.example", "plain.example", "our.example", "ours.example"} {
		record, err := dkim.RecordText(key(domain).Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := names.Add(dkim.RecordName("s1", domain) + ` TXT "` + record + `"`); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func newAccounts(t testing.TB) *account.Directory {
	t.Helper()
	b, err := account.Parse(map[string][]byte{
		"ann":              []byte(`{"targets":["ann@mailbox.example"]}`),
		"fay":              []byte(`{"targets":["fay@mailbox.example"]}`),
		".unconfirmed/fay": []byte("fay@mailbox.example\n"),
		"bob":              []byte(`{"targets":["bob@mailbox.example"],"disabled":true}`),
		"ours.example/cat": []byte(`{"targets":["cat@mailbox.example"]}`),
	}, account.Settings{Domain: "our.example", Separator: "+"})
	if err != nil {
		t.Fatal(err)
	}
	return account.Static(b)
}

// sink keeps the last mail that came through.
type sink struct{ got *mail.Mail }

func (s *sink) Handle(_ context.Context, m *mail.Mail) error {
	s.got = m.Clone()
	return nil
}

func newVerifier(t testing.TB, x dns.Exchanger) (*Verifier, *sink) {
	t.Helper()
	s := new(sink)
	return &Verifier{
		Name: ourName, Resolver: x, Accounts: newAccounts(t), Next: s,
		Returns: func(a mail.Address) bool { return a.Local() == "SRS0=good=xy=a.example=b" },
		Timeout: 2 * time.Second,
	}, s
}

// incoming is a mail as the server hands it over.
type incoming struct {
	ip   netip.Addr
	helo string
	from string // MAIL FROM, "" for the null path
	text string // message with LF; a body is added
	sign []string
}

func (in incoming) mail(t testing.TB) *mail.Mail {
	t.Helper()
	m := &mail.Mail{
		Peer:     mail.Peer{Addr: in.ip, Hello: in.helo, ESMTP: true},
		Envelope: mail.Envelope{To: []mail.Recipient{{Address: mail.MustParseAddress("ann@our.example")}}},
		Message:  mail.NewMessage([]byte(strings.ReplaceAll(in.text, "\n", "\r\n") + "\r\nHello\r\n")),
	}
	if in.from != "" {
		m.Envelope.From = mail.MustParseAddress(in.from)
	}
	for _, domain := range in.sign {
		f, err := dkim.Sign(m.Message, dkim.Signer{Domain: domain, Selector: "s1", Key: key(domain)})
		if err != nil {
			t.Fatal(err)
		}
		m.Message.Header.Prepend(f...)
	}
	m.Message.Header.Prepend(mail.NewField("Received", "from x by "+ourName+"; Sat, 21 Nov 2026 20:00:00 +0000"))
	return m
}

// topResults reads our own field on top.
func topResults(t testing.TB, m *mail.Mail) authres.Results {
	t.Helper()
	for f := range m.Message.Header.All() {
		if !f.Is(authres.FieldName) {
			t.Fatalf("on top stands %q", f.Raw())
		}
		r, err := authres.Parse(f.Value())
		if err != nil || r.ID != ourName {
			t.Fatalf("%q: %v", f.Raw(), err)
		}
		return r
	}
	t.Fatal("no header")
	return authres.Results{}
}

// values lists method=value, in order, but for arc=none, which is on most mails.
func values(r authres.Results) string {
	var out []string
	for _, res := range r.Results {
		if res.Method == "arc" && res.Value == "none" {
			continue
		}
		out = append(out, res.Method+"="+res.Value)
	}
	return strings.Join(out, " ")
}

// code is the reply to an error, 0 for none.
func code(err error) int {
	if err == nil {
		return 0
	}
	return mail.RefusalOf(err).Code
}

// handlerError is a Handler that fails.
type handlerError struct{ err error }

func (h handlerError) Handle(context.Context, *mail.Mail) error { return h.err }

// panicker is an Exchanger with a bug.
type panicker struct{}

func (panicker) Exchange(context.Context, *dns.Msg) (*dns.Msg, error) { panic("bug") }
