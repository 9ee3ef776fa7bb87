package resolver

import (
	"fmt"
	"time"

	"stagecoach/rfc/dns"
)

// clockDoubt is how often a wrong clock is worth a word in the log.
const clockDoubt = time.Hour

// untimely returns what is wrong with the time of a signature over a set of records, for those
// who have to find out whose clock is wrong; code 0 for nothing.
func untimely(sig *dns.RRSIGRecord, name string, now time.Time) dns.ExtendedError {
	const date = "2006-01-02 15:04 MST"
	switch dns.ValidAt(sig, now) {
	case 1:
		return dns.ExtendedError{Code: dns.ExtendedExpired, Text: fmt.Sprintf("the signature over %s expired at %s: is our clock right? It says %s",
			name, dns.SignatureTime(sig.Expiration, now).Format(date), now.UTC().Format(date))}
	case -1:
		return dns.ExtendedError{Code: dns.ExtendedNotYetValid, Text: fmt.Sprintf("the signature over %s is not valid before %s: is our clock right? It says %s",
			name, dns.SignatureTime(sig.Inception, now).Format(date), now.UTC().Format(date))}
	}
	return dns.ExtendedError{}
}

// doubtClock says in the log that the keys of a trust anchor are out of their time, which is more
// likely to be our clock than theirs. Without the right time nothing can be validated.
func (r *Resolver) doubtClock(zone string, why dns.ExtendedError) {
	if why.Code != dns.ExtendedExpired && why.Code != dns.ExtendedNotYetValid {
		return
	}
	if !r.anchors.at(zone) {
		return
	}
	now := time.Now()
	last := r.doubted.Load()
	if now.UnixNano()-last < int64(clockDoubt) && last != 0 || !r.doubted.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	r.warn("the clock of this machine may be wrong: nothing validates", fmt.Errorf("%s: %s", zone, why.Text))
}
