package authority

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stagecoach/rfc/dns"
)

// A delta is what changes in a zone, besides its serial.
type delta struct {
	gone, come []dns.RR
}

func (d delta) empty() bool { return len(d.gone)+len(d.come) == 0 }

// edit returns the file with the change made and the serial set: records that go take their
// lines with them, records that come stand behind those of the same name or at the end, and
// all else stays as it was. want is the zone that must come out, by after. What cannot be done so is written anew, in the form of the
// reference.
func (f *zoneFile) edit(d delta, serial uint32, want *Zone) (*zoneFile, error) {
	if back := f.read(f.apply(d, serial), want); back != nil {
		return back, nil
	}
	if back := f.read(render(want), want); back != nil {
		return back, nil
	}
	return nil, fmt.Errorf("%s: the change cannot be written down", f.name)
}

// after is the zone that must come out.
func (f *zoneFile) after(d delta, serial uint32) (*Zone, error) {
	var rrs []dns.RR
	for _, rr := range f.records() {
		if !slices.ContainsFunc(d.gone, func(g dns.RR) bool { return dns.Equal(g, rr) }) {
			rrs = append(rrs, rr)
		}
	}
	for _, rr := range d.come {
		rrs = append(rrs, dns.Copy(rr))
	}
	for i, rr := range rrs {
		if soa, ok := rr.(*dns.SOARecord); ok {
			next := *soa
			next.Serial = serial
			rrs[i] = &next
		}
	}
	return NewZone(f.zone, rrs)
}

// read parses text, and returns nil unless it says what it should.
func (f *zoneFile) read(text string, want *Zone) *zoneFile {
	back, problems := parseFile(f.name, f.zone, text)
	if fatal(problems) {
		return nil
	}
	z, err := NewZone(f.zone, back.records())
	if err != nil || !slices.EqualFunc(z.Records(), want.Records(), alike) && !sameSet(z.Records(), want.Records()) {
		return nil
	}
	return back
}

// sameSet compares records as text, in any order.
func sameSet(a, b []dns.RR) bool {
	lines := func(rrs []dns.RR) []string {
		out := make([]string, len(rrs))
		for i, rr := range rrs {
			out[i] = rr.String()
		}
		slices.Sort(out)
		return out
	}
	return len(a) == len(b) && slices.Equal(lines(a), lines(b))
}

// A splice puts text in place of what stands from start to end.
type splice struct {
	start, end int
	text       string
}

func (f *zoneFile) apply(d delta, serial uint32) string {
	gone := make([]bool, len(f.entries))
	come := slices.Clone(d.come)
	var cuts []splice
	for i, e := range f.entries {
		if _, ok := e.rr.(*dns.SOARecord); ok && dns.Canonical(e.rr.Header().Name) == f.zone {
			cuts = append(cuts, f.serialSplice(e, serial))
			continue
		}
		if slices.ContainsFunc(d.gone, func(rr dns.RR) bool { return dns.Equal(rr, e.rr) }) {
			if j := slices.IndexFunc(come, func(rr dns.RR) bool { return sameSetOf(rr, e.rr) }); j >= 0 {
				cuts = append(cuts, splice{e.start, e.end, e.with(come[j])})
				come = slices.Delete(come, j, j+1)
				continue
			}
			gone[i] = true
			cuts = append(cuts, splice{e.start, e.end, ""})
		}
	}
	cuts = append(cuts, f.keepOwners(gone)...)
	for _, rr := range come {
		cuts = append(cuts, f.insertion(rr))
	}
	slices.SortStableFunc(cuts, func(a, b splice) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.end - b.end
	})
	return f.cutAndPaste(cuts)
}

// sameSetOf reports whether two records are of one RRset.
func sameSetOf(a, b dns.RR) bool {
	return a.Header().Rrtype == b.Header().Rrtype && dns.Canonical(a.Header().Name) == dns.Canonical(b.Header().Name)
}

// with returns the line of another record of the same RRset, in place of e.
func (e entry) with(rr dns.RR) string {
	s := line(rr, e.origin, e.ttl)
	if !e.owned {
		_, s, _ = strings.Cut(s, "\t")
		s = "\t" + s
	}
	return s
}

func (f *zoneFile) cutAndPaste(cuts []splice) string {
	var b strings.Builder
	at := 0
	for _, c := range cuts {
		if c.start > at {
			b.WriteString(f.text[at:c.start])
			at = c.start
		}
		if c.text != "" && c.start == c.end && b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(c.text)
		at = max(at, c.end)
	}
	b.WriteString(f.text[at:])
	return b.String()
}

// serialSplice replaces the digits of the serial: the third word of the data of the SOA.
func (f *zoneFile) serialSplice(e entry, serial uint32) splice {
	words := wordsOf(f.text, e.start, e.end)
	for i, w := range words {
		if strings.EqualFold(f.text[w[0]:w[1]], "SOA") && i+3 < len(words) && (i > 0 || !e.owned) {
			return splice{words[i+3][0], words[i+3][1], strconv.FormatUint(uint64(serial), 10)}
		}
	}
	return splice{e.start, e.start, ""} // it will not read back, and the file is written anew
}

// wordsOf returns where the words of an entry are, without comments and parentheses.
func wordsOf(text string, start, end int) (words [][2]int) {
	for i := start; i < end; {
		switch c := text[i]; {
		case strings.IndexByte(" \t\r\n()", c) >= 0:
			i++
		case c == ';':
			for i < end && text[i] != '\n' {
				i++
			}
		default:
			j := i
			for quoted := false; j < end && (quoted || strings.IndexByte(" \t\r\n();", text[j]) < 0); j++ {
				switch text[j] {
				case '\\':
					j++
				case '"':
					quoted = !quoted
				}
			}
			j = min(j, end)
			words = append(words, [2]int{i, j})
			i = j
		}
	}
	return words
}

// keepOwners writes the name out in entries that took it over from one that goes.
func (f *zoneFile) keepOwners(gone []bool) []splice {
	var out []splice
	lost := false
	for i, e := range f.entries {
		switch {
		case gone[i]:
			lost = lost && !e.owned || e.owned
		case e.owned:
			lost = false
		case lost:
			out = append(out, splice{e.start, e.start, relative(e.rr.Header().Name, e.origin)})
			lost = false
		}
	}
	return out
}

// insertion puts a record behind the last one of its name, else at the end.
func (f *zoneFile) insertion(rr dns.RR) splice {
	at, origin, ttl := len(f.text), f.zone, uint32(dns.DefaultTTL)
	owner := dns.Canonical(rr.Header().Name)
	if n := len(f.entries); n > 0 {
		origin, ttl = f.entries[n-1].origin, f.entries[n-1].ttl
	}
	for _, e := range slices.Backward(f.entries) {
		if dns.Canonical(e.rr.Header().Name) == owner {
			at, origin, ttl = e.end, e.origin, e.ttl
			break
		}
	}
	return splice{at, at, line(rr, origin, ttl)}
}

// line writes a record as the reference does: tabs between, no class, no TTL where it is the
// one in effect.
func line(rr dns.RR, origin string, ttl uint32) string {
	h := rr.Header()
	s := relative(h.Name, origin)
	if h.Ttl != ttl {
		s += "\t" + strconv.FormatUint(uint64(h.Ttl), 10)
	}
	return s + "\t" + dns.TypeName(h.Rrtype) + "\t" + dns.Data(rr) + "\n"
}

// relative writes a name as it stands below origin.
func relative(name, origin string) string {
	switch {
	case name == origin:
		return "@"
	case origin != "." && strings.HasSuffix(name, "."+origin):
		return strings.TrimSuffix(name, "."+origin)
	}
	return name
}

// render writes a whole zone, the SOA first and the rest in order.
func render(z *Zone) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL %d\n", z.Name, z.soa.Minttl)
	for _, rr := range z.Records() {
		b.WriteString(line(rr, z.Name, z.soa.Minttl))
	}
	return b.String()
}
