package authority

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"stagecoach/rfc/dns"
)

// A memory keeps the answers of one zone as they were sent, so that the next client gets them
// without being worked out and packed anew. It belongs to one version of the zone, and goes
// with it: nothing in it ever gets old. Two generations bound its size: what is asked for comes
// into the young one, which becomes the old one when it is full, in place of the old one of
// before.
type memory struct {
	limit  int // of one generation of one shard, in octets
	shards [memoryShards]struct {
		sync.Mutex
		young, old generation
		used       int // by the young one
	}
}

const memoryShards = 8

// A generation has responses by their question, one map for those without signatures and one
// for those with. The key is part of the response.
type generation [2]map[string]string

// memoryOverhead is what a response costs besides its octets.
const memoryOverhead = 64

// newMemory returns an empty memory, whose size is what a zone with so many names deserves.
func newMemory(names int) *memory {
	return &memory{limit: min(64<<10+640*names, 128<<20) / 2 / memoryShards}
}

func (m *memory) shard(key []byte) int {
	h := uint32(2166136261) // FNV-1a
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h>>16) % memoryShards
}

func flavour(secure bool) int {
	if secure {
		return 1
	}
	return 0
}

// recall returns what the zone said to a question, "" for nothing yet.
func (m *memory) recall(key []byte, secure bool) string {
	s, f := &m.shards[m.shard(key)], flavour(secure)
	s.Lock()
	defer s.Unlock()
	if response := s.young[f][string(key)]; response != "" {
		return response
	}
	response := s.old[f][string(key)]
	if response != "" {
		m.keep(m.shard(key), f, response, len(key))
	}
	return response
}

// remember keeps a response, whose question is as in key.
func (m *memory) remember(key []byte, secure bool, response []byte) {
	at := m.shard(key)
	s := &m.shards[at]
	s.Lock()
	defer s.Unlock()
	m.keep(at, flavour(secure), string(response), len(key))
}

func (m *memory) keep(at, f int, response string, key int) {
	s := &m.shards[at]
	if s.used > m.limit {
		s.old, s.young, s.used = s.young, generation{}, 0
	}
	if s.young[f] == nil {
		s.young[f] = map[string]string{}
	}
	s.young[f][response[12:12+key]] = response
	s.used += len(response) + memoryOverhead
}

// memories are those of the zones in service, by the names of the zones as on the wire.
type memories struct {
	version any // of what is in service
	zones   Zones
	of      map[string]zoneMemory
}

type zoneMemory struct {
	zone *Zone
	*memory
}

// A said has the memories of what is in service.
type said struct{ now atomic.Pointer[memories] }

// at returns the memories for one version of what is in service. A zone that is the same keeps
// its own, unless zones have come or gone: their names may lead elsewhere now.
func (s *said) at(version any, zones Zones) *memories {
	old := s.now.Load()
	if old != nil && old.version == version {
		return old
	}
	n := &memories{version: version, zones: zones, of: make(map[string]zoneMemory, len(zones))}
	same := old != nil && slices.Equal(slices.Sorted(maps.Keys(old.zones)), slices.Sorted(maps.Keys(zones)))
	for name, z := range zones {
		wire := dns.WireName(name)
		if same && old.of[wire].zone == z {
			n.of[wire] = old.of[wire]
			continue
		}
		n.of[wire] = zoneMemory{z, newMemory(len(z.names))}
	}
	s.now.Store(n) // another may do so too: one of the two forgets a little
	return n
}

// find returns the memory of the zone that answers a question, as Zones.of does.
func (ms *memories) find(q *dns.Plain) zoneMemory {
	name := q.Key()
	name = name[:len(name)-4]
	if q.Type == dns.TypeDS && len(name) > 1 {
		if m := ms.enclosing(name[name[0]+1:]); m.zone != nil {
			return m
		}
	}
	return ms.enclosing(name)
}

func (ms *memories) enclosing(name []byte) zoneMemory {
	for {
		if m, ok := ms.of[string(name)]; ok || len(name) == 1 {
			return m
		}
		name = name[name[0]+1:]
	}
}

// recall answers a plain query, appended to out, as Zones.Answer does; nil outside of the zones.
func (ms *memories) recall(q *dns.Plain, out []byte) []byte {
	m := ms.find(q)
	if m.zone == nil || q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR {
		return nil
	}
	if response := m.recall(q.Key(), q.DO); response != "" {
		return append(out, response...)
	}
	a := ms.zones.answer(q.Query())
	response := dns.PackPlain(a.m)
	if response != nil && a.of == m.zone && !a.beyond {
		m.remember(q.Key(), q.DO, response)
	}
	return append(out, response...)
}

// Recall answers queries of the plain shape out of the memories of the zones.
func (a *Authority) Recall(q *dns.Plain, out []byte) []byte {
	w := a.now.Load()
	return a.said.at(w, w.zones).recall(q, out)
}

// Recall answers queries of the plain shape out of the memories of the zones.
func (s *Secondary) Recall(q *dns.Plain, out []byte) []byte {
	l := s.live()
	return s.said.at(l, l.zones).recall(q, out)
}
