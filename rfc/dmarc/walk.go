package dmarc

import (
	"context"
	"strings"

	"golang.org/x/net/publicsuffix"

	"stagecoach/rfc/dns"
)

// maxLabels bounds the names of a tree walk below the first (RFC 9989 section 4.10).
const maxLabels = 7

// A walker finds records, each name being asked for once.
type walker struct {
	x        dns.Exchanger
	suffixes bool
	known    map[string]answer
}

type answer struct {
	record *Record // nil when there is none
	err    error   // temporary
}

// record returns the one record at domain, nil if there is none or more than one. An error is
// temporary.
func (w *walker) record(ctx context.Context, domain string) (*Record, error) {
	if a, ok := w.known[domain]; ok {
		return a.record, a.err
	}
	var a answer
	texts, err := dns.TXT(ctx, w.x, "_dmarc."+domain)
	if err != nil && !dns.IsNegative(err) {
		a.err = err
	}
	n := 0
	for _, text := range texts {
		r, err := parseRecord(text)
		if err != nil {
			continue
		}
		a.record = &r
		n++
	}
	if n > 1 {
		a.record = nil
	}
	if a.record != nil && a.record.PSD == PSDUnknown && w.isSuffix(domain) {
		a.record.PSD = PSDYes
	}
	w.known[domain] = a
	return a.record, a.err
}

// A level is a name on the walk that has a record.
type level struct {
	domain string
	record *Record
}

// walk climbs from domain, and returns the records that it met, the longest name first.
func (w *walker) walk(ctx context.Context, domain string) ([]level, error) {
	var levels []level
	for name := domain; name != ""; name = above(name) {
		r, err := w.record(ctx, name)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		levels = append(levels, level{name, r})
		if r.PSD != PSDUnknown {
			break
		}
	}
	return levels, nil
}

// above is the next target of a tree walk, "" at its end.
func above(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	for strings.Count(rest, ".") >= maxLabels {
		_, rest, _ = strings.Cut(rest, ".")
	}
	return rest
}

// organization returns the Organizational Domain of domain (RFC 9989 section 4.10.2), given
// the records of a walk from it.
func (w *walker) organization(domain string, levels []level) string {
	for _, l := range levels {
		switch {
		case l.record.PSD == PSDNo:
			return l.domain
		case l.record.PSD == PSDYes && l.domain != domain:
			return oneBelow(domain, l.domain)
		}
	}
	if n := len(levels); n > 0 {
		return levels[n-1].domain
	}
	if w.suffixes {
		if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
			return org
		}
	}
	return domain
}

// oneBelow returns the name one label below suffix on the way to domain.
func oneBelow(domain, suffix string) string {
	rest := strings.TrimSuffix(domain, "."+suffix)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + suffix
}

// isSuffix reports whether the public suffix list knows domain as a registry's.
func (w *walker) isSuffix(domain string) bool {
	if !w.suffixes {
		return false
	}
	s, icann := publicsuffix.PublicSuffix(domain)
	return icann && s == domain
}
