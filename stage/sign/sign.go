// Package sign is the stage that vouches for our mail: it puts DKIM signatures (RFC 6376) on
// what our own users and we ourselves write, and passes everything else on as it came.
package sign

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
)

// A Key signs for a domain. Several of them, say RSA and Ed25519, make several signatures.
type Key struct {
	Selector string
	Private  crypto.Signer // RSA or Ed25519, see dkim.CheckKey
}

// A Signer prepends DKIM-Signature fields to mail that is ours.
//
// A mail is ours when its author (mail.Header.Author) is in a domain for which there are keys,
// and when the mail itself shows that it comes from inside:
//
//   - AUTH= in the envelope (RFC 4954 section 5) names who submitted it. Submission sets it for
//     a user who logged in and may use that From; whoever receives from strangers drops it.
//   - Or it is a report of ours: the reverse-path is null, and the header has no
//     Authentication-Results. Whatever came from outside has one, as verification puts it on
//     everything that it lets in.
//
// So mail that is forwarded passes unsigned, also where it claims a domain of ours: it keeps the
// signature that it came with, and our key never lends it trust. A Seal on it says what our
// verifier found, also where that is bad. What is ours is signed with the
// keys of the author's domain itself, so that DMARC aligns; a sub-domain has its own keys.
//
// With All the stage signs everything that has one From field, and stands where only trusted
// machines reach it.
type Signer struct {
	Keys map[string][]Key // by domain, in lower-case A-labels
	All  string           // the domain that signs what is not ours; "" for none
	Seal *Seal            // of what is forwarded; nil for none
	// Published reports whether receivers can see a key; nil: they can see all. Only then it signs.
	// While none of a domain's is, its mail is refused for now; what is forwarded passes unsealed.
	Published func(selector, domain string) bool
	Fields    []string         // to sign when present; nil means dkim.DefaultFields
	Lifetime  time.Duration    // from t= to x=; 0 means neither
	Now       func() time.Time // default time.Now
	Next      mail.Handler
}

var _ mail.Handler = (*Signer)(nil)

// Check says whether the settings make sense, so that a mistake shows at start and not with the
// first mail.
func (s *Signer) Check() error {
	if s.All != "" && len(s.Keys[s.All]) == 0 {
		return fmt.Errorf("sign: no key for %s", s.All)
	}
	probe := mail.NewMessage([]byte("From: postmaster@example.org\r\n\r\n"))
	if s.Seal != nil {
		if err := s.Seal.check(); err != nil {
			return err
		}
	}
	for domain, keys := range s.Keys {
		if len(keys) == 0 {
			return fmt.Errorf("sign: no key for %s", domain)
		}
		if _, err := dkim.Sign(probe, s.signers(domain, keys)...); err != nil {
			return fmt.Errorf("sign: %w", err)
		}
	}
	return nil
}

// Handle signs m when it is ours, seals it when it is not, and passes it on. A mail whose From
// makes no sense is passed on unsigned; a body that cannot be read, or a key that fails, is
// trouble of ours, and the mail stays with the caller.
func (s *Signer) Handle(ctx context.Context, m *mail.Mail) error {
	if domain := s.domainFor(m); domain != "" {
		keys := s.published(domain)
		if len(keys) == 0 {
			return errUnpublished
		}
		fields, err := dkim.Sign(m.Message, s.signers(domain, keys)...)
		switch {
		case errors.Is(err, dkim.ErrNoFrom): // nothing that a signature could vouch for
		case err != nil:
			return fmt.Errorf("sign: %w", err)
		default:
			m.Message.Header.Prepend(fields...)
		}
	} else if err := s.seal(m); err != nil {
		return err
	}
	return s.Next.Handle(ctx, m)
}

// domainFor returns the domain that signs m, "" for none.
func (s *Signer) domainFor(m *mail.Mail) string {
	author, err := m.Message.Header.Author()
	ours := err == nil && len(s.Keys[author.Domain()]) > 0
	if ours && (s.All != "" || isFromInside(m)) {
		return author.Domain()
	}
	return s.All
}

// isFromInside reports whether m shows that it was written by a user of ours or by ourselves.
func isFromInside(m *mail.Mail) bool {
	if by := m.Envelope.Submitter; by != "" && by != "<>" {
		return true
	}
	return m.Envelope.From.IsZero() && m.Message.Header.Count("Authentication-Results") == 0
}

// errUnpublished keeps mail with its sender that would be signed by a key that nobody can see.
var errUnpublished = mail.Defer(451, "4.3.0", "mail cannot be signed yet, please try again later").
	Because(errors.New("sign: no key of the domain is published yet"))

// published returns the keys of a domain that receivers can see.
func (s *Signer) published(domain string) []Key {
	if s.Published == nil {
		return s.Keys[domain]
	}
	var out []Key
	for _, k := range s.Keys[domain] {
		if s.Published(k.Selector, domain) {
			out = append(out, k)
		}
	}
	return out
}

func (s *Signer) signers(domain string, keys []Key) []dkim.Signer {
	var signed, expires time.Time
	if s.Lifetime > 0 {
		signed = s.now()
		expires = signed.Add(s.Lifetime)
	}
	signers := make([]dkim.Signer, 0, len(keys))
	for _, k := range keys {
		signers = append(signers, dkim.Signer{
			Domain: domain, Selector: k.Selector, Key: k.Private,
			Fields: s.Fields, Time: signed, Expires: expires,
		})
	}
	return signers
}

func (s *Signer) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
