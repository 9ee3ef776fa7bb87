package cert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// slack is what secondaries get to follow, besides the TTL of what caches hold.
const slack = 10 * time.Minute

// pinOf is the data of a TLSA record "3 1 1": the SHA-256 of a key (RFC 6698 section 2.1).
func pinOf(spki []byte) string {
	h := sha256.Sum256(spki)
	return hex.EncodeToString(h[:])
}

func pinRecord(name, pin string) *dns.TLSARecord {
	return &dns.TLSARecord{
		Hdr:   dns.Header{Name: dns.Canonical(name), Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: ttl},
		Usage: 3, Selector: 1, MatchingType: 1, Certificate: pin,
	}
}

// pin publishes the key where DANE wants it, and removes keys whose time is over. Records that
// are not ours stay.
func (k *Keeper) pin(ctx context.Context) error {
	if len(k.Pins) == 0 {
		return nil
	}
	now := k.now()
	pin := pinOf(k.request.key)
	for _, name := range k.Pins {
		records, err := dns.TLSA(ctx, k.Primary, name)
		if err != nil && !dns.IsNegative(err) {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		m := dns.NewUpdate(k.Zone)
		held, there := time.Duration(ttl)*time.Second, false
		for _, rr := range records {
			held = max(held, time.Duration(rr.Hdr.Ttl)*time.Second)
			ours, data := kindOf(rr) == kindPin, strings.ToLower(rr.Certificate)
			there = there || ours && data == pin
			if over, ok := k.note.Retired[data]; ok && ours && data != pin && now.After(over) {
				m.Remove([]dns.RR{dns.Copy(rr)})
			}
		}
		if !there {
			m.Insert([]dns.RR{pinRecord(name, pin)})
		}
		if len(m.Ns) > 0 {
			if err := dns.Do(ctx, k.Primary, m); err != nil {
				return fmt.Errorf("publishing the key at %s: %w", name, err)
			}
			k.Log.Info("certificate: TLSA records published", "name", dns.Host(name))
		}
		if k.note.pin(pinAt(name, pin), held, k.now().Add(held+slack), !there) {
			if err := k.saveNote(); err != nil {
				return err
			}
		}
	}
	return nil
}

func pinAt(name, pin string) string { return dns.Host(name) + " " + pin }

// pinned returns from when on the key may be used, given what is shown now. Where that has the
// same key, or nobody can have pinned it, that is at once; and so it is when what is shown has
// expired, since most of the world does not know DANE.
func (k *Keeper) pinned(old *shown) time.Time {
	now := k.now()
	if len(k.Pins) == 0 || old.selfMade || now.After(old.leaf.NotAfter) || string(old.leaf.RawSubjectPublicKeyInfo) == string(k.request.key) {
		return time.Time{}
	}
	var from time.Time
	for _, name := range k.Pins {
		at, ok := k.note.Pinned[pinAt(name, pinOf(k.request.key))]
		if !ok { // it could not be published yet
			at = now.Add(k.note.Held + slack)
		}
		from = later(from, at)
	}
	return from
}

// retire notes when the key of what was shown is out of every cache.
func (k *Keeper) retire(old *shown) {
	if len(k.Pins) == 0 || string(old.leaf.RawSubjectPublicKeyInfo) == string(k.request.key) {
		return
	}
	if k.note.Retired == nil {
		k.note.Retired = map[string]time.Time{}
	}
	k.note.Retired[pinOf(old.leaf.RawSubjectPublicKeyInfo)] = k.now().Add(max(k.note.Held, ttl*time.Second) + slack)
	if err := k.saveNote(); err != nil {
		k.raise("what was done could not be kept: " + err.Error())
	}
}
