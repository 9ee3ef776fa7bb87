package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// A server is not asked for reports of success that would name a forwarding address; the
// caller hears that they are due from us.
func TestConfidentialForwarding(t *testing.T) {
	const other = "rfc822;ann@ours.test"
	for _, c := range []struct {
		name     string
		original string
		notify   mail.Notify
		asked    mail.Notify
		due      bool
	}{
		{"nothing asked", other, 0, 0, false},
		{"nothing wanted", other, mail.NotifyNever, mail.NotifyNever, false},
		{"failures", other, mail.NotifyFailure | mail.NotifyDelay, mail.NotifyFailure | mail.NotifyDelay, false},
		{"success alone", other, mail.NotifySuccess, mail.NotifyNever, true},
		{"everything", other, mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay, mail.NotifyFailure | mail.NotifyDelay, true},
		{"another kind of address", "x400;/c=us/", mail.NotifySuccess, mail.NotifyNever, true},
		{"no address", "rfc822;ann", mail.NotifySuccess, mail.NotifyNever, true},
		{"internationalized", "utf-8;jürgen@ours.test", mail.NotifySuccess, mail.NotifyNever, true},
		{"not forwarded", "", mail.NotifySuccess, mail.NotifySuccess, false},
		{"not forwarded, with ORCPT", "rfc822;A@FAR.test", mail.NotifySuccess, mail.NotifySuccess, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "far.test. A 127.0.1.1\n")
			asked := make(chan mail.Recipient, 1)
			w.server("127.0.1.1", &smtp.Server{Next: mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
				asked <- m.Envelope.To[0]
				return nil
			})})
			m := letter("joe@world.test", "a@far.test")
			m.Envelope.To[0].Original, m.Envelope.To[0].Notify = c.original, c.notify
			err := w.relay().Carry(t.Context(), m)[0]
			got := <-asked
			if d := cmp.Diff(fmt.Sprint(c.asked, c.original), fmt.Sprint(got.Notify, got.Original)); d != "" {
				t.Errorf("-want +asked: %s", d)
			}
			var due smtp.Unreported
			if errors.As(err, &due) != c.due || !c.due && err != nil {
				t.Errorf("the result is %v", err)
			}
			if m.Envelope.To[0].Notify != c.notify {
				t.Error("the mail of the caller was changed")
			}
		})
	}
}
