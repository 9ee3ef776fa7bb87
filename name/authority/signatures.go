package authority

import (
	"sync"
	"sync/atomic"
)

// signatures are those that were made, by the digest of what they are over. Two generations bound
// them, as in a memory.
type signatures struct {
	limit  atomic.Int64 // of one generation of one shard
	shards [memoryShards]struct {
		sync.Mutex
		young, old map[digestPart]signature
	}
}

// A digestPart is half of a SHA-256, which is enough to tell data apart that nobody can choose
// after the other.
type digestPart [16]byte

// A signature is one of ECDSA P-256 in DER, which says itself how long it is.
type signature [72]byte

// fit bounds what is kept by what a zone of so many names has: two signatures a name.
func (m *signatures) fit(names int) {
	m.limit.Store(int64(min(256+2*names+names/4, 1<<20)/memoryShards + 1))
}

func (m *signatures) recall(digest []byte) []byte {
	key := digestPart(digest)
	s := &m.shards[key[0]%memoryShards]
	s.Lock()
	defer s.Unlock()
	have, ok := s.young[key]
	if !ok {
		if have, ok = s.old[key]; !ok {
			return nil
		}
		m.keep(int(key[0]%memoryShards), key, have)
	}
	return have[:2+int(have[1])]
}

func (m *signatures) remember(digest, made []byte) {
	var one signature
	if len(made) < 2 || len(made) > len(one) || int(made[1]) != len(made)-2 {
		return
	}
	copy(one[:], made)
	key := digestPart(digest)
	s := &m.shards[key[0]%memoryShards]
	s.Lock()
	defer s.Unlock()
	m.keep(int(key[0]%memoryShards), key, one)
}

func (m *signatures) keep(shard int, key digestPart, one signature) {
	s := &m.shards[shard]
	if int64(len(s.young)) >= m.limit.Load() {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = map[digestPart]signature{}
	}
	s.young[key] = one
}
