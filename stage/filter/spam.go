package filter

import (
	"context"
	"math"
	"strings"
	"sync/atomic"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/spam"
	"stagecoach/spam/signal"
	"stagecoach/spam/teach"
)

// Spam is the Classifier of package spam, with what users taught. Its fields are set before use;
// the model may be swapped at any time. It is safe for concurrent use.
type Spam struct {
	// ID is the authserv-id of our verifier, whose results count as evidence; "" believes none.
	ID string

	// Lessons is what users taught; nil for nothing.
	Lessons *teach.Store

	// Reputation is what was thought of earlier mail, and learns from this; nil for nothing.
	Reputation *signal.Reputation

	// BlockLists are asked for the address that a mail came from; nil for none.
	BlockLists *signal.BlockLists

	// User names the user of ours who gets the mail to an address. Nil: an address is its user.
	User func(mail.Address) (string, bool)

	judge atomic.Pointer[spam.Judge]
}

var _ Classifier = (*Spam)(nil)

// Use swaps the model. Mails that are being judged are judged by the one before.
func (s *Spam) Use(m *spam.Model) { s.judge.Store(&spam.Judge{Model: m}) }

// Judge returns the model in use, nil for none.
func (s *Spam) Judge() *spam.Judge { return s.judge.Load() }

// Classify judges a mail. What a user taught counts for mail that goes to this user alone: a mail
// has one label, and nobody's lessons may change that of another's mail.
func (s *Spam) Classify(ctx context.Context, m *mail.Mail) (Verdict, error) {
	j := s.judge.Load()
	if j == nil {
		return Verdict{Label: Unknown, Probability: math.NaN()}, nil
	}
	results := s.results(&m.Message.Header)
	from := source(results)
	beside := spam.Beside{Evidence: vouched(results)}
	beside.Evidence = append(beside.Evidence, s.BlockLists.Evidence(ctx, from.Addr)...)
	apart := 0.0 // what is no thought about this mail as such
	if s.Reputation != nil {
		for _, e := range s.Reputation.Evidence(from) {
			apart += e.Weight
			beside.Evidence = append(beside.Evidence, e)
		}
	}
	if s.Lessons != nil {
		name, alone := s.user(m)
		lessons, err := s.Lessons.Lessons(name)
		if err != nil {
			return Verdict{}, err
		}
		beside.Lessons = lessons
		if f := s.familiar(name, m, results); alone && f > 0 {
			e := spam.Evidence{Text: "you have written to this address", Weight: -5 * f, Sure: true}
			apart += e.Weight
			beside.Evidence = append(beside.Evidence, e)
		}
	}
	v, err := j.Explain(m.Message, beside)
	if err != nil {
		return Verdict{}, err
	}
	s.remember(from, v, apart)
	out := Verdict{Label: Label(v.Label), Probability: v.Probability}
	for _, r := range v.Reasons {
		out.Reasons = append(out.Reasons, r.String())
	}
	return out, ctx.Err()
}

// sparing is how much of a user's lessons must speak for a mail, as the logarithm of the odds.
const sparing = -1

// Spares reports whether a user has written to the verified sender of a mail, or taught that mail like
// it is good. It asks for each user of a mail to several, whose label does not count lessons.
func (s *Spam) Spares(user string, m *mail.Mail) bool {
	j := s.judge.Load()
	if s.Lessons == nil || j == nil {
		return false
	}
	if s.familiar(user, m, s.results(&m.Message.Header)) > 0 {
		return true
	}
	lessons, err := s.Lessons.Lessons(user)
	if err != nil {
		return true // what was taught is not known: a mail too much is better than one too few
	}
	w, err := j.Recall(m.Message, lessons)
	return err != nil || w <= sparing
}

// user returns the one user who gets the mail; with several it is Everyone.
func (s *Spam) user(m *mail.Mail) (name string, alone bool) {
	for _, to := range m.Envelope.To {
		one, ok := strings.ToLower(to.Address.String()), true
		if s.User != nil {
			one, ok = s.User(to.Address)
		}
		if !ok || name != "" && name != one {
			return teach.Everyone, false
		}
		name = one
	}
	if name == "" {
		return teach.Everyone, false
	}
	return name, true
}

// results returns what our verifier found: the topmost field of its name.
func (s *Spam) results(h *mail.Header) []authres.Result {
	if s.ID == "" {
		return nil
	}
	for f := range h.Fields(authres.FieldName) {
		r, err := authres.Parse(f.Body())
		if err == nil && strings.EqualFold(r.ID, s.ID) {
			return r.Results
		}
	}
	return nil
}

// vouched turns the verifier's results into evidence. The weights are set by judgement, since no
// public collection of mail has such results: small enough that words decide.
func vouched(results []authres.Result) []spam.Evidence {
	var out []spam.Evidence
	for _, r := range results {
		for _, e := range []struct {
			method, value, text string
			weight              float64
		}{
			{"dmarc", "pass", "the sender's domain vouches for it (DMARC)", -0.7},
			{"dmarc", "fail", "the sender's domain disowns it (DMARC)", 2.5},
			{"spf", "fail", "sent from where the sender's domain never sends (SPF)", 1},
			{"spf", "softfail", "sent from where the sender's domain hardly ever sends (SPF)", 0.5},
			{"dkim", "fail", "its signature is broken (DKIM)", 0.3},
			{"iprev", "fail", "sent from an address whose name is not its own", 0.5},
			{"iprev", "permerror", "sent from an address without a name", 0.5},
		} {
			if r.Method == e.method && r.Value == e.value {
				out = append(out, spam.Evidence{Text: e.text, Weight: e.weight})
			}
		}
	}
	return out
}
