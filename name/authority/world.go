package authority

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// A world is all that is in service, made of one version of the repository and, for files that
// were broken in it, of earlier ones. It does not change.
type world struct {
	snapshot *repo.Snapshot
	zones    Zones
	keys     Keys
	keyTexts map[string]string // the last good text of each file of keys
	grants   Grants
	files    map[string]*servedFile // by zone
	problems []Problem
	journal  map[string][]change // by zone, oldest first
	doubtful map[string]uint32   // by zone, a serial under which secondaries may have another content
	signing  *Signing            // nil: nothing is signed
}

// A servedFile is the text that a zone in service was made of.
type servedFile struct {
	name   string
	text   string
	parsed *zoneFile
	zone   *Zone     // as in the text
	signed *Zone     // as served; the same where the zone is not signed
	epoch  int64     // of the signatures, -1 for none
	due    time.Time // when keys change, zero for never
	keys   time.Time // stamp of the file of keys
	alike  bool      // signed as by the process before
	stale  bool      // the repository has another text, which is broken
	since  time.Time
	steps  []change // that led here from what is in service, where nothing else did
	wide   bool     // one of them may reach further than its names
}

// A change is what leads from one serial of a zone to the next, for IXFR.
type change struct {
	from, to *dns.SOARecord
	delta
	size int
}

// maxJournal bounds the changes that are kept of one zone, in octets on the wire.
const maxJournal = 4 << 20

// next makes the world of another snapshot. Files that are the same stay as they are; a zone
// whose file is broken stays as it was.
func (w *world) next(s *repo.Snapshot, ready map[string]*servedFile, signing *Signing, now time.Time) *world {
	n := &world{snapshot: s, signing: signing, zones: Zones{}, keys: Keys{}, keyTexts: map[string]string{},
		files: map[string]*servedFile{}, journal: map[string][]change{}}
	for _, name := range s.Names() {
		switch kind, zone := kindOf(name); kind {
		case keyFile:
			n.loadKeys(w, name, zone, string(s.Files[name]))
		case grantFile:
			n.problems = append(n.problems, n.grants.add(name, zone, string(s.Files[name]))...)
		case zoneText:
			n.load(w, ready[zone], name, zone, string(s.Files[name]), now)
		case noFile:
			if !strings.Contains(name, "/") {
				n.problems = append(n.problems, Problem{File: name, Warning: true, Text: "the name of the file is no domain name"})
			}
		}
	}
	return n
}

// loadKeys takes the keys of a file, or of its last good text if it is broken: a slip of the pen
// does not lock the services out.
func (n *world) loadKeys(w *world, name, zone, text string) {
	problems := Keys{}.add(name, zone, text)
	n.problems = append(n.problems, problems...)
	if last, ok := w.keyTexts[name]; fatal(problems) && ok {
		text = last
	} else if fatal(problems) {
		return
	}
	n.keyTexts[name] = text
	for _, p := range n.keys.add(name, zone, text) {
		if !slices.Contains(problems, p) {
			n.problems = append(n.problems, p)
		}
	}
}

type fileKind int

const (
	noFile fileKind = iota
	zoneText
	keyFile
	grantFile
)

// kindOf tells files apart by their names. Folders are of no account, nor are hidden files.
func kindOf(name string) (fileKind, string) {
	if strings.Contains(name, "/") || strings.HasPrefix(name, ".") || !dns.IsName(name) || strings.HasSuffix(name, ".") {
		return noFile, ""
	}
	if zone, ok := keyFileZone(name, "_keys"); ok {
		return keyFile, zone
	}
	if zone, ok := keyFileZone(name, "_grants"); ok {
		return grantFile, zone
	}
	return zoneText, dns.Canonical(name)
}

// load puts one zone into service, or leaves the last good one there.
func (n *world) load(w *world, ready *servedFile, name, zone, text string, now time.Time) {
	old := w.files[zone]
	if old != nil && old.name == name && old.text == text {
		n.serve(zone, old, w)
		return
	}
	fresh, problems, err := read(ready, name, zone, text, now)
	if err == nil && !fatal(problems) && old != nil && dns.SerialNewer(old.zone.Serial(), fresh.zone.Serial()) {
		problems = append(problems, Problem{File: name, Text: fmt.Sprintf(
			"the serial went back from %d to %d", old.zone.Serial(), fresh.zone.Serial())})
	}
	if err == nil && !fatal(problems) {
		if err := fresh.sign(n.signing, old, now); err != nil {
			problems = append(problems, Problem{File: name, Text: "the zone cannot be signed: " + err.Error()})
		}
	}
	if err != nil || fatal(problems) {
		n.problems = append(n.problems, problems...)
		if old != nil {
			kept := *old
			kept.stale = true
			n.serve(zone, &kept, w)
		}
		return
	}
	if old != nil && fresh.zone.Serial() == old.zone.Serial() && !sameSet(fresh.zone.Records(), old.zone.Records()) {
		problems = append(problems, Problem{File: name, Warning: true, Text: "the zone has changed, but not its serial: secondaries will not notice"})
	}
	n.problems = append(n.problems, problems...)
	n.serve(zone, fresh, w)
	if old != nil {
		n.recordBetween(zone, old, fresh, nil)
	} else {
		n.doubt(zone, fresh.zone.Serial()) // who knows what an earlier process served
	}
}

// advance makes the world after commits of ours: ready are the files that they have changed, by
// zone, and all else is as it was. It is nil where one of them cannot be served so.
func (w *world) advance(s *repo.Snapshot, ready map[string]*servedFile, now time.Time) *world {
	n := *w
	n.snapshot = s
	n.zones, n.files, n.journal = maps.Clone(w.zones), maps.Clone(w.files), maps.Clone(w.journal)
	for zone, f := range ready {
		old := w.files[zone]
		fresh := *f
		fresh.since, fresh.steps = now, nil
		if old == nil || fresh.sign(w.signing, old, now) != nil {
			return nil
		}
		n.serve(zone, &fresh, w)
		if fresh.epoch < 0 && len(f.steps) > 0 {
			for _, c := range f.steps {
				n.record(zone, c)
			}
		} else {
			n.recordBetween(zone, old, &fresh, f)
		}
	}
	return &n
}

// read makes a file of its text, unless it is ready.
func read(ready *servedFile, name, zone, text string, now time.Time) (*servedFile, []Problem, error) {
	if ready != nil && ready.name == name && ready.text == text {
		f := *ready
		f.since, f.steps = now, nil
		return &f, nil, nil
	}
	f := &servedFile{name: name, text: text, since: now}
	var problems []Problem
	var err error
	if f.parsed, problems = parseFile(name, zone, text); !fatal(problems) {
		f.zone, problems, err = f.parsed.build(problems)
	}
	return f, problems, err
}

// sign makes what is served of the zone.
func (f *servedFile) sign(s *Signing, old *servedFile, now time.Time) (err error) {
	f.signed, f.epoch = f.zone, -1
	if !s.signs(f.zone.Name) {
		return nil
	}
	var before *Zone
	if old != nil {
		before = old.signed
	}
	if old != nil && old.epoch >= 0 && !old.isDue(s, now) && before.signer.ttl == publishedTTL(f.zone.soa) {
		f.signed, f.epoch, f.keys, f.due = before.signer.sign(f.zone), old.epoch, old.keys, old.due
		return nil
	}
	last := s.lastSigned(f.zone.Name)
	if f.signed, f.epoch, err = s.sign(f.zone, before, now); err != nil {
		return err
	}
	f.alike = last != "" && last == s.lastSigned(f.zone.Name)
	f.keys = s.stamp(f.zone.Name)
	f.due, err = s.due(f.zone.Name, now)
	return err
}

// build makes the zone of a file that could be read.
func (f *zoneFile) build(problems []Problem) (*Zone, []Problem, error) {
	outside := 0
	for _, e := range f.entries {
		if !dns.IsSubdomain(f.zone, e.rr.Header().Name) {
			outside++
		}
	}
	if outside > 0 {
		problems = append(problems, Problem{File: f.name, Warning: true, Text: fmt.Sprintf("ignoring %d records out of the zone", outside)})
	}
	z, err := NewZone(f.zone, f.records())
	if err == nil {
		err = z.aliasesAlone()
	}
	if err != nil {
		return nil, append(problems, Problem{File: f.name, Text: err.Error()}), err
	}
	return z, problems, nil
}

// aliasesAlone is RFC 1034 section 3.6.2: without it there is no telling what to answer.
func (z *Zone) aliasesAlone() error {
	for _, name := range z.names {
		if err := z.nodes[name].aliasAlone(); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) aliasAlone() error {
	for _, t := range []uint16{dns.TypeCNAME, dns.TypeDNAME} {
		if len(n.set(t)) > 1 {
			return fmt.Errorf("%s has more than one %s", n.name, dns.TypeName(t))
		}
	}
	if len(n.set(dns.TypeCNAME)) == 1 && len(n.sets) > 1 {
		return fmt.Errorf("%s has a CNAME, and also other records", n.name)
	}
	return nil
}

func fatal(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

func (n *world) serve(zone string, f *servedFile, w *world) {
	n.files[zone] = f
	n.zones[zone] = f.signed
	n.journal[zone] = w.journal[zone]
	if serial, ok := w.doubtful[zone]; ok {
		n.doubt(zone, serial)
	}
}

// record adds a change to the journal of a zone, and drops what is too much or no longer leads
// here. A serial that has stood for two contents leads nowhere: a secondary may have the other one.
func (n *world) record(zone string, c change) {
	if c.from.Serial == c.to.Serial {
		if len(c.gone)+len(c.come) > 0 {
			n.journal[zone] = nil
			n.doubt(zone, c.to.Serial)
		}
		return
	}
	if serial, ok := n.doubtful[zone]; ok && serial == c.from.Serial {
		n.journal[zone] = nil
		return
	}
	j := append(slices.Clone(n.journal[zone]), c)
	size := 0
	for i, c := range slices.Backward(j) {
		if size += c.size + 200; size > maxJournal {
			j = j[i+1:]
			break
		}
	}
	n.journal[zone] = j
}

// doubt has no increment begin at a serial.
func (n *world) doubt(zone string, serial uint32) {
	if have, ok := n.doubtful[zone]; ok && have == serial {
		return
	}
	n.doubtful = maps.Clone(n.doubtful) // another world may have it too
	if n.doubtful == nil {
		n.doubtful = map[string]uint32{}
	}
	n.doubtful[zone] = serial
}

// A ZoneStatus is what a zone looks like in service.
type ZoneStatus struct {
	Name    string // without a final dot
	Serial  uint32
	Records int
	Since   time.Time // when this text came into service
	Stale   bool      // the repository has a newer text that is broken
}

func (w *world) status() []ZoneStatus {
	var out []ZoneStatus
	for name, f := range w.files {
		out = append(out, ZoneStatus{dns.Host(name), f.zone.Serial(), f.zone.Len(), f.since, f.stale})
	}
	slices.SortFunc(out, func(a, b ZoneStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
