package authority

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stagecoach/rfc/dns"
)

// A Problem is what is wrong with a file, or looks so.
type Problem struct {
	File    string
	Line    int  // 0 where it is none in particular
	Warning bool // the file is used all the same
	Text    string
}

// String returns FILE:LINE: TEXT.
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Warning {
		return s + ": warning: " + p.Text
	}
	return s + ": " + p.Text
}

// Error is String, for a problem that is returned as an error.
func (p Problem) Error() string { return p.String() }

// A zoneFile is zone text with the place of each record in it, so that one can be changed and
// the rest stays as people wrote it.
type zoneFile struct {
	zone    string // canonical
	name    string // of the file
	text    string
	entries []entry
	origin  string // in effect at the end
	ttl     uint32
}

// An entry is a record in zone text.
type entry struct {
	start, end int // in the text; the line ends are within
	line       int
	owner      string // canonical
	owned      bool   // the owner is written out, not taken over from the entry before
	origin     string // in effect
	ttl        uint32 // what a record without one gets here
	behind     uint32 // and behind it, which a SOA may change
	rr         dns.RR
}

// parseFile reads zone text. The first problem that is no warning ends it.
func parseFile(name, zone, text string) (*zoneFile, []Problem) {
	f := &zoneFile{zone: dns.Canonical(zone), name: name, text: text}
	p := &fileParser{file: f, origin: f.zone, ttl: dns.DefaultTTL}
	s := scanner{text: text, line: 1}
	for s.next() {
		if err := p.entry(s.start, s.end, s.at); err != nil {
			return f, append(p.problems, Problem{File: name, Line: s.at, Text: err.Error()})
		}
	}
	if s.err != "" {
		p.problems = append(p.problems, Problem{File: name, Line: s.at, Text: s.err})
	}
	f.origin, f.ttl = p.origin, p.ttl
	return f, p.problems
}

type fileParser struct {
	file     *zoneFile
	origin   string
	ttl      uint32
	fixed    bool   // $TTL was seen
	owner    string // of the last entry
	problems []Problem
}

func (p *fileParser) entry(start, end, line int) error {
	raw := p.file.text[start:end]
	if raw[0] == '$' {
		return p.directive(raw)
	}
	e, err := parseEntry(raw, p.owner, p.origin, p.ttl)
	if err != nil {
		return err
	}
	p.owner = e.owner
	if soa, ok := e.rr.(*dns.SOARecord); ok && !p.fixed {
		p.ttl = soa.Minttl
	}
	e.start, e.end, e.line, e.behind = start, end, line, p.ttl
	p.file.entries = append(p.file.entries, e)
	return nil
}

// parseEntry reads a record whose name may be taken over from the one before, "" for none.
func parseEntry(raw, before, origin string, ttl uint32) (entry, error) {
	e := entry{owned: raw[0] != ' ' && raw[0] != '\t', origin: origin, ttl: ttl}
	source := raw
	if !e.owned {
		if before == "" {
			return e, errors.New("no name to take over from the record before")
		}
		source = before + raw
	}
	rr, err := dns.ParseEntry(source, origin, ttl)
	if err != nil {
		return e, err
	}
	h := rr.Header()
	switch {
	case h.Class != dns.ClassINET:
		return e, fmt.Errorf("%s is not of class IN", h.Name)
	case h.Ttl > 1<<31-1:
		return e, fmt.Errorf("the TTL of %s is over 2^31-1", h.Name)
	}
	e.owner, e.rr = dns.Canonical(h.Name), rr
	return e, nil
}

func (p *fileParser) directive(raw string) error {
	code, _, _ := strings.Cut(raw, ";")
	words := strings.Fields(code)
	if len(words) != 2 {
		return fmt.Errorf("%s wants one value", words[0])
	}
	switch strings.ToUpper(words[0]) {
	case "$ORIGIN":
		rr, err := dns.ParseEntry(words[1]+" 0 A 192.0.2.1", p.origin, 0)
		if err != nil {
			return fmt.Errorf("$ORIGIN: %w", err)
		}
		p.origin = dns.Canonical(rr.Header().Name)
	case "$TTL":
		rr, err := dns.ParseEntry(". "+words[1]+" A 192.0.2.1", ".", 0)
		if err != nil {
			return fmt.Errorf("$TTL: %w", err)
		}
		p.ttl, p.fixed = rr.Header().Ttl, true
	default:
		return fmt.Errorf("%s is not supported", words[0])
	}
	return nil
}

// A scanner cuts zone text into entries: at line ends that are not within quotes or
// parentheses. Empty lines and those with a comment alone are passed over.
type scanner struct {
	text       string
	pos, line  int
	start, end int // of the entry
	at         int // its line
	err        string
}

func (s *scanner) next() bool {
	for s.pos < len(s.text) && s.err == "" {
		if s.one() {
			return true
		}
	}
	return false
}

// one reads up to the end of an entry and reports whether there is something in it.
func (s *scanner) one() bool {
	s.start, s.at = s.pos, s.line
	depth, quoted, something := 0, false, false
	for ; s.pos < len(s.text); s.pos++ {
		c := s.text[s.pos]
		switch {
		case c == '\n':
			s.line++
			if quoted {
				s.err = "a quoted text does not end on its line"
				return false
			}
			if depth == 0 {
				s.pos++
				s.end = s.pos
				return something
			}
		case c == '\\':
			something = true
			if s.pos+1 < len(s.text) && s.text[s.pos+1] != '\n' {
				s.pos++
			}
		case c == '"':
			quoted, something = !quoted, true
		case quoted:
		case c == ';':
			s.pos = s.lineEnd() - 1
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				s.err = "a closing parenthesis without an opening one"
				return false
			}
		case c != ' ' && c != '\t' && c != '\r':
			something = true
		}
	}
	s.end = s.pos
	if quoted || depth > 0 {
		s.err = "the file ends within quotes or parentheses"
		return false
	}
	return something
}

func (s *scanner) lineEnd() int {
	if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
		return s.pos + i
	}
	return len(s.text)
}

// records returns the records of the zone. Those outside of it are left out but for the
// addresses of name servers, which the reference keeps as glue; and they too are of no use to
// an answer, so they are only not complained of.
func (f *zoneFile) records() []dns.RR {
	out := make([]dns.RR, 0, len(f.entries))
	for _, e := range f.entries {
		if dns.IsSubdomain(f.zone, e.rr.Header().Name) {
			out = append(out, e.rr)
		}
	}
	return out
}
