package filter

import (
	"context"
	"testing"

	"stagecoach/mail"
	"stagecoach/stage/stagetest"
)

type classifierFunc func(context.Context, *mail.Mail) (Verdict, error)

func (f classifierFunc) Classify(ctx context.Context, m *mail.Mail) (Verdict, error) {
	return f(ctx, m)
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]Classifier{
		"no classifier": nil,
		"spam": classifierFunc(func(context.Context, *mail.Mail) (Verdict, error) {
			return Verdict{Label: Yes, Probability: 0.99, Reasons: []string{"lottery"}}, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Run(t, func(next mail.Handler) mail.Handler { return &Filter{Classifier: c, Next: next} })
		})
	}
}
