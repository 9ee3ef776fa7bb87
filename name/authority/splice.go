package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A splice puts text in place of what stands from start to end.
type splice struct {
	start, end int
	text       string
	at         int    // the entry that it changes, or fresh
	rr         dns.RR // that the entry holds then, nil for none
	origin     string // in effect for a fresh one
	ttl        uint32
}

// fresh marks a splice that is an entry of its own. It stands before those that change an entry
// at the same place.
const fresh = -1

// splice returns the text with all cuts made, and the file that it is, of which only what has
// changed is read. The file is nil where one of the records does not come out as it should.
func (f *zoneFile) splice(cuts []splice) (*zoneFile, string) {
	j := &splicing{old: f, next: &zoneFile{
		zone: f.zone, name: f.name, origin: f.origin, ttl: f.ttl, entries: make([]entry, 0, len(f.entries)+len(cuts)),
	}}
	grow := 0
	for _, c := range cuts {
		grow += len(c.text) + 1
	}
	j.out.Grow(len(f.text) + grow)
	for k := 0; k < len(cuts); k++ {
		c := cuts[k]
		if c.at == fresh {
			j.keepBefore(c.start)
			j.insert(c)
			continue
		}
		n := k + 1
		for n < len(cuts) && cuts[n].at == c.at {
			n++
		}
		j.change(c.at, cuts[k:n])
		k = n - 1
	}
	j.keep(len(f.entries))
	j.copyTo(len(f.text))
	j.next.text = j.out.String()
	if j.bad {
		return nil, j.next.text
	}
	return j.next, j.next.text
}

// A splicing makes one file of another.
type splicing struct {
	old, next *zoneFile
	out       strings.Builder
	at        int // in the old text: up to here it is in the new one
	taken     int // so many entries are too
	lines     int // more in the new text so far
	bad       bool
}

func (j *splicing) copyTo(at int) {
	if at > j.at {
		j.out.WriteString(j.old.text[j.at:at])
		j.at = at
	}
}

// keep takes over the entries before the one of a number, as they are.
func (j *splicing) keep(before int) {
	shift := j.out.Len() - j.at
	j.next.entries = append(j.next.entries, j.old.entries[j.taken:before]...)
	if shift != 0 || j.lines != 0 {
		moved := j.next.entries[len(j.next.entries)-(before-j.taken):]
		for i := range moved {
			moved[i].start += shift
			moved[i].end += shift
			moved[i].line += j.lines
		}
	}
	j.taken = before
}

// keepBefore is keep for the entries that begin before a place.
func (j *splicing) keepBefore(at int) {
	n, _ := slices.BinarySearchFunc(j.old.entries[j.taken:], at, func(e entry, at int) int { return e.start - at })
	j.keep(j.taken + n)
	j.copyTo(at)
}

// insert writes a new entry.
func (j *splicing) insert(c splice) {
	n := len(j.next.entries)
	if s := j.out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		if n > 0 && j.next.entries[n-1].end == len(s) {
			j.next.entries[n-1].end++
		}
		j.out.WriteByte('\n')
	}
	start, line, from := j.out.Len(), 1, 0
	if n > 0 {
		line, from = j.next.entries[n-1].line, j.next.entries[n-1].start
	}
	line += strings.Count(j.out.String()[from:], "\n")
	j.out.WriteString(c.text)
	j.read(start, line, entry{origin: c.origin, ttl: c.ttl, behind: c.ttl}, c.rr)
	j.lines += strings.Count(c.text, "\n")
}

// change makes the splices within one entry.
func (j *splicing) change(i int, cuts []splice) {
	e := j.old.entries[i]
	j.keep(i)
	j.copyTo(e.start)
	j.taken = i + 1
	start, line, lines := j.out.Len(), e.line+j.lines, 0
	for _, c := range cuts {
		j.copyTo(c.start)
		j.out.WriteString(c.text)
		j.at = max(j.at, c.end)
		lines += strings.Count(c.text, "\n") - strings.Count(j.old.text[c.start:c.end], "\n")
	}
	j.copyTo(e.end)
	j.lines += lines
	if rr := cuts[len(cuts)-1].rr; rr != nil {
		j.read(start, line, e, rr)
	}
}

// read reads what was written from start on, where origin and TTLs are those of like: one entry,
// which is to be this record.
func (j *splicing) read(start, line int, like entry, want dns.RR) {
	raw := j.out.String()[start:]
	s := scanner{text: raw, line: line}
	if !s.next() || s.start != 0 || s.end != len(raw) || raw[0] == '$' {
		j.bad = true
		return
	}
	owner := ""
	if n := len(j.next.entries); n > 0 {
		owner = j.next.entries[n-1].owner
	}
	e, err := parseEntry(raw, owner, like.origin, like.ttl)
	if err != nil || !alike(e.rr, want) {
		j.bad = true
		return
	}
	e.start, e.end, e.line, e.behind = start, start+len(raw), line, like.behind
	j.next.entries = append(j.next.entries, e)
}

// standsAlone reports whether a file that was spliced reads for sure as it was put together: no
// other entry hangs on what has changed.
func (f *zoneFile) standsAlone(d delta) bool {
	soa := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }
	if slices.ContainsFunc(d.gone, soa) || slices.ContainsFunc(d.come, soa) {
		return false // it may hold the TTL of the others
	}
	for i, e := range f.entries {
		if !e.owned && (i == 0 || f.entries[i-1].owner != e.owner) {
			return false
		}
	}
	return true
}
