package resolver

import (
	"sync/atomic"

	"stagecoach/rfc/dns"
)

// counters are the Resolver's own; Stats is what others see.
type counters struct {
	questions, hits, merged, stale, prefetched, synthesized, failuresCached atomic.Uint64
	queries, tcp, silent, mismatches, lame, special, overload, strangers    atomic.Uint64
	signatures, hashes, bogus                                               atomic.Uint64
	secure, insecure, nxdomain, servfail                                    atomic.Uint64
}

// Stats counts what a Resolver has done since it began, and what it keeps.
type Stats struct {
	Questions      uint64 // from clients
	Hits           uint64 // answered from memory
	Merged         uint64 // with one in work
	Stale          uint64 // answered with what is past its time
	Prefetched     uint64
	Synthesized    uint64 // negative answers made from NSEC
	FailuresCached uint64 // met again
	Queries        uint64 // to name servers
	TCP            uint64 // of these over TCP
	Silent         uint64 // tries without an answer
	Mismatches     uint64 // datagrams that were no answer to the question: forged, or late
	Lame           uint64 // responses that were of no use
	Special        uint64 // addresses of servers that were not asked, as private ones
	Overload       uint64 // turned down, too much was under way
	Strangers      uint64 // refused
	Signatures     uint64 // verified
	Hashes         uint64 // of NSEC3
	Bogus          uint64 // answers
	Secure         uint64
	Insecure       uint64
	NXDOMAIN       uint64
	SERVFAIL       uint64

	Entries  int // in the cache
	Bytes    int // that they take, roughly
	Evicted  uint64
	Cuts     int // zones whose servers are known
	Zones    int // whose security is known
	Hosts    int // servers known
	Failures int // remembered
	InWork   int // questions
	UnderWay int // queries
}

func (c *counters) answered(rcode int, s Security) {
	switch rcode {
	case dns.RcodeServerFailure:
		c.servfail.Add(1)
		return
	case dns.RcodeNameError:
		c.nxdomain.Add(1)
	}
	if s == Secure {
		c.secure.Add(1)
	} else {
		c.insecure.Add(1)
	}
}

// Stats returns the counters as they are now.
func (r *Resolver) Stats() Stats {
	r.start()
	c := &r.count
	s := Stats{
		Questions: c.questions.Load(), Hits: c.hits.Load(), Merged: c.merged.Load(), Stale: c.stale.Load(),
		Prefetched: c.prefetched.Load(), Synthesized: c.synthesized.Load(), FailuresCached: c.failuresCached.Load(),
		Queries: c.queries.Load(), TCP: c.tcp.Load(), Silent: c.silent.Load(), Mismatches: c.mismatches.Load(),
		Lame: c.lame.Load(), Special: c.special.Load(), Overload: c.overload.Load(), Strangers: c.strangers.Load(),
		Signatures: c.signatures.Load(), Hashes: c.hashes.Load(), Bogus: c.bogus.Load(),
		Secure: c.secure.Load(), Insecure: c.insecure.Load(), NXDOMAIN: c.nxdomain.Load(), SERVFAIL: c.servfail.Load(),
		InWork: len(r.working), UnderWay: len(r.flying),
	}
	s.Entries, s.Bytes, s.Evicted = r.cache.size()
	s.Cuts, _, _ = r.cuts.size()
	s.Zones, _, _ = r.trusts.size()
	s.Hosts, _, _ = r.hosts.known.size()
	s.Failures, _, _ = r.failures.size()
	return s
}
