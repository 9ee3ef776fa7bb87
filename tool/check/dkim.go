package check

import (
	"context"
	"crypto"
	"errors"
	"strings"

	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
)

func checkDKIM(ctx context.Context, l *look, f *findings) {
	if l.target.KeysErr != nil {
		f.unknown("", "the keys that mail is signed with cannot be read: %v", l.target.KeysErr)
	}
	for _, k := range l.target.Keys {
		l.checkKey(ctx, f, k.Selector, k.Public)
	}
	for _, s := range l.target.Selectors {
		l.checkKey(ctx, f, s, nil)
	}
	if len(f.lines) == 0 {
		f.skip("", "no key is known: give --config or --selector")
	}
}

// checkKey looks at the published key of a selector, which must be the one that is used where
// that is known.
func (l *look) checkKey(ctx context.Context, f *findings, selector string, used crypto.PublicKey) {
	name := dkim.RecordName(selector, l.target.Domain)
	keys, err := dkim.Keys(ctx, l.env.Names, selector, l.target.Domain)
	var trouble *dns.Error
	switch {
	case errors.Is(err, dkim.ErrRevoked):
		f.wrong(name, "", "the key is revoked: p= is empty")
		return
	case dns.IsNegative(err):
		f.wrong(name, "", "no key is published")
		return
	case errors.As(err, &trouble):
		f.unknown(name, "the key could not be looked up: %v", err)
		return
	case err != nil:
		f.wrong(name, "", "the record is broken: %v", err)
		return
	}
	if len(keys) > 1 {
		f.note(name, "Leave one.", "there are %d keys at one selector", len(keys))
	}
	for _, k := range keys {
		if used == nil || sameKey(k, used) {
			judgeKey(f, name, k, used != nil)
			return
		}
	}
	f.wrong(name, "", "the key that is published is not the one that mail is signed with")
}

func sameKey(k *dkim.PublicKey, used crypto.PublicKey) bool {
	e, ok := k.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(used)
}

// judgeKey looks at one published key.
func judgeKey(f *findings, name string, k *dkim.PublicKey, inUse bool) {
	kind := strings.TrimSuffix(k.Algorithm(), "-sha256")
	switch {
	case kind == "rsa" && k.Bits() < 1024:
		f.wrong(name, "Make a key of 2048 bits.", "the key has %d bits, and counts for nothing (RFC 8301)", k.Bits())
	case kind == "rsa" && k.Bits() < 2048:
		f.note(name, "Make a key of 2048 bits.", "the key has only %d bits", k.Bits())
	case k.Testing:
		f.note(name, "Take t=y out of the record.", "the record says that signatures are only a test")
	case inUse:
		f.ok(name, "the published key is the one in use (%s)", kind)
	default:
		f.ok(name, "a good key is published (%s); the one in use is not known", kind)
	}
}
