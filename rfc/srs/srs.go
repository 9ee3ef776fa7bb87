// Package srs rewrites envelope senders for forwarding, so that SPF at the next receiver
// looks at the forwarder, and finds the way back (the Sender Rewriting Scheme, Wong 2003,
// libsrs2). It keeps no state.
//
// What it writes, as local parts at the forwarder's domain:
//
//	SRS0=tag=day=domain=local    for local@domain
//	SRS1=tag=host=rest           for an SRS0 or SRS1 address that host began with: the way
//	                             back skips those in between
//	SRS0=tag=day==digest         for an address that does not fit (see ErrTooLong)
//
// The tag is the first 80 bits of an HMAC-SHA256 in base32, the day two digits of base32.
// Both are read without regard to case, since some servers change it.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"stagecoach/mail"
)

// What Reverse refuses.
var (
	ErrNotSRS  = errors.New("no SRS address of ours")
	ErrForged  = errors.New("the tag of the SRS address is not ours")
	ErrExpired = errors.New("the SRS address is too old")

	// ErrTooLong is returned for an address whose tag is ours and fresh, but whose original
	// was too long to be carried: 64 octets are all that RFC 5321 section 4.5.3.1.1 gives a
	// local part, and 25 of them are spent. Such senders are mostly machines that put a key
	// into every address. What comes to it has nowhere to go, and can be dropped.
	ErrTooLong = errors.New("the SRS address stands for one that was too long to carry")
)

// DefaultMaxAge is how long an address leads back unless a Rewriter says otherwise: longer
// than any queue keeps a mail.
const DefaultMaxAge = 21 * 24 * time.Hour

// MinKey is the least length of a key in octets.
const MinKey = 16

// A Rewriter writes and reads the addresses of one domain. It is safe for concurrent use.
type Rewriter struct {
	Domain string   // ours, canonical as mail.CanonicalDomain returns it
	Keys   [][]byte // the first signs, all verify, so that keys can be changed; MinKey octets at least
	MaxAge time.Duration
}

const (
	tagSize   = 10 // octets: 80 bits
	tagDigits = 16
	dayDigits = 2
	days      = 1024 // that the digits can tell apart
)

var digits = base32.StdEncoding.WithPadding(base32.NoPadding)

// Forward returns the sender under which mail from from is passed on at the time now. The
// null path stays null, and an address of our own domain stays what it is. The result is
// always a valid address.
func (r *Rewriter) Forward(from mail.Address, now time.Time) (mail.Address, error) {
	if from.IsZero() || from.Domain() == r.Domain {
		return from, nil
	}
	if err := r.check(); err != nil {
		return mail.Address{}, err
	}
	host, rest, ok := guarded(from)
	if ok {
		local := "SRS1=" + r.tag(r.Keys[0], "SRS1", host, rest) + "=" + host + "=" + rest
		if a, ok := r.fits(local); ok {
			return a, nil
		}
		return r.digest(from, now)
	}
	day := dayOf(now)
	local := "SRS0=" + r.tag(r.Keys[0], "SRS0", day, from.Domain(), from.Local()) + "=" + day + "=" + from.Domain() + "=" + from.Local()
	if a, ok := r.fits(local); ok {
		return a, nil
	}
	return r.digest(from, now)
}

// guarded splits an SRS address of somebody else into the host that began and what SRS1
// keeps of it.
func guarded(from mail.Address) (host, rest string, ok bool) {
	kind, rest, ok := cutKind(from.Local())
	switch {
	case !ok:
		return "", "", false
	case kind == "SRS0":
		return from.Domain(), rest, true // with its separator
	}
	_, rest, ok1 := strings.Cut(rest[1:], "=") // somebody else's tag
	host, rest, ok2 := strings.Cut(rest, "=")
	host, err := mail.CanonicalDomain(host)
	if !ok1 || !ok2 || err != nil || rest == "" || !isSeparator(rest[0]) {
		return "", "", false
	}
	return host, rest, true
}

// digest returns the address that leads nowhere. The digest only keeps addresses apart.
func (r *Rewriter) digest(from mail.Address, now time.Time) (mail.Address, error) {
	day := dayOf(now)
	sum := sha256.Sum256([]byte(from.String()))
	short := lower(digits.EncodeToString(sum[:tagSize]))
	a, ok := r.fits("SRS0=" + r.tag(r.Keys[0], "SRS0", day, "", short) + "=" + day + "==" + short)
	if !ok {
		return mail.Address{}, fmt.Errorf("srs: no valid address in %q", r.Domain)
	}
	return a, nil
}

// fits makes an address, and reports false when it would be longer than RFC 5321 allows,
// quotes included.
func (r *Rewriter) fits(local string) (mail.Address, bool) {
	a, err := mail.NewAddress(local, r.Domain)
	if err != nil || len(a.String())-len(a.Domain())-1 > mail.MaxLocal {
		return mail.Address{}, false
	}
	return a, true
}

// Is reports whether a looks like an SRS address of our domain, whatever its tag says.
func (r *Rewriter) Is(a mail.Address) bool {
	_, _, ok := cutKind(a.Local())
	return ok && a.Domain() == r.Domain
}

// Reverse returns the address to which mail for a is to go at the time now. Its errors are
// those above.
func (r *Rewriter) Reverse(a mail.Address, now time.Time) (mail.Address, error) {
	kind, rest, ok := cutKind(a.Local())
	if !ok || a.Domain() != r.Domain {
		return mail.Address{}, ErrNotSRS
	}
	if err := r.check(); err != nil {
		return mail.Address{}, err
	}
	rest = rest[1:]
	if kind == "SRS1" {
		return r.reverse1(rest)
	}
	return r.reverse0(rest, now)
}

func (r *Rewriter) reverse0(rest string, now time.Time) (mail.Address, error) {
	part := strings.SplitN(rest, "=", 4)
	if len(part) != 4 {
		return mail.Address{}, ErrForged
	}
	tag, day, domain, local := part[0], lower(part[1]), part[2], part[3]
	if !r.verify(tag, "SRS0", day, domain, local) {
		return mail.Address{}, ErrForged
	}
	if !r.fresh(day, now) {
		return mail.Address{}, ErrExpired
	}
	if domain == "" {
		return mail.Address{}, ErrTooLong
	}
	return original(local, domain)
}

func (r *Rewriter) reverse1(rest string) (mail.Address, error) {
	part := strings.SplitN(rest, "=", 3)
	if len(part) != 3 || !r.verify(part[0], "SRS1", part[1], part[2]) {
		return mail.Address{}, ErrForged
	}
	return original("SRS0"+part[2], part[1])
}

// original makes the address that we once signed. What does not parse was not ours.
func original(local, domain string) (mail.Address, error) {
	a, err := mail.NewAddress(local, domain)
	if err != nil {
		return mail.Address{}, ErrForged
	}
	return a, nil
}

// tag signs fields, none of which holds a NUL, regardless of the case of letters.
func (r *Rewriter) tag(key []byte, fields ...string) string {
	return lower(digits.EncodeToString(r.mac(key, fields)))
}

func (r *Rewriter) mac(key []byte, fields []string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(lower(r.Domain)))
	for _, f := range fields {
		h.Write([]byte("\x00" + lower(f)))
	}
	return h.Sum(nil)[:tagSize]
}

// verify compares in a time that does not depend on where tags differ, nor on which key fits.
func (r *Rewriter) verify(tag string, fields ...string) bool {
	if len(tag) != tagDigits {
		return false
	}
	got, err := digits.DecodeString(strings.ToUpper(tag))
	if err != nil {
		return false
	}
	ok := false
	for _, key := range r.Keys {
		if hmac.Equal(got, r.mac(key, fields)) {
			ok = true
		}
	}
	return ok
}

// fresh reports whether day lies not too far back, or by clocks that differ one day ahead.
func (r *Rewriter) fresh(day string, now time.Time) bool {
	max := r.MaxAge
	if max == 0 {
		max = DefaultMaxAge
	}
	then, ok := dayNumber(day)
	if !ok {
		return false
	}
	age := (today(now) - then + days) % days
	return age == days-1 || time.Duration(age)*24*time.Hour <= max
}

func (r *Rewriter) check() error {
	if len(r.Keys) == 0 {
		return errors.New("srs: there is no key")
	}
	for _, k := range r.Keys {
		if len(k) < MinKey {
			return fmt.Errorf("srs: a key has fewer than %d octets", MinKey)
		}
	}
	return nil
}

func today(now time.Time) int {
	n := now.Unix() / (24 * 60 * 60) % days
	return int((n + days) % days)
}

func dayOf(now time.Time) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	n := today(now)
	return string([]byte{alphabet[n>>5], alphabet[n&31]})
}

func dayNumber(s string) (int, bool) {
	n := 0
	if len(s) != dayDigits {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			n = n<<5 | int(c-'a')
		case c >= '2' && c <= '7':
			n = n<<5 | int(c-'2'+26)
		default:
			return 0, false
		}
	}
	return n, true
}

// cutKind recognises SRS0 and SRS1 followed by a separator, with which rest begins.
func cutKind(local string) (kind, rest string, ok bool) {
	if len(local) < 6 || !isSeparator(local[4]) {
		return "", "", false
	}
	kind = strings.ToUpper(local[:4])
	return kind, local[4:], kind == "SRS0" || kind == "SRS1"
}

// isSeparator has those that libsrs2 writes.
func isSeparator(c byte) bool { return c == '=' || c == '+' || c == '-' }

// lower changes ASCII letters alone: what other letters become depends on who does it.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
