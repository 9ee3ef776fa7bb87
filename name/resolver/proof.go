package resolver

import (
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A proof is the NSEC or NSEC3 records of one zone that came with an answer and are signed.
type proof struct {
	j          *job
	zone       string
	nsec       []*dns.NSECRecord
	nsec3      []*dns.NSEC3Record
	hashes     map[string]string
	iterations bool // above what is computed
	why        dns.ExtendedError
	kept       []dns.RR // what is signed, with its signatures
	ttl        time.Duration
}

// proofOf verifies the records that may prove something. Those that fail are left out: either
// the others do, or the proof fails.
func (j *job) proofOf(f *found, t *trust) (*proof, error) {
	p := &proof{j: j, zone: t.zone, hashes: map[string]string{}}
	if len(f.answer) > 0 && !mayBeExpanded(f) {
		return p, nil
	}
	sets := 0
	var kept []dns.RR
	for _, rr := range f.authority {
		switch rr.(type) {
		case *dns.NSECRecord, *dns.NSEC3Record, *dns.SOARecord:
		default:
			continue
		}
		name, typ := owner(rr), rr.Header().Rrtype
		if !under(t.zone, name) {
			continue
		}
		if sets++; sets > maxSets {
			break
		}
		sigs := signaturesOf(f.authority, name, typ)
		v, err := j.verify([]dns.RR{rr}, sigs, t)
		if err != nil {
			return nil, err
		}
		if v.security != Secure {
			p.why = v.why
			continue
		}
		p.add(rr, v.ttl)
		kept = append(kept, rr)
		for _, sig := range sigs {
			kept = append(kept, sig)
		}
	}
	p.kept = kept
	return p, nil
}

func signaturesOf(rrs []dns.RR, name string, t uint16) []*dns.RRSIGRecord {
	var sigs []*dns.RRSIGRecord
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIGRecord); ok && sig.TypeCovered == t && owner(rr) == name {
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// mayBeExpanded reports whether a signature has fewer labels than the name.
func mayBeExpanded(f *found) bool {
	_, sigs := split(f.answer)
	for _, sig := range sigs {
		if int(sig.Labels) < labels(owner(sig)) {
			return true
		}
	}
	return false
}

func (p *proof) add(rr dns.RR, ttl time.Duration) {
	if p.ttl == 0 || ttl < p.ttl {
		p.ttl = ttl
	}
	switch rr := rr.(type) {
	case *dns.NSECRecord:
		p.nsec = append(p.nsec, rr)
	case *dns.NSEC3Record:
		// RFC 5155 section 8.1 and 8.2: those of another kind do not count, and those of one
		// zone have the same parameters.
		if rr.Flags&^1 != 0 || rr.Hash != 1 || parent(owner(rr)) != p.zone {
			return
		}
		if len(p.nsec3) > 0 && (p.nsec3[0].Iterations != rr.Iterations || p.nsec3[0].Salt != rr.Salt) {
			return
		}
		p.iterations = p.iterations || rr.Iterations > dns.MaxNSEC3Iterations
		p.nsec3 = append(p.nsec3, rr)
	}
}

func hasType(types []uint16, t uint16) bool { return slices.Contains(types, t) }

// isAbove reports whether the types are those of a delegation or a DNAME, whose owner says
// nothing of the names below it (RFC 6840 section 4.1, RFC 5155 section 8.3).
func isAbove(types []uint16) bool {
	return hasType(types, dns.TypeNS) && !hasType(types, dns.TypeSOA) || hasType(types, dns.TypeDNAME)
}

// lacks reports whether the types at a name prove that it has no records of type t. What a
// zone above says of a zone's top counts for DS only, and what the zone says never for DS (RFC
// 6840 section 4.4).
func lacks(types []uint16, name string, t uint16) bool {
	if hasType(types, t) || hasType(types, dns.TypeCNAME) {
		return false
	}
	if t == dns.TypeDS {
		return !hasType(types, dns.TypeSOA) || name == "."
	}
	return !hasType(types, dns.TypeNS) || hasType(types, dns.TypeSOA)
}

// noName proves that a name does not exist, nor a wildcard for it. It returns Secure,
// Insecure, or Bogus with a reason.
func (p *proof) noName(name string) (Security, string, error) {
	switch {
	case p.iterations:
		return Insecure, "", nil
	case len(p.nsec3) > 0:
		return p.noName3(name)
	case len(p.nsec) == 0:
		return Bogus, "nothing proves that the name does not exist", nil
	}
	n := p.covering(name)
	if n == nil {
		return Bogus, "no NSEC covers the name", nil
	}
	if below(name, dns.Canonical(n.NextDomain)) {
		return Bogus, "the NSEC shows that there are names below the name", nil
	}
	if p.covering(wildcardOf(encloser(n, name))) == nil {
		return Bogus, "no NSEC covers the wildcard", nil
	}
	return Secure, "", nil
}

// noData proves that a name has no records of a type.
func (p *proof) noData(name string, t uint16) (Security, string, error) {
	switch {
	case p.iterations:
		return Insecure, "", nil
	case len(p.nsec3) > 0:
		return p.noData3(name, t)
	}
	for _, n := range p.nsec {
		if owner(n) == name {
			if lacks(n.TypeBitMap, name, t) {
				return Secure, "", nil
			}
			return Bogus, "the NSEC of the name does not deny the type", nil
		}
	}
	n := p.covering(name)
	switch {
	case n == nil:
		return Bogus, "nothing proves that there are no such records", nil
	case below(name, dns.Canonical(n.NextDomain)):
		return Secure, "", nil // a name between others, without records
	}
	wildcard := wildcardOf(encloser(n, name))
	for _, n := range p.nsec {
		if owner(n) == wildcard && lacks(n.TypeBitMap, wildcard, t) {
			return Secure, "", nil
		}
	}
	return Bogus, "the NSEC proves that the name does not exist, not that it has no such records", nil
}

// noCloser proves that no name stands between one that came from a wildcard and the parent of
// that wildcard, which has n labels.
func (p *proof) noCloser(name string, n int) (Security, string, error) {
	switch {
	case p.iterations:
		return Insecure, "", nil
	case len(p.nsec3) > 0:
		return p.noCloser3(name, n)
	}
	c := p.covering(name)
	if c == nil || labels(encloser(c, name)) > n || below(name, dns.Canonical(c.NextDomain)) {
		return Bogus, "nothing proves that there is no closer name", nil
	}
	return Secure, "", nil
}

// covering returns an NSEC that proves that a name does not exist.
func (p *proof) covering(name string) *dns.NSECRecord {
	for _, n := range p.nsec {
		if covers(n, name, p.zone) {
			return n
		}
	}
	return nil
}

func covers(n *dns.NSECRecord, name, zone string) bool {
	from, to := owner(n), dns.Canonical(n.NextDomain)
	if !under(zone, name) || !under(zone, to) || below(from, name) && isAbove(n.TypeBitMap) {
		return false
	}
	if dns.CompareNames(from, name) >= 0 {
		return false
	}
	return to == zone || dns.CompareNames(name, to) < 0
}

// encloser returns the lowest name above a name that an NSEC that covers it shows to exist.
func encloser(n *dns.NSECRecord, name string) string {
	a, b := common(owner(n), name), common(dns.Canonical(n.NextDomain), name)
	if labels(a) > labels(b) {
		return a
	}
	return b
}

// hashLabel returns the hash in the owner of an NSEC3.
func hashLabel(n *dns.NSEC3Record) string {
	label, _, _ := strings.Cut(owner(n), ".")
	return strings.ToUpper(label)
}
