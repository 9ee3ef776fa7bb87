// Package stagetest holds every stage behind the edge to the laws of the house. A stage is a
// Handler with another one behind it; whether a function call or a wire stands on either side,
// the same mail comes out, with the same envelope, and the same reply goes back.
package stagetest

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

// A Stage makes the stage under test with next behind it. It is called for each arrangement, so
// that no state is shared. What comes out may not depend on the time of day or on chance.
type Stage func(next mail.Handler) mail.Handler

// A Case is a mail that is put through the stage.
type Case struct {
	Name string
	Mail *mail.Mail
}

// Run puts the usual mails, and those of more, through a stage in four arrangements (call or
// wire before it, call or wire behind it) and with all that may happen behind it: taken, refused
// for good, refused for now, trouble. It checks that
//
//   - bytes (but for the Received fields of the wires), envelope and reply are those of two calls;
//   - the body is as it was, and fields are only prepended or struck out;
//   - what the stage refuses is not passed on, and an error behind it is its own;
//   - Peer changes nothing;
//   - the end of the context ends the wait for the next stage.
func Run(t *testing.T, stage Stage, more ...Case) {
	t.Helper()
	for _, c := range append(Mails(), more...) {
		t.Run(c.Name, func(t *testing.T) {
			for name, verdict := range verdicts {
				t.Run(name, func(t *testing.T) { conform(t, stage, c.Mail, verdict) })
			}
			t.Run("peer", func(t *testing.T) { ignoresPeer(t, stage, c.Mail) })
			t.Run("context", func(t *testing.T) { endsWithContext(t, stage, c.Mail) })
		})
	}
}

// What the Handler behind the stage may say.
var verdicts = map[string]error{
	"taken":            nil,
	"refused for good": mail.Reject(550, "5.7.1", "not this one").Because(errors.New("for the log")),
	"refused for now":  mail.Defer(450, "4.2.1", "not now"),
	"trouble":          errors.New("the disk is gone"),
}

// An Outcome is what can be seen of one passage.
type Outcome struct {
	Mails []Seen // what came out; nil when nothing did
	Reply Reply  // zero for a mail that was taken
}

// A Reply is what an SMTP client reads.
type Reply struct {
	Code         int
	Status, Text string
}

func replyOf(err error) Reply {
	if err == nil {
		return Reply{}
	}
	r := mail.RefusalOf(err)
	return Reply{r.Code, r.Status, r.Text}
}

func conform(t *testing.T, stage Stage, m *mail.Mail, verdict error) {
	reference := pass(t, stage, m, verdict, false, false)
	for _, seen := range reference.Mails {
		keepsMessage(t, m.Message, seen)
	}
	switch {
	case len(reference.Mails) > 1:
		t.Errorf("the mail was passed on %d times", len(reference.Mails))
	case len(reference.Mails) == 1 && reference.Reply != replyOf(verdict):
		t.Errorf("behind the stage it was %+v, before it %+v", replyOf(verdict), reference.Reply)
	case len(reference.Mails) == 0 && reference.Reply == Reply{}:
		t.Errorf("the mail was neither refused nor passed on")
	}
	for _, a := range []struct{ before, behind bool }{{true, false}, {false, true}, {true, true}} {
		got := pass(t, stage, m, verdict, a.before, a.behind)
		if got.Reply != reference.Reply {
			t.Errorf("wire before %v, behind %v: the reply is %+v, by calls %+v", a.before, a.behind, got.Reply, reference.Reply)
		}
		if !slices.EqualFunc(got.Mails, reference.Mails, Seen.Equal) {
			t.Errorf("wire before %v, behind %v: out came\n%v\nby calls\n%v", a.before, a.behind, got.Mails, reference.Mails)
		}
	}
}

// pass puts a copy of m through the stage.
func pass(t *testing.T, stage Stage, m *mail.Mail, verdict error, before, behind bool) Outcome {
	t.Helper()
	sink := &Sink{Verdict: verdict}
	var next mail.Handler = sink
	if behind {
		next = Wire(t, next)
	}
	h := stage(next)
	if before {
		h = Wire(t, h)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := h.Handle(ctx, m.Clone())
	return Outcome{sink.Mails(), replyOf(err)}
}

// keepsMessage checks that a stage did nothing but prepend fields and strike some out.
func keepsMessage(t *testing.T, in *mail.Message, out Seen) {
	t.Helper()
	if want := body(in); out.Body != want {
		t.Errorf("the body is %d octets, and was %d", len(out.Body), len(want))
	}
	var old []string
	for f := range in.Header.All() {
		old = append(old, f.Raw())
	}
	// From the bottom up: fields that were there, in their order; then, on top, new ones.
	fresh := false
	for _, f := range slices.Backward(out.Fields) {
		i := -1
		for k, o := range slices.Backward(old) {
			if o == f {
				i = k
				break
			}
		}
		switch {
		case i >= 0 && !fresh:
			old = old[:i]
		case i < 0:
			fresh = true
		case !strings.HasPrefix(f, "Received:"):
			t.Errorf("a field was moved, or a new one stands below it: %q", f)
		}
	}
}

func ignoresPeer(t *testing.T, stage Stage, m *mail.Mail) {
	poisoned := m.Clone()
	poisoned.Peer = mail.Peer{
		Addr: netip.MustParseAddr("192.0.2.66"), Port: 666, Local: netip.MustParseAddrPort("192.0.2.1:25"),
		Hello: "evil.example", ESMTP: true, TLS: &tls.ConnectionState{}, User: "root@example.org",
	}
	want, got := pass(t, stage, m, nil, false, false), pass(t, stage, poisoned, nil, false, false)
	if got.Reply != want.Reply || !slices.EqualFunc(got.Mails, want.Mails, Seen.Equal) {
		t.Errorf("with a Peer:\n%v\nwithout:\n%v", got, want)
	}
}

func endsWithContext(t *testing.T, stage Stage, m *mail.Mail) {
	ctx, cancel := context.WithCancel(t.Context())
	stuck := mail.HandlerFunc(func(ctx context.Context, _ *mail.Mail) error {
		cancel() // the mail is on its way when its sender gives up
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return errors.New("the context did not end")
		}
	})
	err := stage(stuck).Handle(ctx, m.Clone())
	cancel()
	if err == nil {
		t.Error("the stage took a mail that the next one did not take")
	}
	if mail.IsPermanent(err) {
		return // it refused the mail itself
	}
	if !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "canceled") {
		t.Errorf("the stage said %v", err)
	}
}
