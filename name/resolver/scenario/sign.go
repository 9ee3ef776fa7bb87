package scenario

import (
	"time"

	"stagecoach/rfc/dns"
)

const day = 24 * time.Hour

// A memoKey is a set of records of a zone.
type memoKey struct {
	name string
	t    uint16
}

// signatures returns what the zone has over a set: mostly one signature, none where the option
// sig=none has lost them, one of each algorithm where there are two.
func (z *zone) signatures(set []dns.RR) []dns.RR {
	if z.options["sig"] == "none" {
		return nil
	}
	k := memoKey{set[0].Header().Name, set[0].Header().Rrtype}
	if sigs := z.memo[k]; sigs != nil {
		return sigs
	}
	sigs := []dns.RR{z.sign(set)}
	if last := len(z.keys) - 1; last > 0 && z.keys[last].Record.Algorithm != z.keys[z.signer].Record.Algorithm {
		second := z.signWith(z.keys[last], set)
		if z.options["sig"] == "half" {
			spoil(sigs[0].(*dns.RRSIGRecord))
		}
		sigs = append(sigs, second)
	}
	if z.memo != nil {
		z.memo[k] = sigs
	}
	return sigs
}

// sign returns the signature over a set, as the zone's options want it to be.
func (z *zone) sign(set []dns.RR) dns.RR {
	k := z.keys[0]
	if set[0].Header().Rrtype != dns.TypeDNSKEY {
		k = z.keys[z.signer]
	}
	return z.signWith(k, set)
}

// spoiled are the options by which signatures of some types are bad.
var spoiled = map[string]func(t uint16) bool{
	"bad":     func(uint16) bool { return true },
	"badmx":   func(t uint16) bool { return t == dns.TypeMX },
	"baddeny": func(t uint16) bool { return t == dns.TypeNSEC || t == dns.TypeNSEC3 },
	"badsoa":  func(t uint16) bool { return t == dns.TypeSOA },
	"badkeys": func(t uint16) bool { return t == dns.TypeDNSKEY },
}

func (z *zone) signWith(k signer, set []dns.RR) dns.RR {
	from, until := z.validity()
	sig, err := k.Sign(set, from, until)
	if err != nil {
		panic(err)
	}
	if bad := spoiled[z.options["sig"]]; bad != nil && bad(set[0].Header().Rrtype) {
		spoil(sig)
	}
	switch z.options["sig"] {
	case "signer":
		sig.SignerName = parent(z.apex)
	case "labels":
		sig.Labels++
	case "tag":
		sig.KeyTag++
	}
	return sig
}

type signer interface {
	Sign(set []dns.RR, from, until time.Time) (*dns.RRSIGRecord, error)
}

func (z *zone) validity() (from, until time.Time) {
	now := time.Now()
	from, until = now.Add(-day), now.Add(30*day)
	if d, err := time.ParseDuration(z.options["valid"]); err == nil {
		until = started(z).Add(d)
	}
	switch z.options["time"] {
	case "expired":
		from, until = now.Add(-40*day), now.Add(-3*day)
	case "future":
		from, until = now.Add(3*day), now.Add(40*day)
	}
	return from, until
}

// started is when the zone was signed last, for signatures that are not renewed.
func started(z *zone) time.Time {
	if t, err := time.Parse(time.RFC3339, z.options["started"]); err == nil {
		return t
	}
	t := time.Now()
	z.options["started"] = t.Format(time.RFC3339)
	return t
}

// spoil breaks a signature.
func spoil(sig *dns.RRSIGRecord) {
	c := byte('A')
	if sig.Signature[10] == c {
		c = 'B'
	}
	sig.Signature = sig.Signature[:10] + string(c) + sig.Signature[11:]
}
