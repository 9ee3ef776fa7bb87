package stagetest

import (
	"context"
	"testing"

	"stagecoach/mail"
)

// A stage that does nothing conforms, and so does one that refuses everything.
func TestRun(t *testing.T) {
	Run(t, func(next mail.Handler) mail.Handler { return next })
}

func TestRunRefusing(t *testing.T) {
	refusal := mail.Reject(550, "5.7.1", "nothing goes here")
	Run(t, func(mail.Handler) mail.Handler {
		return mail.HandlerFunc(func(context.Context, *mail.Mail) error { return refusal })
	})
}
