package resolver

import (
	"fmt"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// validate sets the security of an answer. An error means that it could not be found out.
func (j *job) validate(f *found, k key, p *path) error {
	signer := signerOf(f)
	at := signer
	if signer == "" || !under(signer, k.name) {
		at, signer = k.name, ""
		if k.t == dns.TypeDS {
			at = parent(k.name)
		}
	}
	t, err := j.trustOf(at, p)
	if err != nil {
		return err
	}
	switch {
	case t.security != Secure:
		f.security, f.why = t.security, t.why
		return nil
	case signer == "":
		f.bogus(dns.ExtendedNoRRSIG, "%s is signed, but %s %s came without signatures", t.zone, k.name, dns.TypeName(k.t))
		return nil
	case t.zone != signer:
		f.bogus(dns.ExtendedBogus, "%s %s is signed by %s, which is no zone with trusted keys", k.name, dns.TypeName(k.t), signer)
		return nil
	}
	return j.check(f, k, t, false)
}

func (f *found) bogus(code uint16, format string, args ...any) {
	f.security, f.why = Bogus, dns.ExtendedError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// signerOf returns the zone that signed the answer or the proof that there is none, "" for
// none.
func signerOf(f *found) string {
	rrs, covered := f.answer, uint16(0)
	if len(rrs) == 0 {
		rrs = f.authority
		for _, rr := range rrs {
			if t := rr.Header().Rrtype; t == dns.TypeNSEC || t == dns.TypeNSEC3 {
				covered = t
			}
		}
	}
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIGRecord); ok && (covered == 0 || sig.TypeCovered == covered) {
			return dns.Canonical(sig.SignerName)
		}
	}
	return ""
}

// check validates an answer with the keys of the zone that has to have signed it. A link is one
// of the chain of trust, whose proof is all that counts: that no DS exists holds whatever stands
// over the SOA record that came along.
func (j *job) check(f *found, k key, t *trust, link bool) error {
	if k.t == dns.TypeDS && t.zone == k.name {
		f.bogus(dns.ExtendedBogus, "the DS of %s is signed by itself", k.name)
		return nil
	}
	proof, err := j.proofOf(f, t)
	if err != nil {
		return err
	}
	if len(f.answer) > 0 {
		return j.checkRecords(f, k, t, proof)
	}
	var s Security
	var why string
	if f.kind == noName {
		s, why, err = proof.noName(k.name)
	} else {
		s, why, err = proof.noData(k.name, k.t)
	}
	if err != nil {
		return err
	}
	if s == Bogus {
		code := uint16(dns.ExtendedNoNSEC)
		if proof.why.Code != 0 {
			code, why = proof.why.Code, proof.why.Text
		}
		f.bogus(code, "%s %s: %s", k.name, dns.TypeName(k.t), why)
		return nil
	}
	if soa, _ := find[*dns.SOARecord](f.authority); soa != nil && !link {
		if signed, _ := find[*dns.SOARecord](proof.kept); signed == nil {
			f.bogus(dns.ExtendedNoRRSIG, "the SOA of %s is not signed", t.zone)
			return nil
		}
	}
	f.settle(s, proof)
	j.note(t.zone, "%s proves: %s %s, %s (%s)", t.zone, k.name, dns.TypeName(k.t), kindNames[f.kind], s)
	return nil
}

// settle takes over what a proof says of an answer.
func (f *found) settle(s Security, p *proof) {
	f.security, f.why, f.authority = s, dns.ExtendedError{}, p.kept
	if s == Insecure && p.iterations {
		f.why = dns.ExtendedError{Code: dns.ExtendedIterations, Text: "too many iterations of NSEC3"}
	}
	if p.ttl > 0 {
		f.limitTTL(p.ttl)
	}
}

// find returns the first record of a type.
func find[T dns.RR](rrs []dns.RR) (first T, ok bool) {
	for _, rr := range rrs {
		if t, ok := rr.(T); ok {
			return t, true
		}
	}
	return first, false
}

func (j *job) checkRecords(f *found, k key, t *trust, proof *proof) error {
	set, sigs := split(f.answer)
	if !under(t.zone, owner(set[0])) {
		f.bogus(dns.ExtendedBogus, "%s signed for %s", t.zone, owner(set[0]))
		return nil
	}
	v, err := j.verify(set, sigs, t)
	if err != nil {
		return err
	}
	if v.security != Secure {
		f.security, f.why = Bogus, v.why
		return nil
	}
	f.limitTTL(v.ttl)
	f.security, f.why, f.authority = Secure, dns.ExtendedError{}, proof.kept
	if v.expanded {
		s, why, err := proof.noCloser(owner(set[0]), v.labels)
		if err != nil {
			return err
		}
		if s == Bogus {
			f.bogus(dns.ExtendedNoNSEC, "%s %s comes from a wildcard: %s", k.name, dns.TypeName(k.t), why)
			return nil
		}
		f.settle(s, proof)
	}
	j.note(t.zone, "%s %s is signed by key %d (%s) of %s", k.name, dns.TypeName(k.t), v.tag, dns.AlgorithmName(v.algorithm), t.zone)
	return nil
}

// split takes records and signatures apart.
func split(rrs []dns.RR) (set []dns.RR, sigs []*dns.RRSIGRecord) {
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIGRecord); ok {
			sigs = append(sigs, sig)
		} else {
			set = append(set, rr)
		}
	}
	return set, sigs
}

// A verdict is what came of one set of records and its signatures.
type verdict struct {
	security  Security
	why       dns.ExtendedError
	expanded  bool // from a wildcard whose parent has labels labels
	labels    int
	tag       uint16
	algorithm uint8
	ttl       time.Duration // how long the signature lets it live
}

// verify looks for a signature over a set that a key of the zone made (RFC 4035 section 5.3).
// One is enough, whatever the algorithm (RFC 6840 section 5.11). The work is charged to the
// question.
func (j *job) verify(set []dns.RR, sigs []*dns.RRSIGRecord, t *trust) (v verdict, err error) {
	v.security = Bogus
	name, typ := owner(set[0]), set[0].Header().Rrtype
	v.why = dns.ExtendedError{Code: dns.ExtendedNoRRSIG, Text: fmt.Sprintf("%s %s has no signature by %s", name, dns.TypeName(typ), t.zone)}
	now := time.Now()
	considered := 0
	for _, sig := range sigs {
		if sig.TypeCovered != typ || dns.Canonical(sig.SignerName) != t.zone || owner(sig) != name {
			continue
		}
		if considered++; considered > maxSignatures {
			break
		}
		why, expanded := fits(sig, name, t, now)
		if why.Code != 0 {
			v.why = why
			continue
		}
		if expanded && !mayExpand(typ) {
			v.why = dns.ExtendedError{Code: dns.ExtendedBogus, Text: dns.TypeName(typ) + " from a wildcard"}
			continue
		}
		k, err := j.tryKeys(sig, set, t)
		if err != nil {
			return v, err
		}
		if k == nil {
			v.why = dns.ExtendedError{Code: dns.ExtendedBogus, Text: fmt.Sprintf("no key of %s made the signature over %s %s", t.zone, name, dns.TypeName(typ))}
			continue
		}
		left := time.Duration(int32(sig.Expiration-uint32(now.Unix()))) * time.Second
		v = verdict{
			security: Secure, expanded: expanded, labels: int(sig.Labels), tag: k.tag, algorithm: k.Algorithm,
			ttl: min(time.Duration(sig.OrigTtl)*time.Second, left),
		}
		return v, nil
	}
	return v, nil
}

// fits checks everything about a signature but the signature (RFC 4035 section 5.3.1).
func fits(sig *dns.RRSIGRecord, name string, t *trust, now time.Time) (why dns.ExtendedError, expanded bool) {
	have := labels(name)
	if strings.HasPrefix(name, "*.") {
		have--
	}
	switch {
	case !dns.CanVerify(sig.Algorithm):
		return dns.ExtendedError{Code: dns.ExtendedAlgorithm, Text: dns.AlgorithmName(sig.Algorithm)}, false
	case int(sig.Labels) > have || int(sig.Labels) < labels(t.zone):
		return dns.ExtendedError{Code: dns.ExtendedBogus, Text: "a signature over " + name + " with a wrong number of labels"}, false
	}
	return untimely(sig, name, now), int(sig.Labels) < have
}

// mayExpand reports whether records of a type may come from a wildcard.
func mayExpand(t uint16) bool {
	switch t {
	case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeDS, dns.TypeDNAME, dns.TypeNS:
		return false
	}
	return true
}

// tryKeys returns the key that made a signature, nil for none.
func (j *job) tryKeys(sig *dns.RRSIGRecord, set []dns.RR, t *trust) (*zoneKey, error) {
	tried := 0
	for i := range t.keys {
		k := &t.keys[i]
		if k.tag != sig.KeyTag || k.Algorithm != sig.Algorithm {
			continue
		}
		if tried++; tried > maxTagged {
			break
		}
		if err := spend(&j.signatures, j.r.Limits.Signatures, "signatures"); err != nil {
			return nil, err
		}
		j.r.count.signatures.Add(1)
		if dns.VerifySet(sig, k.DNSKEYRecord, set) == nil {
			return k, nil
		}
		if err := spend(&j.wrong, j.r.Limits.Failed, "signatures that are wrong"); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
