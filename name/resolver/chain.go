package resolver

import (
	"fmt"
	"strings"

	"stagecoach/rfc/dns"
)

// chainOf describes, a line each, the links of trust that a job has followed from the closest
// anchor down to a question, and what came of them.
func (j *job) chainOf(k key, s Security) []string {
	name := k.name
	if k.t == dns.TypeDS {
		name = parent(name)
	}
	top, digests := j.r.anchors.over(name)
	lines := []string{fmt.Sprintf("Chain of trust of %s %s, which is %s:", k.name, dns.TypeName(k.t), s)}
	if digests == nil {
		return append(lines, "  no trust anchor stands above it")
	}
	if nta := j.r.untrusted(name); nta != "" && under(top, nta) {
		return append(lines, fmt.Sprintf("  %s  not validated: a negative trust anchor is set (RFC 7646)", nta))
	}
	for n := labels(top); n <= labels(name); n++ {
		zone := ancestor(name, n)
		t, ok := j.r.trusts.get(zone)
		switch {
		case !ok || t.security == Unchecked:
		case t.security == Secure && zone == top:
			lines = append(lines, fmt.Sprintf("  %s  trust anchor; keys %s", zone, describeKeys(t.keys)))
		case t.security == Secure:
			lines = append(lines, fmt.Sprintf("  %s  DS above; keys %s", zone, describeKeys(t.keys)))
		case t.security == Bogus:
			return append(lines, fmt.Sprintf("  %s  BOGUS: %s", zone, t.why.Text))
		case t.why.Text != "":
			return append(lines, fmt.Sprintf("  %s  not secure: %s", zone, t.why.Text))
		default:
			return append(lines, fmt.Sprintf("  %s  not signed: the zone above proves that it has no DS", zone))
		}
	}
	return lines
}

// maxShownKeys is how many keys of one zone are worth reading.
const maxShownKeys = 6

func describeKeys(keys []zoneKey) string {
	var words []string
	for _, k := range keys[:min(len(keys), maxShownKeys)] {
		words = append(words, fmt.Sprintf("%d (%s)", k.tag, dns.AlgorithmName(k.Algorithm)))
	}
	if len(keys) > maxShownKeys {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}

// chains describes the chain of each step of an answer, or of the question where there is none.
func (j *job) chains(w want, res *result) (lines []string) {
	if len(res.steps) == 0 {
		return j.chainOf(w.key, res.security)
	}
	for _, f := range res.steps {
		k := f.key
		if f.kind == noName || f.kind == noData {
			k.t = w.t
		}
		lines = append(lines, j.chainOf(k, f.security)...)
	}
	return lines
}
