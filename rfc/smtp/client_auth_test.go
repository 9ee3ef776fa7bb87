package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

// scramUser logs ann in by SCRAM alone.
type scramUser struct{ keys sasl.ScramKeys }

func (scramUser) Mechanisms(mail.Peer) []string { return []string{"PLAIN", "SCRAM-SHA-256"} }

func (s scramUser) Start(_ context.Context, _ mail.Peer, name string) (sasl.Exchange, error) {
	if name != "SCRAM-SHA-256" {
		return nil, errors.New("the client chose " + name)
	}
	return sasl.NewScram(func(context.Context, string) (sasl.ScramKeys, string, error) {
		return s.keys, "ann@us.example", nil
	}, nil, false), nil
}

func TestScram(t *testing.T) {
	keys, err := sasl.NewScramKeys("sesame", 4096)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{}
	addr := serve(t, &Server{Next: b, TLS: testTLS(), Auth: scramUser{keys}, RequireAuth: true})
	for password, want := range map[string]string{"sesame": "", "simsalabim": "451 4.7.8"} {
		h := hopTo(t, addr)
		h.Security, h.TLS, h.Login = TLSRequired, trusting(t), Password{"ann", password}
		err := h.Handle(t.Context(), letter(small, "a@b.example"))
		if want == "" && err != nil {
			t.Error(err)
		} else if want != "" {
			wantRefusal(t, err, want)
		}
	}
	if n := len(b.all()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// A password is never sent to a server whose name was not proven, nor after a challenge that
// PLAIN does not have.
func TestPasswordStaysHere(t *testing.T) {
	_, h := scripted(t, func(f *far) { f.greet("AUTH PLAIN"); f.ended() })
	h.Login = Password{"ann", "sesame"}
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.8")
	for _, offer := range []string{"AUTH LOGIN", "AUTH", "X"} {
		_, h = scripted(t, func(f *far) {
			f.greet("STARTTLS")
			f.want("STARTTLS")
			f.send("220 go\r\n")
			f.secure()
			f.hello(offer)
			f.ended()
		})
		h.Security, h.TLS, h.Login = TLSRequired, trusting(t), Password{"ann", "sesame"}
		wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.8")
	}
	_, step, err := Password{"ann", "sesame"}.Start([]string{"PLAIN"}, &tls.ConnectionState{})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := step([]byte("more")); err == nil || answer != nil {
		t.Errorf("%q, %v", answer, err)
	}
}

// A server that asks for ever, or in no base64, is left.
func TestEndlessAuth(t *testing.T) {
	for _, challenge := range []string{"334 " + base64.StdEncoding.EncodeToString([]byte("x")), "334 ???", "334"} {
		_, h := scripted(t, func(f *far) {
			f.greet("STARTTLS")
			f.want("STARTTLS")
			f.send("220 go\r\n")
			f.secure()
			f.hello("AUTH STUBBORN")
			for n := 0; f.line() != ""; n++ {
				if n > 20 {
					f.t.Error("the client does not give up")
				}
				f.send(challenge + "\r\n")
			}
		})
		h.Security, h.TLS, h.Login = TLSRequired, trusting(t), stubborn{}
		err := h.Handle(t.Context(), letter(small, "a@b.example"))
		if mail.IsPermanent(err) || err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", challenge, err)
		}
	}
}

type stubborn struct{}

func (stubborn) Start(names []string, _ *tls.ConnectionState) (string, func([]byte) ([]byte, error), error) {
	if !slices.Contains(names, "STUBBORN") {
		return "", nil, errors.New("not offered")
	}
	return "STUBBORN", func([]byte) ([]byte, error) { return []byte("why"), nil }, nil
}
