package authority

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// dsTTL is how long a DS set of a parent may be remembered, to be safe: TLDs have a day or less.
const dsTTL = 48 * time.Hour

// lead is how long a new DNSKEY is published before anything relies on it.
const lead = dnskeyTTL + slack

// RollKSK begins to replace the key that the parent knows, a KSK or CSK, by the double-KSK
// method (RFC 7583 section 3.3.2). The new key signs beside the old one at once; when every
// cache can have it, CDS and CDNSKEY ask for its DS (RFC 7344). When the parent has that and
// no longer the old one, SeenDS goes on; an Authority with a Resolver looks for itself.
func (s *Signing) RollKSK(zone string, now time.Time) error {
	path := s.keyFile(dns.Canonical(zone))
	keys, err := readKeys(path)
	if err != nil {
		return err
	}
	active := ksks(keys, now)
	switch len(active) {
	case 0:
		return fmt.Errorf("%s has no key to replace", zone)
	case 1:
	default:
		return fmt.Errorf("%s has a roll-over in work", zone)
	}
	now = now.UTC().Truncate(time.Second)
	k, err := newSigningKey(flagsKSK, active[0].all, now, now)
	if err != nil {
		return err
	}
	return writeKeys(path, append(keys, k))
}

// SeenDS ends the roll-over of a KSK: the parent has the DS of the new key alone. The old key
// stays until no cache can have a DS that points to it. z is the zone as it is.
func (s *Signing) SeenDS(z *Zone, now time.Time) error {
	path := s.keyFile(z.Name)
	keys, err := readKeys(path)
	if err != nil {
		return err
	}
	active := ksks(keys, now)
	if len(active) < 2 || now.Before(active[len(active)-1].publish.Add(s.quick(lead))) {
		return errors.New("there is no roll-over that could end now")
	}
	now = now.UTC().Truncate(time.Second)
	for _, k := range active[:len(active)-1] {
		k.retired = now.Add(s.quick(dsTTL + slack))
		k.removed = k.retired.Add(longestTTL(z) + s.quick(slack))
	}
	return writeKeys(path, keys)
}

// ksks returns the keys that sign the DNSKEY set and are to stay, the oldest first.
func ksks(keys []*signingKey, now time.Time) []*signingKey {
	var out []*signingKey
	for _, k := range keys {
		if k.flags == flagsKSK && k.isActive(now) && k.retired.IsZero() {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b *signingKey) int { return a.publish.Compare(b.publish) })
	return out
}

// wanted returns the key whose DS the parent should have: the newest that every cache can have.
func (s *Signing) wanted(keys []*signingKey, now time.Time) *signingKey {
	active := ksks(keys, now)
	for i, k := range slices.Backward(active) {
		if i == 0 || !now.Before(k.publish.Add(s.quick(lead))) {
			return k
		}
	}
	return nil
}

// stamp tells versions of the file of keys apart.
func (s *Signing) stamp(zone string) time.Time {
	info, err := os.Stat(s.keyFile(zone))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// watchParent looks whether the parent of a zone has changed to the new key.
func (a *Authority) watchParent(ctx context.Context, f *servedFile) {
	keys, err := readKeys(a.Signing.keyFile(f.zone.Name))
	active := ksks(keys, a.clock())
	if err != nil || a.Resolver == nil || len(active) < 2 || a.clock().Before(active[len(active)-1].publish.Add(a.Signing.quick(lead))) {
		return
	}
	answer, err := dns.Lookup(ctx, a.Resolver, f.zone.Name, dns.TypeDS)
	if err != nil {
		return
	}
	have := map[uint16]bool{}
	for _, ds := range dns.Records[*dns.DSRecord](answer) {
		have[ds.KeyTag] = true
	}
	for i, k := range active {
		rr, err := k.record(f.zone.Name, 0)
		if err != nil || have[rr.KeyTag()] != (i == len(active)-1) {
			return
		}
	}
	if err := a.Signing.SeenDS(f.zone, a.clock()); err != nil {
		a.Log.Warn("authority: roll-over", "zone", dns.Host(f.zone.Name), "err", err)
		return
	}
	a.Log.Info("authority: the parent has the new key", "zone", dns.Host(f.zone.Name))
}

// MakeKeys makes the first keys of a zone, unless it has some, so that its DS can be handed to
// the parent before the zone is served for the first time. It reports whether it made any.
func (s *Signing) MakeKeys(zone string, now time.Time) (bool, error) {
	path := s.keyFile(dns.Canonical(zone))
	keys, err := readKeys(path)
	if err != nil || len(keys) > 0 {
		return false, err
	}
	if keys, err = s.firstKeys(now.UTC().Truncate(time.Second)); err != nil {
		return false, err
	}
	return true, writeKeys(path, keys)
}
