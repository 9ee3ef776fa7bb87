package resolver

import "time"

// Limits bounds the work for one question and in all. A zero field means the default that
// stands behind it. Whatever reaches a limit is SERVFAIL.
type Limits struct {
	// For one question of a client, with all that it entails:
	Queries  int           // to name servers: 100
	Restarts int           // CNAMEs and DNAMEs followed: 11
	Depth    int           // look-ups for the names of servers within look-ups: 5
	Targets  int           // names of servers without addresses looked up: 16
	Missing  int           // of these that do not exist, then no more (NXNSAttack): 5
	Time     time.Duration // 12 s, less when much is in work

	// For the crypto of one question (KeyTrap, SigJam, CVE-2023-50868):
	Signatures int // verified: 100
	Failed     int // of these that fail: 8
	Hashes     int // of NSEC3 computed: 200

	// In all:
	Questions int // worked at, besides those merged with one in work: 4000
	Upstream  int // queries to name servers under way: 3000
	Server    int // of these to one server: 50

	MaxTTL      time.Duration // for anything: 24 h
	MaxNegative time.Duration // for what does not exist (RFC 2308 section 5): 1 h
	Failure     time.Duration // how long a failure is remembered (RFC 9520), doubled each time up to 5 min: 5 s
	Bogus       time.Duration // how long failed validation is: 60 s
	Stale       time.Duration // for how long after its end an answer may help out (RFC 8767); below 0 never: 24 h
	Patience    time.Duration // after which a stale answer is given while the work goes on: 1.8 s
}

func (l Limits) orDefault() Limits {
	for _, n := range []struct {
		field *int
		value int
	}{
		{&l.Queries, 100}, {&l.Restarts, 11}, {&l.Depth, 5}, {&l.Targets, 16}, {&l.Missing, 5},
		{&l.Signatures, 100}, {&l.Failed, 8}, {&l.Hashes, 200},
		{&l.Questions, 4000}, {&l.Upstream, 3000}, {&l.Server, 50},
	} {
		if *n.field <= 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Time, 12 * time.Second}, {&l.MaxTTL, 24 * time.Hour}, {&l.MaxNegative, time.Hour},
		{&l.Failure, 5 * time.Second}, {&l.Bogus, time.Minute}, {&l.Patience, 1800 * time.Millisecond},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.Stale == 0 {
		l.Stale = 24 * time.Hour
	}
	return l
}

// What an answer may hold before it is no longer looked at.
const (
	maxServers    = 20 // names in an NS set
	maxAddresses  = 64 // of the servers of one zone
	maxReferrals  = 40 // zones and labels on the way down
	maxSignatures = 8  // over one set
	maxTagged     = 4  // keys of one tag
	maxDigests    = 8  // DS records of one zone
	maxKeys       = 32 // DNSKEYs of one zone
	maxSets       = 24 // sets of records in one response that are verified
	maxRecords    = 4096
	maxMismatches = 100 // datagrams to a socket that are no answer to what it asked
	maxTries      = 8   // at the servers of one zone for one question
)
