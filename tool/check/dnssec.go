package check

import (
	"context"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// dayOfGrace is how long signatures should have left.
const dayOfGrace = 24 * time.Hour

func checkChain(ctx context.Context, l *look, f *findings) {
	if l.env.Chain == nil {
		f.skip(l.target.Domain, "names are not validated here")
		return
	}
	v, err := l.env.Chain(ctx, dns.NewQuery(l.target.Domain, dns.TypeMX))
	if err != nil {
		f.unknown(l.target.Domain, "no answer: %v", err)
		return
	}
	switch v.State {
	case "secure":
		f.ok(l.target.Domain, "the answers are secure, from the root on")
		l.checkExpiry(f)
	case "bogus":
		f.wrong(l.target.Domain, "", "the answers do not validate: %s", lastSteps(v.Steps))
	case "insecure":
		f.note(l.target.Domain, "Sign the zone (\"stagecoach primary\" does) and enter its DS record at the registrar.", "the zone is not signed, or its parent has no DS for it")
	default:
		f.skip(l.target.Domain, "there is no trust anchor to judge by, or no answer to judge")
	}
}

func lastSteps(steps []string) string {
	return strings.Join(steps[max(0, len(steps)-3):], "; ")
}

func (l *look) checkExpiry(f *findings) {
	now := l.env.Now()
	for _, s := range l.zone().servers {
		for _, sig := range s.sigs {
			if sig.TypeCovered != dns.TypeSOA || dns.ValidAt(sig, now) != 0 || dns.ValidAt(sig, now.Add(dayOfGrace)) == 0 {
				continue
			}
			f.note(s.String(), "Look why the zone is not signed anew: the log of \"stagecoach primary\" says.", "signatures expire within a day")
			return
		}
	}
}

func checkDS(ctx context.Context, l *look, f *findings) {
	z := l.ready(f)
	if z == nil {
		return
	}
	keys, told := z.keys()
	switch {
	case z.handedErr != nil:
		f.unknown(z.apex, "the servers of %s did not answer: %v", dot(z.parent), z.handedErr)
		return
	case z.dsErr != nil:
		f.unknown(z.apex, "the servers of %s did not tell the DS records: %v", dot(z.parent), z.dsErr)
		return
	case !told:
		f.rest("nameservers", z.apex, "no server told its keys")
		return
	}
	if len(z.ds) == 0 {
		l.checkUndelegated(ctx, f, z, keys)
		return
	}
	match := 0
	for _, ds := range z.ds {
		ok := slices.ContainsFunc(keys, func(k *dns.DNSKEYRecord) bool { return dns.MatchesDS(k, ds) })
		switch {
		case ok && dns.IsSHA1(ds) && len(z.ds) == 1:
			f.note(z.apex, "Enter a DS with digest type 2 (SHA-256).", "the DS with key tag %d is a SHA-1 digest, which validators drop", ds.KeyTag)
			match++
		case ok:
			match++
		}
	}
	switch {
	case match == 0:
		f.wrong(z.apex, "", "no DS record is the digest of a key of the zone")
	case match < len(z.ds):
		f.note(z.apex, "Remove it at the registrar, unless a key is being changed.", "%d of %d DS records belong to no key of the zone", len(z.ds)-match, len(z.ds))
	}
	if !f.bad() {
		f.ok(z.apex, "the DS records belong to keys of the zone")
	}
}

// checkUndelegated looks at a zone without DS.
func (l *look) checkUndelegated(ctx context.Context, f *findings, z *zone, keys []*dns.DNSKEYRecord) {
	if len(keys) == 0 {
		f.skip(z.apex, "the zone is not signed")
		return
	}
	if l.env.Chain != nil {
		if v, err := l.env.Chain(ctx, dns.NewQuery(z.parent, dns.TypeSOA)); err == nil && v.State == "secure" {
			f.wrong(z.apex, "", "the zone is signed, but %s has no DS record for it: nobody can validate it", dot(z.parent))
			return
		}
	}
	f.note(z.apex, "", "the zone is signed, but %s has no DS record for it", dot(z.parent))
}

// keys returns the keys of the zone, and whether a server told them.
func (z *zone) keys() (keys []*dns.DNSKEYRecord, told bool) {
	for _, s := range z.servers {
		if s.udp == nil && s.keysErr == nil {
			told = true
			keys = append(keys, s.keys...)
		}
	}
	return keys, told
}
