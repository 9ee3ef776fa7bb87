package dns

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// A RateLimit bounds the responses over UDP to clients that have not shown, by a cookie or a
// signature, that they are where they say: so that others cannot have us flood somebody. What
// counts is the client's network, an IPv4 /24 or an IPv6 /56, in a table of fixed size.
type RateLimit struct {
	Same  int            // like responses a second for one network: same name, or same failure in a zone; 0 is 20
	All   int            // responses a second for one network; 0 is 25 times Same
	Slip  int            // of those above the limit, one in Slip is answered by a hint to prove itself; 0 is 2
	Spare []netip.Prefix // networks that are not limited

	once     sync.Once
	key      [16]byte
	networks rateTable // apart, so that random names do not push a network's count out
	kinds    rateTable
}

const (
	rateShards = 16
	rateSets   = 1024
	rateWays   = 4
)

// A rateTable remembers the buckets used last: one that is new takes the place of the longest
// idle one among the few that share its set.
type rateTable struct {
	locks [rateShards]sync.Mutex
	sets  [rateShards][rateSets][rateWays]bucket
}

type bucket struct {
	tag     uint32 // tells apart what shares a set
	tokens  int32
	blocked uint32
	last    int64 // nanoseconds; 0: never used
}

type verdict int

const (
	pass verdict = iota
	slip
	drop
)

// judge counts one response of the given kind to ip.
func (l *RateLimit) judge(ip netip.Addr, kind string, now time.Time) verdict {
	for _, p := range l.Spare {
		if p.Contains(ip) {
			return pass
		}
	}
	l.once.Do(func() { l.key = NewCookieSecret() })
	same := l.Same
	if same <= 0 {
		same = 20
	}
	all := l.All
	if all <= 0 {
		all = 25 * same
	}
	bits := 24
	if ip.Is6() {
		bits = 56
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return pass
	}
	id := network.Addr().AsSlice()
	v := l.take(&l.networks, id, all, now)
	return max(v, l.take(&l.kinds, append(id, kind...), same, now))
}

func (l *RateLimit) take(t *rateTable, id []byte, rate int, now time.Time) verdict {
	h := siphash(&l.key, id)
	shard := h % rateShards
	t.locks[shard].Lock()
	defer t.locks[shard].Unlock()
	at := now.UnixNano()
	b := find(&t.sets[shard][(h/rateShards)%rateSets], uint32(h>>32), rate, at)
	if gain := (at - b.last) * int64(rate) / int64(time.Second); gain > 0 {
		b.tokens = int32(min(int64(b.tokens)+gain, int64(rate)))
		b.last = at
	}
	if b.tokens > 0 {
		b.tokens--
		b.blocked = 0
		return pass
	}
	every := uint32(l.Slip)
	if every == 0 {
		every = 2
	}
	b.blocked++
	if b.blocked%every == 0 {
		return slip
	}
	return drop
}

// find returns the tag's bucket in a set, a full one if it is new there.
func find(set *[rateWays]bucket, tag uint32, rate int, at int64) *bucket {
	oldest := &set[0]
	for i := range set {
		b := &set[i]
		if b.tag == tag && b.last != 0 {
			return b
		}
		if b.last < oldest.last {
			oldest = b
		}
	}
	*oldest = bucket{tag: tag, tokens: int32(rate), last: at}
	return oldest
}

// kindOf returns what responses are counted together: the name for an answer, the zone and the
// code for a negative one or a failure, so that random names do not make each one different.
func kindOf(m *Msg) string {
	name := ""
	switch {
	case m.Rcode == RcodeSuccess && len(m.Answer) > 0 && len(m.Question) == 1:
		name = Canonical(m.Question[0].Name)
	case len(m.Ns) > 0:
		name = Canonical(m.Ns[0].Header().Name)
	}
	return string(binary.BigEndian.AppendUint16(nil, uint16(m.Rcode))) + name
}
