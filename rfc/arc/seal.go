package arc

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
)

// A Sealer adds sets to chains.
type Sealer struct {
	Domain   string        // d=, in A-labels
	Selector string        // s=
	Key      crypto.Signer // RSA or Ed25519, see dkim.CheckKey
	Time     time.Time     // t=; left out when zero
	Fields   []string      // what the message signature covers when present; nil means dkim.DefaultFields and DKIM-Signature
}

// ErrUnsealable is the error for a message that cannot be sealed, as opposed to trouble with the
// key or with reading. Those that follow are of it.
var ErrUnsealable = errors.New("arc: not to be sealed")

// What Seal refuses.
var (
	ErrEnded = fmt.Errorf("%w: the chain has ended", ErrUnsealable)               // a seal says cv=fail
	ErrLong  = fmt.Errorf("%w: the chain is as long as it may be", ErrUnsealable) // MaxInstance
	ErrDoubt = fmt.Errorf("%w: the state of the chain is not known", ErrUnsealable)
)

// Seal returns the next set for a message whose chain is what Verify said before anything was
// changed: seal, message signature and results, to be prepended in this order. found is what
// we found out about the message; it may name arc= too. A chain that has failed is
// sealed once more as such and then no more (RFC 8617 section 5.1.2).
func (s *Sealer) Seal(m *mail.Message, found authres.Results, chain Result) ([]mail.Field, error) {
	cv := string(chain.Status)
	switch {
	case chain.Status == TempError:
		return nil, ErrDoubt
	case chain.ended:
		return nil, ErrEnded
	case chain.Length >= MaxInstance:
		return nil, ErrLong
	}
	if _, err := dkim.ParseSelector(s.Selector); err != nil {
		return nil, fmt.Errorf("arc: %w", err)
	}
	if err := dkim.CheckKey(s.Key); err != nil {
		return nil, err
	}
	var sets []set
	if chain.Status == Pass {
		var err error
		if sets, err = collect(&m.Header); err != nil || len(sets) != chain.Length {
			return nil, fmt.Errorf("%w: the chain is not the one that was verified", ErrUnsealable)
		}
	}
	i := chain.Length + 1
	if chain.Status == Fail && chain.Length == 0 {
		i = highest(&m.Header) + 1
		if i > MaxInstance {
			return nil, ErrLong
		}
	}
	next := set{results: mail.NewField(ResultsName, fmt.Sprintf("i=%d; %s", i, found.String()))}
	var err error
	if next.signature, err = s.signMessage(m, i); err != nil {
		return nil, err
	}
	text := s.head(i, "") + " cv=" + cv + ";\r\n b="
	next.seal = mail.NewField(SealName, text)
	digest, err := sealDigest(append(sets, next))
	if err != nil {
		return nil, err
	}
	if next.seal, err = s.finish(SealName, text, digest); err != nil {
		return nil, err
	}
	return []mail.Field{next.seal, next.signature, next.results}, nil
}

// highest returns the highest instance that any field of a broken chain names.
func highest(h *mail.Header) int {
	n := 0
	for f := range h.All() {
		at, err := 0, error(nil)
		switch {
		case f.Is(ResultsName):
			at, err = resultsInstance(f.Body())
		case f.Is(SignatureName) || f.Is(SealName):
			at, err = tagInstance(f.Body())
		}
		if err == nil {
			n = max(n, at)
		}
	}
	return n
}

// head is the beginning of both signatures.
func (s *Sealer) head(i int, canon string) string {
	text := fmt.Sprintf("i=%d; a=%s;%s d=%s;\r\n s=%s;", i, dkim.Algorithm(s.Key.Public()), canon, s.Domain, s.Selector)
	if !s.Time.IsZero() {
		text += " t=" + strconv.FormatInt(s.Time.Unix(), 10) + ";"
	}
	return text
}

func (s *Sealer) signMessage(m *mail.Message, i int) (mail.Field, error) {
	body, err := bodyDigest(m, dkim.Relaxed)
	if err != nil {
		return mail.Field{}, err
	}
	fields := s.Fields
	if fields == nil {
		fields = append(dkim.DefaultFields(), "DKIM-Signature")
	}
	var names []string
	for _, name := range fields {
		for range m.Header.Count(name) {
			names = append(names, strings.ToLower(name))
		}
	}
	if len(names) == 0 {
		return mail.Field{}, fmt.Errorf("%w: nothing to sign in the header", ErrUnsealable)
	}
	text := s.head(i, " c=relaxed/relaxed;") + "\r\n h=" + strings.Join(names, "\r\n :") + ";" +
		"\r\n bh=" + base64.StdEncoding.EncodeToString(body) + ";\r\n b="
	digest, err := messageDigest(&m.Header, dkim.Relaxed, names, mail.NewField(SignatureName, text))
	if err != nil {
		return mail.Field{}, err
	}
	return s.finish(SignatureName, text, digest)
}

// finish puts the signature of a digest behind the text, which ends in b=.
func (s *Sealer) finish(name, text string, digest []byte) (mail.Field, error) {
	_, value, err := dkim.SignDigest(s.Key, digest)
	if err != nil {
		return mail.Field{}, fmt.Errorf("arc: sealing for %s with %s: %w", s.Domain, s.Selector, err)
	}
	b := base64.StdEncoding.EncodeToString(value)
	for len(b) > 70 {
		text += b[:70] + "\r\n "
		b = b[70:]
	}
	return mail.NewField(name, text+b), nil
}
