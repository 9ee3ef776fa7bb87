package sign

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
)

// A Seal is the name under which forwarded mail is sealed (RFC 8617): the next receiver can see
// what verification found, and that the mail went through our hands. It is no signature of the
// author's domain, and lends a mail no trust but ours.
type Seal struct {
	AuthServID string        // of the verifier whose Authentication-Results are believed
	Domain     string        // d=, in lower-case A-labels
	Selector   string        // s=
	Key        crypto.Signer // RSA: receivers do not take Ed25519 in chains
}

func (s *Seal) check() error {
	if s.Key == nil {
		return errors.New("sign: a seal needs a key")
	}
	if _, ok := s.Key.Public().(*rsa.PublicKey); !ok {
		return errors.New("sign: the key of the seal is not RSA")
	}
	if s.AuthServID == "" {
		return errors.New("sign: a seal needs the name of our verifier")
	}
	probe := mail.NewMessage([]byte("From: postmaster@example.org\r\n\r\n"))
	signer := dkim.Signer{Domain: s.Domain, Selector: s.Selector, Key: s.Key}
	if _, err := dkim.Sign(probe, signer); err != nil {
		return fmt.Errorf("sign: seal: %w", err)
	}
	return nil
}

// seal prepends a set to mail that is not ours and that our own verifier has let in. Of its
// chain we know what the topmost Authentication-Results says. Where that is nothing (a key could
// not be looked up, or verification knows no ARC), where the chain has ended or is as long as it
// may be, the mail stays as it is.
func (s *Signer) seal(m *mail.Mail) error {
	if s.Seal == nil || isFromInside(m) || s.Published != nil && !s.Published(s.Seal.Selector, s.Seal.Domain) {
		return nil
	}
	found, ok := s.found(&m.Message.Header)
	if !ok {
		return nil
	}
	sealer := arc.Sealer{Domain: s.Seal.Domain, Selector: s.Seal.Selector, Key: s.Seal.Key, Time: s.now()}
	fields, err := sealer.Seal(m.Message, found, arc.Claimed(&m.Message.Header, chainOf(found)))
	switch {
	case errors.Is(err, arc.ErrUnsealable):
		return nil
	case err != nil:
		return fmt.Errorf("sign: %w", err)
	}
	m.Message.Header.Prepend(fields...)
	return nil
}

// found returns what stands in the topmost Authentication-Results, if it is our verifier's: that
// one it wrote for this mail.
func (s *Signer) found(h *mail.Header) (authres.Results, bool) {
	for f := range h.Fields(authres.FieldName) {
		r, err := authres.Parse(f.Body())
		return r, err == nil && strings.EqualFold(r.ID, s.Seal.AuthServID)
	}
	return authres.Results{}, false
}

// chainOf returns the one state of the chain that was found. Other words than those of RFC 8617
// no Sealer takes.
func chainOf(found authres.Results) arc.Status {
	var state arc.Status
	for _, r := range found.Results {
		if r.Method != "arc" {
			continue
		}
		if state != "" {
			return arc.TempError
		}
		state = arc.Status(r.Value)
	}
	return state
}
