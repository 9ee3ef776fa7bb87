package cert

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A Primary is the name server that holds the zone. Its Exchange takes queries and UPDATEs, and
// signs them. *dns.Client is one.
type Primary interface {
	dns.Exchanger
	// Transfer returns the zone, or what is new since have.
	Transfer(ctx context.Context, zone string, have *dns.SOARecord) (*dns.Transfer, error)
	// Subscribe calls changed for each change of the zone until it ends, which is always an error.
	Subscribe(ctx context.Context, zone string, every time.Duration, changed func(*dns.SOARecord)) error
}

var _ Primary = (*dns.Client)(nil)

// NewPrimary returns the name server at an address, which is asked over TCP and signed. An
// UPDATE may take as long as a push to a repository far away does.
func NewPrimary(at netip.AddrPort, key dns.Key) *dns.Client {
	return &dns.Client{
		Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}, Key: key, Timeout: 30 * time.Second, Attempts: 1,
	}
}

// ZoneOf returns the zone that a key with the right _update may change, canonical: what stands
// behind that label in its name.
func ZoneOf(key dns.Key) (string, error) {
	labels := dns.Labels(key.Name)
	for i := len(labels) - 1; i >= 0; i-- {
		if strings.EqualFold(labels[i], "_update") {
			return dns.Canonical(strings.Join(labels[i+1:], ".")), nil
		}
	}
	return "", fmt.Errorf("the key %s has no label _update in its name, so it may not change a zone", dns.Host(key.Name))
}

// follow keeps a subscription to a zone and pokes whenever it changes, or when the
// subscription was lost. It returns when ctx ends.
func follow(ctx context.Context, p Primary, zone string, every time.Duration, poke func(), failed func(error)) {
	pause := firstPause
	for {
		heard := false
		err := p.Subscribe(ctx, zone, every, func(*dns.SOARecord) { heard = true; poke() })
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = firstPause
		}
		failed(err)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
		poke()
	}
}

// The pauses of follow.
const (
	firstPause = 2 * time.Second
	maxPause   = 5 * time.Minute
)

// breath is the least time between two looks at a zone, however often it changes.
const breath = 500 * time.Millisecond

// await waits for a poke or until so much time is over, and in any case for a breath.
func await(ctx context.Context, poked <-chan struct{}, d time.Duration) {
	if !sleep(ctx, breath) {
		return
	}
	t := time.NewTimer(max(d-breath, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-poked:
	case <-t.C:
	}
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
