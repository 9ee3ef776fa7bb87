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
	cuts := f.cuts(d, serial)
	next, text := f.splice(cuts)
	if next != nil && next.standsAlone(d) {
		return next, nil
	}
	if back := f.read(text, want); back != nil {
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

// cuts returns what is to be done to the text, in its order.
func (f *zoneFile) cuts(d delta, serial uint32) []splice {
	gone := map[string][]dns.RR{}
	for _, rr := range d.gone {
		owner := dns.Canonical(rr.Header().Name)
		gone[owner] = append(gone[owner], rr)
	}
	come := slices.Clone(d.come)
	var cuts []splice
	var removed []int
	for i, e := range f.entries {
		if len(gone[e.owner]) == 0 && e.owner != f.zone { // nearly all
			continue
		}
		takes := func(rr dns.RR) bool { return sameSetOf(rr, e.rr) }
		_, soa := e.rr.(*dns.SOARecord)
		switch j := slices.IndexFunc(come, takes); {
		case soa && e.owner == f.zone && j >= 0:
			rr := dns.Copy(come[j]).(*dns.SOARecord)
			rr.Serial = serial
			cuts = append(cuts, splice{start: e.start, end: e.end, text: e.with(rr), at: i, rr: rr})
			come = slices.Delete(come, j, j+1)
		case soa && e.owner == f.zone:
			cuts = append(cuts, f.serialSplice(i, serial))
		case !slices.ContainsFunc(gone[e.owner], func(rr dns.RR) bool { return dns.Equal(rr, e.rr) }):
		case j >= 0:
			cuts = append(cuts, splice{start: e.start, end: e.end, text: e.with(come[j]), at: i, rr: come[j]})
			come = slices.Delete(come, j, j+1)
		default:
			removed = append(removed, i)
			cuts = append(cuts, splice{start: e.start, end: e.end, at: i})
		}
	}
	cuts = append(cuts, f.keepOwners(removed)...)
	cuts = append(cuts, f.insertions(come)...)
	slices.SortStableFunc(cuts, func(a, b splice) int {
		if a.start != b.start {
			return a.start - b.start
		}
		if a.at != b.at && (a.at == fresh || b.at == fresh) {
			return a.at - b.at
		}
		return a.end - b.end
	})
	return cuts
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

// serialSplice replaces the digits of the serial: the third word of the data of the SOA.
func (f *zoneFile) serialSplice(i int, serial uint32) splice {
	e := f.entries[i]
	want := *e.rr.(*dns.SOARecord)
	want.Serial = serial
	words := wordsOf(f.text, e.start, e.end)
	for k, w := range words {
		if strings.EqualFold(f.text[w[0]:w[1]], "SOA") && k+3 < len(words) && (k > 0 || !e.owned) {
			return splice{start: words[k+3][0], end: words[k+3][1], text: strconv.FormatUint(uint64(serial), 10), at: i, rr: &want}
		}
	}
	return splice{start: e.start, end: e.start, at: i, rr: &want} // it will not read back, and the file is written anew
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
func (f *zoneFile) keepOwners(removed []int) []splice {
	var out []splice
	for k := 0; k < len(removed); {
		i := removed[k]
		lost := f.entries[i].owned
		for i < len(f.entries) && k < len(removed) && removed[k] == i { // a run of those that go
			lost = lost || f.entries[i].owned
			i, k = i+1, k+1
		}
		if lost && i < len(f.entries) && !f.entries[i].owned {
			e := f.entries[i]
			out = append(out, splice{start: e.start, end: e.start, text: relative(e.owner, e.origin), at: i, rr: e.rr})
		}
	}
	return out
}

// insertions puts each record behind the last one of its name, else at the end.
func (f *zoneFile) insertions(come []dns.RR) []splice {
	last := map[string]int{}
	for _, rr := range come {
		last[dns.Canonical(rr.Header().Name)] = -1
	}
	for i, e := range f.entries {
		if len(last) == 0 {
			break
		}
		if _, ok := last[e.owner]; ok {
			last[e.owner] = i
		}
	}
	var out []splice
	for _, rr := range come {
		c := splice{start: len(f.text), at: fresh, rr: rr, origin: f.origin, ttl: f.ttl}
		if i := last[dns.Canonical(rr.Header().Name)]; i >= 0 {
			e := f.entries[i]
			c.start, c.origin, c.ttl = e.end, e.origin, e.behind
		}
		c.end, c.text = c.start, line(rr, c.origin, c.ttl)
		out = append(out, c)
	}
	return out
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
