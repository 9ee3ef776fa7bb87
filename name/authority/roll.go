package authority

import (
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

const defaultRoll = 90 * 24 * time.Hour

// keys returns the keys of a zone, made or rolled over as the time asks for it. What is new is
// on disk before it is used.
func (s *Signing) keys(z *Zone, now time.Time) ([]*signingKey, error) {
	path := s.keyFile(z.Name)
	keys, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	next, err := s.advance(keys, sync.OnceValue(func() time.Duration { return longestTTL(z) }), now)
	if err != nil {
		return nil, err
	}
	if next == nil {
		return keys, nil
	}
	return next, writeKeys(path, next)
}

// advance makes the first keys, and takes a roll-over of the ZSK by pre-publication (RFC 7583
// section 3.2.1) one step on. It returns nil when there is nothing to do. longest is how long a signature may be
// remembered, which is asked for only where it counts.
//
// The next ZSK is published before it signs, for as long as a DNSKEY set may be remembered; the
// old one stays after it has ceased to sign, for as long as a signature of it may be.
func (s *Signing) advance(keys []*signingKey, longest func() time.Duration, now time.Time) ([]*signingKey, error) {
	if len(keys) == 0 {
		return s.firstKeys(now)
	}
	left := slices.DeleteFunc(slices.Clone(keys), func(k *signingKey) bool {
		return !k.removed.IsZero() && now.After(k.removed) && now.After(k.removed.Add(longest()))
	})
	changed := len(left) != len(keys)
	current, successor := zsks(left, now)
	if current == nil || successor != nil {
		return orNil(left, changed), nil
	}
	life := s.Roll
	if life <= 0 {
		life = defaultRoll
	}
	switchAt := current.active.Add(life)
	if now.Before(switchAt.Add(-s.quick(lead))) {
		return orNil(left, changed), nil
	}
	if earliest := now.Add(s.quick(lead)); switchAt.Before(earliest) {
		switchAt = earliest
	}
	k, err := newSigningKey(flagsZSK, false, now, switchAt)
	if err != nil {
		return nil, err
	}
	current.retired, current.removed = switchAt, switchAt.Add(longest()+s.quick(slack))
	return append(left, k), nil
}

// How long a DNSKEY set may be remembered at most, and how long secondaries may take.
const (
	dnskeyTTL = time.Hour
	slack     = time.Hour
)

func orNil(keys []*signingKey, changed bool) []*signingKey {
	if !changed {
		return nil
	}
	return keys
}

// zsks returns the ZSK that signs now and the one that is to follow it. With a CSK there are
// none.
func zsks(keys []*signingKey, now time.Time) (current, successor *signingKey) {
	for _, k := range keys {
		switch {
		case k.flags != flagsZSK:
		case k.isActive(now):
			current = k
		case k.active.After(now):
			successor = k
		}
	}
	return current, successor
}

func (s *Signing) firstKeys(now time.Time) ([]*signingKey, error) {
	first, err := newSigningKey(flagsKSK, !s.Split, now, now)
	if err != nil || !s.Split {
		return []*signingKey{first}, err
	}
	zsk, err := newSigningKey(flagsZSK, false, now, now)
	return []*signingKey{first, zsk}, err
}

// longestTTL is how long a record of the zone, and so its signature, may be remembered.
func longestTTL(z *Zone) time.Duration {
	longest := z.soa.Minttl
	for _, n := range z.nodes {
		for _, set := range n.sets {
			longest = max(longest, set.rrs[0].Header().Ttl)
		}
	}
	return time.Duration(longest) * time.Second
}

// due returns when the keys of a zone next change what is to be signed, zero for never.
func (s *Signing) due(zone string, now time.Time) (time.Time, error) {
	keys, err := readKeys(s.keyFile(dns.Canonical(zone)))
	var first time.Time
	for _, k := range keys {
		for _, at := range k.times() {
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = *at
			}
		}
	}
	if active := ksks(keys, now); len(active) > 1 {
		if at := active[len(active)-1].publish.Add(s.quick(lead)); at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if current, successor := zsks(keys, now); current != nil && successor == nil {
		life := s.Roll
		if life <= 0 {
			life = defaultRoll
		}
		if at := current.active.Add(life - s.quick(lead)); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, err
}
