package authority

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// Check looks at the text of a zone file as `zone check` does. before is the text that it is to
// replace, "" for none.
func Check(file, text, before string) []Problem {
	kind, zone := kindOf(file)
	switch kind {
	case keyFile:
		return Keys{}.add(file, zone, text)
	case grantFile:
		return (&Grants{}).add(file, zone, text)
	case noFile:
		return []Problem{{File: file, Text: "the name of the file is no domain name"}}
	}
	f, problems := parseFile(file, zone, text)
	if fatal(problems) {
		return problems
	}
	z, problems, err := f.build(problems)
	if err != nil {
		return problems
	}
	for _, fl := range faults(z) {
		problems = append(problems, Problem{File: file, Line: f.lineOf(fl.rr), Warning: fl.warning, Text: fl.text})
	}
	problems = append(problems, f.spread()...)
	return append(problems, f.against(z, before)...)
}

// CheckFiles is Check for the files of a repository that differ from what was there before.
func CheckFiles(now, before map[string][]byte) []Problem {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(now)) {
		old, there := before[name]
		if there && bytes.Equal(old, now[name]) || strings.Contains(name, "/") || strings.HasPrefix(name, ".") {
			continue
		}
		problems = append(problems, Check(name, string(now[name]), string(old))...)
	}
	return problems
}

// against sees that a changed zone has a newer serial.
func (f *zoneFile) against(z *Zone, before string) []Problem {
	if before == "" {
		return nil
	}
	old, problems := parseFile(f.name, f.zone, before)
	if fatal(problems) {
		return nil // whatever comes is better
	}
	o, err := NewZone(f.zone, old.records())
	if err != nil || sameSet(o.Records(), z.Records()) || dns.SerialNewer(z.Serial(), o.Serial()) {
		return nil
	}
	return []Problem{{File: f.name, Line: f.lineOf(z.soa), Text: fmt.Sprintf("the zone has changed, but its serial is not newer than %d", o.Serial())}}
}

func (f *zoneFile) lineOf(rr dns.RR) int {
	for _, e := range f.entries {
		if rr != nil && dns.Equal(e.rr, rr) {
			return e.line
		}
	}
	return 0
}

// spread warns of different TTLs in one RRset (RFC 2181 section 5.2), and of records that
// stand twice.
func (f *zoneFile) spread() []Problem {
	var problems []Problem
	first := map[rrKey]entry{}
	seen := map[string]bool{}
	for _, e := range f.entries {
		h := e.rr.Header()
		k := rrKey{dns.Canonical(h.Name), h.Rrtype}
		text := e.rr.String()
		if have, ok := first[k]; !ok {
			first[k] = e
		} else if have.rr.Header().Ttl != h.Ttl {
			problems = append(problems, Problem{File: f.name, Line: e.line, Warning: true,
				Text: fmt.Sprintf("%s %s has another TTL than in line %d", h.Name, dns.TypeName(h.Rrtype), have.line)})
		} else if seen[text] {
			problems = append(problems, Problem{File: f.name, Line: e.line, Warning: true, Text: "the record stands twice"})
		}
		seen[text] = true
	}
	return problems
}

// A fault is what is wrong with the records of a zone.
type fault struct {
	rr      dns.RR // where it shows
	text    string
	warning bool
}

// faults looks at a zone for what cannot work.
func faults(z *Zone) []fault {
	var out []fault
	apex := z.nodes[z.Name]
	if len(apex.set(dns.TypeNS)) == 0 {
		out = append(out, fault{z.soa, "the zone has no name servers (NS)", true})
	}
	for _, name := range z.names {
		n := z.nodes[name]
		for _, s := range n.sets {
			if n.cut != nil && n.cut != n {
				continue // glue
			}
			for _, rr := range s.rrs {
				out = append(out, z.target(rr)...)
			}
			if s.t == dns.TypeTXT {
				out = append(out, texts(name, s.rrs)...)
			}
		}
	}
	return out
}

// target sees that a host of this zone which a record names has an address, and is no alias
// (RFC 2181 section 10.3).
func (z *Zone) target(rr dns.RR) []fault {
	var host string
	switch rr := rr.(type) {
	case *dns.NSRecord:
		host = rr.Ns
	case *dns.MXRecord:
		host = rr.Mx
	case *dns.SRVRecord:
		host = rr.Target
	}
	if host == "" || host == "." || !dns.IsSubdomain(z.Name, host) {
		return nil
	}
	host = dns.Canonical(host)
	n, exact := z.find(host)
	if !exact {
		if n.cut == nil {
			n = z.nodes[child("*", n.name)]
		} else if rr.Header().Rrtype != dns.TypeNS {
			return nil // it lies in a zone that is somebody else's
		}
	}
	switch {
	case n != nil && len(n.set(dns.TypeA))+len(n.set(dns.TypeAAAA)) > 0:
		return nil
	case n != nil && n.cut != nil && rr.Header().Rrtype != dns.TypeNS:
		return nil
	case n != nil && len(n.set(dns.TypeCNAME)) > 0:
		return []fault{{rr, fmt.Sprintf("%s of the %s is an alias", host, dns.TypeName(rr.Header().Rrtype)), false}}
	}
	return []fault{{rr, fmt.Sprintf("missing address record for %s", host), false}}
}

// texts looks at SPF (RFC 7208 section 4.5), DMARC (RFC 7489 section 6.3, RFC 9989) and DKIM
// (RFC 6376 section 3.6.1).
func texts(name string, rrs []dns.RR) []fault {
	var out []fault
	spf, dmarc := 0, 0
	labels := dns.Labels(name)
	for _, rr := range rrs {
		text := dns.Text(rr.(*dns.TXTRecord))
		var err error
		switch {
		case isSPF(text):
			spf++
		case len(labels) > 0 && labels[0] == "_dmarc" && strings.HasPrefix(strings.ToLower(text), "v=dmarc1"):
			dmarc++
			err = checkDMARC(text)
		case len(labels) > 1 && labels[1] == "_domainkey":
			err = checkDKIM(text)
		}
		if err != nil {
			out = append(out, fault{rr, err.Error(), false})
		}
	}
	if spf > 1 {
		out = append(out, fault{rrs[len(rrs)-1], name + " has more than one SPF record", false})
	}
	if dmarc > 1 {
		out = append(out, fault{rrs[len(rrs)-1], name + " has more than one DMARC record", false})
	}
	return out
}

func isSPF(text string) bool {
	text = strings.ToLower(text)
	return text == "v=spf1" || strings.HasPrefix(text, "v=spf1 ")
}

// tags reads "NAME=VALUE; …" (RFC 6376 section 3.2).
func tags(text string) (names []string, values map[string]string, err error) {
	values = map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if _, twice := values[name]; !ok || twice || name == "" {
			return nil, nil, errors.New("not a list of NAME=VALUE; or one name twice")
		}
		names = append(names, name)
		values[name] = strings.TrimSpace(value)
	}
	return names, values, nil
}

func checkDMARC(text string) error {
	names, v, err := tags(text)
	switch {
	case err != nil:
		return fmt.Errorf("DMARC: %w", err)
	case len(names) == 0 || names[0] != "v" || v["v"] != "DMARC1":
		return errors.New("DMARC: the record does not begin with v=DMARC1;")
	}
	for _, p := range []string{"p", "sp", "np"} {
		if value, ok := v[p]; ok && !slices.Contains([]string{"none", "quarantine", "reject"}, strings.ToLower(value)) {
			return fmt.Errorf("DMARC: %s is none of none, quarantine, reject", p)
		}
	}
	return nil
}

func checkDKIM(text string) error {
	names, v, err := tags(text)
	if err != nil {
		return fmt.Errorf("DKIM: %w", err)
	}
	p, ok := v["p"]
	switch version, given := v["v"]; {
	case given && version != "DKIM1":
		return errors.New("DKIM: v is not DKIM1")
	case given && names[0] != "v":
		return errors.New("DKIM: v=DKIM1 is not the first tag")
	case !ok:
		return errors.New("DKIM: no key (p)")
	}
	if _, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p), "")); err != nil {
		return errors.New("DKIM: the key (p) is no base64")
	}
	if k, given := v["k"]; given && k != "rsa" && k != "ed25519" {
		return errors.New("DKIM: k is none of rsa, ed25519")
	}
	return nil
}

// worse returns an error if there is a fault that there was not before.
func worse(before, after []fault) error {
	for _, f := range after {
		if !f.warning && !slices.ContainsFunc(before, func(had fault) bool { return had.text == f.text }) {
			return errors.New(f.text)
		}
	}
	return nil
}
