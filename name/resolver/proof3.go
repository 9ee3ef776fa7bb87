package resolver

import (
	"strings"

	"stagecoach/rfc/dns"
)

// hash returns the hash of a name, charged to the question.
func (p *proof) hash(name string) (string, error) {
	if h, ok := p.hashes[name]; ok {
		return h, nil
	}
	if err := spend(&p.j.hashing, p.j.r.Limits.Hashes, "hashes of names"); err != nil {
		return "", err
	}
	p.j.r.count.hashes.Add(1)
	h := dns.HashNSEC3(name, p.nsec3[0])
	p.hashes[name] = h
	return h, nil
}

// at returns the NSEC3 of a name, nil for none.
func (p *proof) at(name string) (*dns.NSEC3Record, error) {
	h, err := p.hash(name)
	if err != nil || h == "" {
		return nil, err
	}
	for _, n := range p.nsec3 {
		if hashLabel(n) == h {
			return n, nil
		}
	}
	return nil, nil
}

// over returns the NSEC3 that covers the hash of a name, nil for none.
func (p *proof) over(name string) (*dns.NSEC3Record, error) {
	h, err := p.hash(name)
	if err != nil || h == "" {
		return nil, err
	}
	for _, n := range p.nsec3 {
		from, to := hashLabel(n), strings.ToUpper(n.NextDomain)
		switch {
		case from < to && from < h && h < to, from >= to && (from < h || h < to) && h != from:
			return n, nil
		}
	}
	return nil, nil
}

func optOut(n *dns.NSEC3Record) bool { return n.Flags&1 == 1 }

// closest finds the closest name above that is shown to exist, and the NSEC3 that shows that
// the next one down does not (RFC 5155 section 8.3). cover is nil where there is no such proof.
func (p *proof) closest(name string) (encloser string, cover *dns.NSEC3Record, err error) {
	if !under(p.zone, name) {
		return "", nil, nil
	}
	next := name
	for at := name; ; at = parent(at) {
		n, err := p.at(at)
		if err != nil {
			return "", nil, err
		}
		if n != nil {
			if at == name || isAbove(n.TypeBitMap) {
				return "", nil, nil
			}
			cover, err = p.over(next)
			return at, cover, err
		}
		if at == p.zone {
			return "", nil, nil
		}
		next = at
	}
}

// noName3 is noName by NSEC3 (RFC 5155 section 8.4). Where names may have been left out, the
// answer is not secure (section 9.2).
func (p *proof) noName3(name string) (Security, string, error) {
	encloser, cover, err := p.closest(name)
	if err != nil {
		return Bogus, "", err
	}
	if cover == nil {
		return Bogus, "no closest encloser is proved", nil
	}
	wild, err := p.over(wildcardOf(encloser))
	if err != nil {
		return Bogus, "", err
	}
	if wild == nil {
		return Bogus, "no NSEC3 covers the wildcard", nil
	}
	if optOut(cover) {
		return Insecure, "", nil
	}
	return Secure, "", nil
}

// noData3 is noData by NSEC3 (RFC 5155 section 8.5, 8.6 and 8.7).
func (p *proof) noData3(name string, t uint16) (Security, string, error) {
	n, err := p.at(name)
	if err != nil {
		return Bogus, "", err
	}
	if n != nil {
		if lacks(n.TypeBitMap, name, t) {
			return Secure, "", nil
		}
		return Bogus, "the NSEC3 of the name does not deny the type", nil
	}
	encloser, cover, err := p.closest(name)
	if err != nil {
		return Bogus, "", err
	}
	if cover == nil {
		return Bogus, "no closest encloser is proved", nil
	}
	wildcard := wildcardOf(encloser)
	n, err = p.at(wildcard)
	switch {
	case err != nil:
		return Bogus, "", err
	case n != nil && lacks(n.TypeBitMap, wildcard, t):
		if optOut(cover) {
			return Insecure, "", nil
		}
		return Secure, "", nil
	case n == nil && optOut(cover):
		// A zone that was left out (RFC 5155 section 8.6), or a name above such zones only.
		return Insecure, "", nil
	}
	return Bogus, "the NSEC3 prove that the name does not exist, not that it has no such records", nil
}

// noCloser3 is noCloser by NSEC3 (RFC 5155 section 8.8).
func (p *proof) noCloser3(name string, n int) (Security, string, error) {
	cover, err := p.over(ancestor(name, n+1))
	switch {
	case err != nil:
		return Bogus, "", err
	case cover == nil:
		return Bogus, "no NSEC3 proves that there is no closer name", nil
	case optOut(cover):
		return Insecure, "", nil
	}
	return Secure, "", nil
}
