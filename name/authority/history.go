package authority

import (
	"context"
	"maps"
	"slices"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// historian is a Repository that knows how its files were before. *repo.Remote is one.
type historian interface {
	History(ctx context.Context, s *repo.Snapshot, n int) ([]map[string][]byte, error)
}

var _ historian = (*repo.Remote)(nil)

// maxHistory is how many commits are looked at for the journal of a server that starts.
const maxHistory = 200

// maxHistoryWork bounds the names that are compared for it, so that large zones do not hold up
// the start.
const maxHistoryWork = 300_000

// remember makes the journals of zones from the history of the repository, so that secondaries
// get increments from a server that has just started. A zone that is signed has no journal
// then: its signatures are not in the repository. But increments may begin at its serial, if it
// is signed now as it was before, and no other text ever had that serial.
func (w *world) remember(ctx context.Context, h historian) error {
	steps, err := h.History(ctx, w.snapshot, maxHistory)
	if err != nil {
		return err
	}
	newer := map[string]*Zone{} // by zone, as far back as we are; nil is the end of it
	doubt := maps.Clone(w.doubtful)
	for zone, f := range w.files {
		if !f.stale && (f.epoch < 0 || f.alike) {
			newer[zone] = f.zone
			delete(w.doubtful, zone)
		}
	}
	size, work := map[string]int{}, 0
	for _, step := range steps {
		for name, text := range step {
			kind, zone := kindOf(name)
			now := newer[zone]
			if kind != zoneText || now == nil {
				continue
			}
			if work += len(now.nodes); work > maxHistoryWork {
				w.doubtful = doubt
				return nil
			}
			before := oldZone(name, zone, text)
			if before == nil || !dns.SerialNewer(now.Serial(), before.Serial()) {
				if before != nil && before.Serial() == now.Serial() && !sameSet(before.Records(), now.Records()) {
					w.forked(zone, now.Serial())
				}
				if before == nil || !sameSet(before.Records(), now.Records()) {
					delete(newer, zone)
				}
				continue
			}
			if w.files[zone].epoch >= 0 {
				delete(newer, zone)
				continue
			}
			c := diff(before, now)
			if size[zone] += c.size + 200; size[zone] > maxJournal {
				delete(newer, zone)
				continue
			}
			w.journal[zone] = slices.Insert(w.journal[zone], 0, c)
			newer[zone] = before
		}
	}
	return nil
}

// forked is for a serial that two versions of a zone have had.
func (w *world) forked(zone string, serial uint32) {
	if j := w.journal[zone]; len(j) > 0 {
		w.journal[zone] = j[1:]
		return
	}
	w.doubt(zone, serial)
}

// oldZone reads a version of a zone, nil if it was none.
func oldZone(name, zone string, text []byte) *Zone {
	f, problems := parseFile(name, zone, string(text))
	if fatal(problems) {
		return nil
	}
	z, _, err := f.build(nil)
	if err != nil {
		return nil
	}
	return z
}
