package forward

import (
	"testing"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/stage/stagetest"
)

func TestConformance(t *testing.T) {
	book, err := account.Parse(map[string][]byte{
		"ann":  []byte(`{"targets":["ann@far.example","home@other.example"],"aliases":["info"]}`),
		"bob":  []byte(`{"targets":["ann@example.org","bob@far.example"]}`),
		"gone": []byte(`{"targets":["gone@far.example"],"disabled":true}`),
	}, account.Settings{Domain: "example.org", Separator: "+"})
	if err != nil {
		t.Fatal(err)
	}
	to := func(addresses ...string) *mail.Mail {
		m := stagetest.Mails()[0].Mail.Clone()
		m.Envelope.To = nil
		for _, a := range addresses {
			m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a)})
		}
		return m
	}
	stagetest.Run(t,
		func(next mail.Handler) mail.Handler {
			return &Forwarder{
				Accounts: account.Static(book), Mark: []byte("0123456789abcdef"), Next: next,
				Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
			}
		},
		stagetest.Case{Name: "to a user", Mail: to("ann@example.org")},
		stagetest.Case{Name: "to an alias and a sub-address", Mail: to("info@example.org", "bob+x@example.org")},
		stagetest.Case{Name: "to a user and a stranger", Mail: to("bob@example.org", "carl@example.net")},
		stagetest.Case{Name: "to nobody", Mail: to("nobody@example.org")},
		stagetest.Case{Name: "to one of two who is nobody", Mail: to("ann@example.org", "nobody@example.org")},
		stagetest.Case{Name: "to one who left", Mail: to("gone@example.org")},
	)
}
