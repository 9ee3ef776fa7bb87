package resolver

import (
	"time"

	"stagecoach/rfc/dns"
)

// trust is what is known of the security of a zone: its keys, or why it has none to trust.
type trust struct {
	zone     string
	security Security // Unchecked: the name is no zone, it lies within the one above
	keys     []zoneKey
	why      dns.ExtendedError
	since    time.Time // when the keys were fetched
	until    time.Time
}

type zoneKey struct {
	*dns.DNSKEYRecord
	tag uint16
}

func (t *trust) cost() int { return 200 + 2*len(t.zone) + 600*len(t.keys) }

// trustOf follows the chain of trust from the closest anchor down to the zone that name lies
// in (RFC 4035 section 5). It ends early where the chain does. An error means that a link
// could not be fetched, which says nothing of security.
func (j *job) trustOf(name string, p *path) (*trust, error) {
	top, digests := j.r.anchors.over(name)
	if digests == nil {
		return &trust{zone: top, security: Indeterminate}, nil
	}
	if nta := j.r.untrusted(name); nta != "" && under(top, nta) && !j.strict {
		return &trust{zone: nta, security: Insecure, why: dns.ExtendedError{Code: dns.ExtendedOther, Text: "negative trust anchor " + nta}}, nil
	}
	now := time.Now()
	t, ok := j.r.trusts.get(top)
	if !ok || !now.Before(t.until) {
		var err error
		if t, err = j.keysOf(top, digests, nil, p); err != nil {
			return nil, err
		}
	}
	for n := labels(top) + 1; n <= labels(name) && t.security == Secure; n++ {
		next, err := j.descend(t, ancestor(name, n), p)
		if err != nil {
			return nil, err
		}
		if next.security != Unchecked {
			t = next
		}
	}
	return t, nil
}

// descend finds out what a secure zone says of a name one label down.
func (j *job) descend(above *trust, name string, p *path) (*trust, error) {
	if t, ok := j.r.trusts.get(name); ok && time.Now().Before(t.until) {
		return t, nil
	}
	k := key{name, dns.TypeDS}
	var bad *found
	for try := 1; ; try++ {
		f, err := j.raw(k, p)
		if err != nil && bad != nil {
			return j.judge(bad, name, above, p)
		}
		if err != nil {
			return nil, err
		}
		if f.security == Unchecked {
			if err := j.check(f, k, above, true); err != nil {
				j.drop(f, k, err)
				return nil, err
			}
			if f.security != Bogus {
				j.r.keep(f)
			}
		}
		if f.security == Bogus && try < bogusTries && j.shun(f) {
			j.forget(f, k)
			bad = f
			continue
		}
		return j.judge(f, name, above, p)
	}
}

// judge turns the answer on DS into what it means for the name.
func (j *job) judge(f *found, name string, above *trust, p *path) (*trust, error) {
	t := &trust{zone: name, until: earlier(f.expires(), above.until)}
	switch {
	case f.security == Bogus:
		t.security, t.why = Bogus, f.why
		t.until = time.Now().Add(time.Second)
		j.forget(f, key{name, dns.TypeDS})
	case f.security != Secure:
		t.security, t.why = Insecure, f.why
		j.note(name, "%s is not signed: %s", name, f.why.Text)
	case f.kind == records:
		return j.keysOf(name, digestsOf(f.answer), &t.until, p)
	case f.kind == noData && j.isDelegation(f.authority, name):
		t.security = Insecure
		j.note(name, "%s is not signed: %s proves that it has no DS", name, above.zone)
	}
	j.r.trusts.put(name, t, t.cost())
	return t, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// isDelegation reports whether validated NSEC or NSEC3 records say that a zone begins at name.
func (j *job) isDelegation(proof []dns.RR, name string) bool {
	for _, rr := range proof {
		var types []uint16
		switch rr := rr.(type) {
		case *dns.NSECRecord:
			if owner(rr) == name {
				types = rr.TypeBitMap
			}
		case *dns.NSEC3Record:
			if under(parent(owner(rr)), name) && owner(rr) == dns.Canonical(dns.HashNSEC3(name, rr)+"."+parent(owner(rr))) {
				types = rr.TypeBitMap
			}
		}
		if hasType(types, dns.TypeNS) && !hasType(types, dns.TypeSOA) {
			return true
		}
	}
	return false
}

func digestsOf(rrs []dns.RR) []*dns.DSRecord {
	var out []*dns.DSRecord
	for _, rr := range rrs {
		if ds, ok := rr.(*dns.DSRecord); ok {
			out = append(out, ds)
		}
	}
	return out
}

// usable returns the digests that can be checked: those by SHA-1 only where there are no
// others (RFC 4509 section 3). With none the zone counts as unsigned (RFC 4035 section 5.2).
func usable(all []*dns.DSRecord) (good []*dns.DSRecord, why dns.ExtendedError) {
	var old []*dns.DSRecord
	for _, ds := range all {
		switch {
		case !dns.CanVerify(ds.Algorithm):
			why = dns.ExtendedError{Code: dns.ExtendedAlgorithm, Text: dns.AlgorithmName(ds.Algorithm)}
		case !dns.CanDigest(ds.DigestType):
			if why.Code == 0 {
				why = dns.ExtendedError{Code: dns.ExtendedDigest}
			}
		case dns.IsSHA1(ds):
			old = append(old, ds)
		default:
			good = append(good, ds)
		}
	}
	if len(good) == 0 {
		good = old
	}
	return good[:min(len(good), maxDigests)], why
}

// keysOf fetches the keys of a zone and checks them against the digests that the zone above,
// or an anchor, has of them (RFC 4035 section 5.2).
func (j *job) keysOf(zone string, digests []*dns.DSRecord, until *time.Time, p *path) (*trust, error) {
	t := &trust{zone: zone, since: time.Now(), until: time.Now().Add(j.r.Limits.MaxTTL)}
	if until != nil {
		t.until = *until
	}
	good, why := usable(digests)
	if len(good) == 0 {
		t.security, t.why = Insecure, why
		j.note(zone, "%s is signed in a way that cannot be verified here: %s %s", zone, why.Name(), why.Text)
		j.r.trusts.put(zone, t, t.cost())
		return t, nil
	}
	k := key{zone, dns.TypeDNSKEY}
	for try := 1; ; try++ {
		f, err := j.raw(k, p)
		if err != nil && try > 1 { // no other server says anything
			t.until = time.Now().Add(time.Second)
			break
		}
		if err != nil {
			return nil, err
		}
		if err := j.checkKeys(f, good, t); err != nil {
			j.drop(f, k, err)
			return nil, err
		}
		if t.security == Secure {
			f.security = Secure
			j.r.keep(f)
			t.until = earlier(t.until, f.expires())
			break
		}
		j.note(zone, "the keys of %s from %s are bogus: %s", zone, f.from, t.why.Text)
		j.r.doubtClock(zone, t.why)
		j.forget(f, k)
		if try == bogusTries || !j.shun(f) {
			t.until = time.Now().Add(time.Second)
			break
		}
	}
	j.r.trusts.put(zone, t, t.cost())
	return t, nil
}

// checkKeys sets what t knows from a set of keys that one of the digests vouches for.
func (j *job) checkKeys(f *found, digests []*dns.DSRecord, t *trust) error {
	t.security = Bogus
	t.why = dns.ExtendedError{Code: dns.ExtendedNoDNSKEY, Text: "no key of " + t.zone + " matches its DS"}
	if f.kind != records {
		t.why.Text = t.zone + " has no keys"
		return nil
	}
	set, sigs := split(f.answer)
	var keys, entries []zoneKey
	for _, rr := range set {
		k, ok := rr.(*dns.DNSKEYRecord)
		if !ok || k.Flags&dns.KeyZone == 0 || k.Protocol != 3 || k.Flags&dns.KeyRevoke != 0 {
			continue
		}
		if len(keys) == maxKeys {
			break
		}
		keys = append(keys, zoneKey{k, k.KeyTag()})
	}
	for _, ds := range digests {
		tried := 0
		for _, k := range keys {
			if k.tag != ds.KeyTag || k.Algorithm != ds.Algorithm || tried == maxTagged {
				continue
			}
			tried++
			if dns.MatchesDS(k.DNSKEYRecord, ds) {
				entries = append(entries, k)
			}
		}
	}
	if len(entries) == 0 {
		return nil
	}
	v, err := j.verify(set, sigs, &trust{zone: t.zone, keys: entries})
	if err != nil {
		return err
	}
	if v.security != Secure {
		t.why = v.why
		return nil
	}
	f.limitTTL(v.ttl)
	t.security, t.why, t.keys = Secure, dns.ExtendedError{}, keys
	j.note(t.zone, "the keys of %s are signed by key %d (%s), whose digest is trusted", t.zone, v.tag, dns.AlgorithmName(v.algorithm))
	return nil
}
