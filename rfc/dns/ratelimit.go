package dns

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
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
func (l *RateLimit) judge(ip netip.Addr, kind kind, now time.Time) verdict {
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
	var buf [16 + 2 + 255]byte
	id := buf[:16]
	if a := network.Addr(); a.Is4() {
		four := a.As4()
		id = buf[:copy(buf[:], four[:])]
	} else {
		*(*[16]byte)(id) = a.As16()
	}
	v := l.take(&l.networks, id, all, now)
	id = append(append(id, byte(kind.rcode>>8), byte(kind.rcode)), kind.name...)
	return max(v, l.take(&l.kinds, id, same, now))
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

// A kind is what responses are counted together: the name for an answer, the zone and the code
// for a negative one or a failure, so that random names do not make each one different.
type kind struct {
	rcode int
	name  string
}

func kindOf(m *Msg) kind {
	k := kind{rcode: m.Rcode}
	switch {
	case m.Rcode == RcodeSuccess && len(m.Answer) > 0 && len(m.Question) == 1:
		k.name = Canonical(m.Question[0].Name)
	case len(m.Ns) > 0:
		k.name = Canonical(m.Ns[0].Header().Name)
	}
	return k
}

// kindOfPlain is kindOf for the response to a plain query.
func kindOfPlain(q *Plain, wire []byte) kind {
	k := kind{rcode: int(wire[3] & 15)}
	answers, authority := binary.BigEndian.Uint16(wire[6:]), binary.BigEndian.Uint16(wire[8:])
	switch {
	case k.rcode == RcodeSuccess && answers > 0:
		k.name = q.Name()
	case authority > 0:
		at := 12 + len(q.question)
		for ; answers > 0; answers-- {
			_, at = nextRecord(wire, at)
		}
		if name, _, err := dns.UnpackDomainName(wire, at); err == nil {
			k.name = Canonical(name)
		}
	}
	return k
}
