package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// Grants narrow what keys with the right _update may write. They stand in files beside the
// _keys files: x.net._grants for the zone x.net, _grants for all. A line is
//
//	KEY  TYPES  NAMES        ; a comment
//
// with commas between several types or names. KEY is the full name of a key below the zone.
// TYPES are types of records, or "*" for all. NAMES are relative to the zone of the file unless
// they end in a dot; "@" is the zone itself, and a label "*" at the beginning or the end stands
// for one label or more. So
//
//	signer._update.x.net   TXT       *._domainkey
//	client._update.x.net   TLSA      _letsencrypt._tcp.*
//	issuer._update.x.net   TLSA,TXT  _letsencrypt._tcp.*,_acme-challenge,_acme-challenge.*
//
// A key that has a line may write only what one of its lines allows; deleting counts as
// writing, and to delete all types at a name takes "*". A key without a line may write
// everything. As long as a file cannot be read, the keys below its zone may write nothing.
type Grants struct {
	lines  map[string][]grant // by key
	broken []string           // zones of the files that cannot be read
}

type grant struct {
	types []uint16 // nil for all
	names []pattern
}

// A pattern is one name, or many by their beginning or their end.
type pattern struct {
	name string // canonical; the part that is fixed
	kind patternKind
	zone string // names have to be within it
}

type patternKind int

const (
	exactly patternKind = iota
	below               // *.NAME
	begin               // NAME.*
	any0                // *
)

// add reads a file of grants.
func (g *Grants) add(file, zone, text string) []Problem {
	var problems []Problem
	if g.lines == nil {
		g.lines = map[string][]grant{}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		code, _, _ := strings.Cut(line, ";")
		words := strings.Fields(code)
		if len(words) == 0 {
			continue
		}
		if err := g.line(zone, words); err != nil {
			problems = append(problems, Problem{File: file, Line: n, Text: err.Error()})
		}
	}
	if problems != nil {
		g.broken = append(g.broken, zone)
	}
	return problems
}

func (g *Grants) line(zone string, words []string) error {
	if len(words) != 3 {
		return errors.New("want KEY TYPES NAMES, with commas and no blanks between several")
	}
	key := dns.Canonical(words[0])
	if !dns.IsName(key) || !dns.IsSubdomain(zone, key) {
		return fmt.Errorf("%s is no key of this zone", words[0])
	}
	var one grant
	for t := range strings.SplitSeq(words[1], ",") {
		n, ok := dns.ParseType(t)
		switch {
		case t == "*" && words[1] == "*":
		case !ok:
			return fmt.Errorf("%s is no type", t)
		default:
			one.types = append(one.types, n)
		}
	}
	for s := range strings.SplitSeq(words[2], ",") {
		p, err := parsePattern(s, zone)
		if err != nil {
			return err
		}
		one.names = append(one.names, p)
	}
	g.lines[key] = append(g.lines[key], one)
	return nil
}

func parsePattern(s, zone string) (pattern, error) {
	p := pattern{zone: zone}
	absolute := strings.HasSuffix(s, ".")
	if absolute {
		s = strings.TrimSuffix(s, ".")
	}
	switch {
	case s == "*":
		p.kind = any0
		return p, nil
	case strings.HasPrefix(s, "*."):
		p.kind, s = below, s[2:]
	case strings.HasSuffix(s, ".*") && !absolute:
		p.kind, p.name = begin, strings.ToLower(strings.TrimSuffix(s, ".*"))+"."
		if strings.Contains(p.name, "*") || !dns.IsName(p.name) {
			return p, fmt.Errorf("%s is no pattern of names", s)
		}
		return p, nil
	}
	switch {
	case s == "@" && !absolute:
		p.name = zone
	case absolute || zone == ".":
		p.name = dns.Canonical(s)
	default:
		p.name = dns.Canonical(s + "." + zone)
	}
	if strings.Contains(s, "*") || s == "" || !dns.IsName(p.name) || !dns.IsSubdomain(zone, p.name) {
		return p, fmt.Errorf("%s is no pattern of names in this zone", s)
	}
	return p, nil
}

func (p pattern) matches(name string) bool {
	if !dns.IsSubdomain(p.zone, name) {
		return false
	}
	switch p.kind {
	case any0:
		return true
	case below:
		return name != p.name && dns.IsSubdomain(p.name, name)
	case begin:
		rest, ok := strings.CutPrefix(name, p.name)
		return ok && rest != dns.Canonical(p.zone) && dns.IsSubdomain(p.zone, rest)
	}
	return name == p.name
}

// allows reports whether a key may write records of a type at name. Type ANY, for the deletion
// of all types, takes a grant of all.
func (g *Grants) allows(key, name string, t uint16) bool {
	for _, zone := range g.broken {
		if dns.IsSubdomain(zone, key) {
			return false
		}
	}
	lines, narrowed := g.lines[key]
	if !narrowed {
		return true
	}
	return slices.ContainsFunc(lines, func(l grant) bool {
		typed := l.types == nil || slices.Contains(l.types, t)
		return typed && slices.ContainsFunc(l.names, func(p pattern) bool { return p.matches(name) })
	})
}
