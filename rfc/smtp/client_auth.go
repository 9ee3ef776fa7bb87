package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/xdg-go/scram"

	"stagecoach/mail"
)

// A Login is the client's side of AUTH (RFC 4954). A NextHop that has one uses it on
// connections with verified TLS only.
type Login interface {
	// Start chooses one of the mechanisms that the server offers. step is called with a nil
	// challenge for the initial response, then with what the server sends; it returns what
	// to answer. Its errors name no secret.
	Start(mechanisms []string, state *tls.ConnectionState) (mechanism string, step func(challenge []byte) ([]byte, error), err error)
}

// A Password is a Login by user name and password: SCRAM-SHA-256 (RFC 7677) where it is
// offered, else PLAIN (RFC 4616).
type Password struct {
	User, Password string
}

var _ Login = Password{}

// Start chooses the mechanism.
func (p Password) Start(mechanisms []string, _ *tls.ConnectionState) (string, func([]byte) ([]byte, error), error) {
	switch {
	case slices.Contains(mechanisms, "SCRAM-SHA-256"):
		step, err := p.scram()
		return "SCRAM-SHA-256", step, err
	case slices.Contains(mechanisms, "PLAIN"):
		return "PLAIN", p.plain, nil
	}
	return "", nil, errors.New("the server offers neither SCRAM-SHA-256 nor PLAIN")
}

func (p Password) plain(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 {
		return nil, errors.New("PLAIN has no challenge")
	}
	return []byte("\x00" + p.User + "\x00" + p.Password), nil
}

func (p Password) scram() (func([]byte) ([]byte, error), error) {
	client, err := scram.SHA256.NewClient(p.User, p.Password, "")
	if err != nil {
		return nil, errors.New("the user name or password is not fit for SCRAM")
	}
	conversation := client.NewConversation()
	return func(challenge []byte) ([]byte, error) {
		if conversation.Done() {
			return nil, nil // the server's last word came as a challenge; it was checked
		}
		answer, err := conversation.Step(string(challenge))
		return []byte(answer), err
	}, nil
}

// maxSteps bounds an exchange.
const maxSteps = 10

// login authenticates, when the hop has a Login. Every failure is temporary: it is our
// settings that are wrong, and no fault of the mail.
func (l *link) login(ctx context.Context) error {
	h := l.hop
	if h.Login == nil {
		return nil
	}
	failed := func(why string) error {
		return h.cannot("AUTH", mail.Defer(451, "4.7.8", "cannot log in at the next server"), why)
	}
	if !l.verified {
		return failed("no verified TLS")
	}
	offered, _ := l.offer("AUTH")
	mechanism, step, err := h.Login.Start(strings.Fields(strings.ToUpper(offered)), l.state)
	if err != nil {
		return failed(err.Error())
	}
	first, err := step(nil)
	if err != nil {
		return failed(err.Error())
	}
	r, err := l.ask(l.wait.Command, "AUTH ", mechanism, " ", encodeInitial(first))
	for i := 0; err == nil && r.code == 334 && i < maxSteps; i++ {
		r, err = l.answer(r, step)
	}
	if err != nil {
		return h.trouble(ctx, "AUTH", err)
	}
	if r.code != 235 {
		return failed("the server said " + r.refusal().Error())
	}
	l.loggedIn = true
	return nil
}

// answer answers one challenge. After an error of step it cancels the exchange.
func (l *link) answer(r reply, step func([]byte) ([]byte, error)) (reply, error) {
	challenge, err := base64.StdEncoding.DecodeString(r.text())
	if err == nil {
		var response []byte
		if response, err = step(challenge); err == nil {
			return l.ask(l.wait.Command, base64.StdEncoding.EncodeToString(response))
		}
	}
	l.broken = true
	return reply{}, err
}

// encodeInitial writes an initial response (RFC 4954 section 4).
func encodeInitial(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}
