// Package arc verifies and adds to chains of Authenticated Received Chain, RFC 8617, by which
// those who hand mail on write down what they found and seal it. A valid chain says who said
// what, no more: whom to believe is not its business.
package arc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
)

// Status is the state of a chain (RFC 8617 section 4.4).
type Status string

// The states.
const (
	None      Status = "none"      // no chain
	Pass      Status = "pass"      // complete and unbroken
	Fail      Status = "fail"      // broken, for good
	TempError Status = "temperror" // a key could not be looked up; another try may tell
)

// A Result is what is known of a chain.
type Result struct {
	Status  Status
	Length  int      // instances
	Sealers []string // domains of the seals, the first hand first; of a Pass only
	Oldest  int      // of a Pass: the oldest instance whose message signature still holds, 0 when all do
	Problem error    // of Fail and TempError, for the log

	ended bool // the newest seal says that the chain has failed
}

// Verify looks at the chain of a message. It asks for each key once, verifies at most MaxInstance
// seals and as many signatures over the message, and reads the body once a canonicalisation.
func Verify(ctx context.Context, m *mail.Message, x dns.Exchanger) Result {
	sets, err := collect(&m.Header)
	if err != nil {
		return Result{Status: Fail, Problem: err, ended: hasEnded(&m.Header)}
	}
	n := len(sets)
	if n == 0 {
		return Result{Status: None}
	}
	res := Result{Status: Fail, Length: n, ended: hasEnded(&m.Header)}
	var sealers []string
	for i := range sets {
		if err := sets[i].parse(i + 1); err != nil {
			res.Problem = err
			return res
		}
		sealers = append(sealers, sets[i].sealed.domain)
	}
	v := verifier{ctx: ctx, x: x, keys: map[string][]*dkim.PublicKey{}, bodies: map[dkim.Canon][]byte{}}
	if res.Problem = v.verify(m, sets); res.Problem == nil {
		res.Status, res.Sealers, res.Oldest = Pass, sealers, v.oldest(m, sets)
		return res
	}
	var e *dns.Error
	if errors.Is(res.Problem, errBody) || errors.As(res.Problem, &e) && e.Temporary() {
		res.Status = TempError
	}
	return res
}

// Claimed returns the Result of a chain that somebody trusted has verified, for a Sealer that
// knows what was found from a header field alone.
func Claimed(h *mail.Header, found Status) Result {
	sets, err := collect(h)
	res := Result{Status: found, Length: len(sets), Problem: err, ended: hasEnded(h)}
	known := found == Fail
	switch found {
	case Pass:
		known = err == nil && len(sets) > 0
	case None:
		known = err == nil && len(sets) == 0
	}
	if !known { // or not the chain that was verified
		res.Status = TempError
	}
	return res
}

// hasEnded reports whether the newest seal says that the chain has failed, after which nobody
// adds to it (RFC 8617 section 5.1, step 2). The chain need not be whole.
func hasEnded(h *mail.Header) bool {
	newest := highest(h)
	for f := range h.Fields(SealName) {
		tags, err := dkim.ParseTags(f.Body())
		if err != nil {
			continue
		}
		i, _ := tags.Get("i")
		if n, err := instance(i); err != nil || n != newest {
			continue
		}
		if cv, _ := tags.Get("cv"); cv == "fail" {
			return true
		}
	}
	return false
}

type verifier struct {
	ctx    context.Context
	x      dns.Exchanger
	keys   map[string][]*dkim.PublicKey
	bodies map[dkim.Canon][]byte
}

// oldest returns the oldest instance whose message signature still holds, 0 when that is the
// first (RFC 8617 section 5.2, step 5). That of the newest does.
func (v *verifier) oldest(m *mail.Message, sets []set) int {
	for i := len(sets) - 2; i >= 0; i-- {
		if v.message(m, &sets[i]) != nil {
			return i + 2
		}
	}
	return 0
}

// verify does the steps of RFC 8617 section 5.2.
func (v *verifier) verify(m *mail.Message, sets []set) error {
	for i, s := range sets {
		want := "pass"
		if i == 0 {
			want = "none"
		}
		if s.cv != want {
			return fmt.Errorf("%s %d says cv=%s", SealName, i+1, s.cv)
		}
	}
	newest := len(sets) - 1
	if err := v.message(m, &sets[newest]); err != nil {
		return fmt.Errorf("%s %d: %w", SignatureName, newest+1, err)
	}
	for i := newest; i >= 0; i-- {
		digest, err := sealDigest(sets[:i+1])
		if err == nil {
			err = v.check(sets[i].sealed, digest)
		}
		if err != nil {
			return fmt.Errorf("%s %d: %w", SealName, i+1, err)
		}
	}
	return nil
}

var errBody = errors.New("the message could not be read")

// message verifies an ARC-Message-Signature, which is a DKIM signature but for its version
// and the meaning of i= (RFC 8617 section 4.1.2).
func (v *verifier) message(m *mail.Message, s *set) error {
	h, ok := s.sig.tags.Get("h")
	if !ok {
		return errors.New("no h= in it")
	}
	names := dkim.SplitNames(h)
	for _, name := range names {
		if name == "arc-seal" {
			return errors.New("it covers a seal")
		}
	}
	want, err := s.sig.tags.Base64("bh")
	if err != nil || len(want) == 0 {
		return errors.New("bh= is no hash")
	}
	// RFC 8617 names no default for c=; DKIM's is one, the other is what its authors' tests have.
	ways := []string{"simple/simple", "relaxed/relaxed"}
	if c, ok := s.sig.tags.Get("c"); ok {
		ways = []string{c}
	}
	for _, c := range ways {
		if err = v.messageBy(m, s, c, names, want); err == nil {
			return nil
		}
	}
	return err
}

// messageBy verifies with the canonicalisation c.
func (v *verifier) messageBy(m *mail.Message, s *set, c string, names []string, want []byte) error {
	header, body, err := dkim.ParseCanon(c)
	if err != nil {
		return err
	}
	got, err := v.body(m, body)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the body was changed")
	}
	digest, err := messageDigest(&m.Header, header, names, s.signature)
	if err != nil {
		return err
	}
	return v.check(s.sig, digest)
}

func (v *verifier) body(m *mail.Message, c dkim.Canon) ([]byte, error) {
	if d, ok := v.bodies[c]; ok {
		return d, nil
	}
	d, err := bodyDigest(m, c)
	if err == nil {
		v.bodies[c] = d
	}
	return d, err
}

func bodyDigest(m *mail.Message, c dkim.Canon) ([]byte, error) {
	b := dkim.NewBodyHash(c)
	if _, err := io.Copy(b, m.NewReader()); err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	digest, _ := b.Sum()
	return digest, nil
}

// messageDigest hashes what an ARC-Message-Signature signs of a header, itself left out.
func messageDigest(h *mail.Header, c dkim.Canon, names []string, signature mail.Field) ([]byte, error) {
	rest := *h
	rest.Strike(func(f mail.Field) bool { return f == signature })
	sum := sha256.New()
	for _, f := range dkim.ChooseFields(&rest, names) {
		sum.Write(c.AppendField(nil, f))
	}
	form, err := dkim.Unsigned(c, signature)
	sum.Write(form)
	return sum.Sum(nil), err
}

// sealDigest hashes what the seal of the last set signs: all sets, in their order (RFC 8617
// section 5.1.1).
func sealDigest(sets []set) ([]byte, error) {
	sum := sha256.New()
	last := len(sets) - 1
	for i := range sets {
		s := &sets[i]
		writeFields(sum, s.results, s.signature)
		if i < last {
			writeFields(sum, s.seal)
		}
	}
	form, err := dkim.Unsigned(dkim.Relaxed, sets[last].seal)
	sum.Write(form)
	return sum.Sum(nil), err
}

func writeFields(sum hash.Hash, fields ...mail.Field) {
	for _, f := range fields {
		sum.Write(dkim.Relaxed.AppendField(nil, f))
	}
}

// check verifies a signature with the keys at its selector.
func (v *verifier) check(s sig, digest []byte) error {
	name := dkim.RecordName(s.selector, s.domain)
	keys, ok := v.keys[name]
	if !ok {
		var err error
		if keys, err = dkim.Keys(v.ctx, v.x, s.selector, s.domain); err != nil {
			return err
		}
		v.keys[name] = keys
	}
	for _, k := range keys {
		if k.Verify(s.algorithm, digest, s.value) {
			return nil
		}
	}
	return errors.New("the signature does not verify")
}
