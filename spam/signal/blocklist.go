package signal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/spam"
)

// BlockLists are DNS lists of addresses that send spam (RFC 5782). It is safe for concurrent use.
type BlockLists struct {
	Zones    []string // as NewBlockLists checked them
	Resolver dns.Exchanger
	Timeout  time.Duration // for all together; default 2 s

	// Trouble hears of a list that does not serve us; nil is silent.
	Trouble func(ctx context.Context, zone string, err error)
}

const listTimeout = 2 * time.Second

// What one list weighs, and all together.
const (
	listWeight     = 2.5
	maxListsWeight = 4.0
)

// NewBlockLists checks the names of lists.
func NewBlockLists(zones []string, resolver dns.Exchanger) (*BlockLists, error) {
	b := &BlockLists{Resolver: resolver}
	for _, z := range zones {
		name, err := mail.CanonicalDomain(z)
		if err != nil || strings.HasPrefix(name, "[") {
			return nil, fmt.Errorf("block list %q: no domain", z)
		}
		b.Zones = append(b.Zones, name)
	}
	return b, nil
}

// Evidence asks all lists at once. One that does not answer, or says that it will not, says nothing.
func (b *BlockLists) Evidence(ctx context.Context, a netip.Addr) []spam.Evidence {
	a = a.Unmap().WithZone("")
	if b == nil || !public(a) {
		return nil
	}
	timeout := b.Timeout
	if timeout == 0 {
		timeout = listTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	listed := make([]bool, len(b.Zones))
	var wait sync.WaitGroup
	for i, zone := range b.Zones {
		wait.Go(func() {
			var err error
			if listed[i], err = b.ask(ctx, zone, a); err != nil && b.Trouble != nil {
				b.Trouble(ctx, zone, err)
			}
		})
	}
	wait.Wait()
	var out []spam.Evidence
	left := maxListsWeight
	for i, zone := range b.Zones {
		if !listed[i] || left <= 0 {
			continue
		}
		w := min(listWeight, left)
		left -= w
		out = append(out, spam.Evidence{Text: "its address of origin is on the block list " + zone, Weight: w})
	}
	return out
}

// What the large lists answer instead of an entry.
var errorCodes = map[byte]string{
	252: "the name of the list is mistyped",
	254: "it does not answer public resolvers: use one of your own",
	255: "too many queries",
}

func (b *BlockLists) ask(ctx context.Context, zone string, a netip.Addr) (listed bool, err error) {
	name := strings.TrimSuffix(strings.TrimSuffix(dns.ReverseName(a), "in-addr.arpa."), "ip6.arpa.") + zone + "."
	answer, err := dns.Lookup(ctx, b.Resolver, name, dns.TypeA)
	if dns.IsNegative(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, rr := range dns.Records[*dns.ARecord](answer) {
		ip, ok := netip.AddrFromSlice(rr.A)
		if ok {
			ip = ip.Unmap()
		}
		if !ok || !ip.Is4() {
			continue
		}
		code := ip.As4()
		switch {
		case code[0] != 127: // a domain that was sold answers so
			return false, errors.New("its answer is no code of a block list")
		case code[1] == 255 && code[2] == 255:
			why := errorCodes[code[3]]
			if why == "" {
				why = "it refuses to answer"
			}
			return false, fmt.Errorf("%s (%s)", why, ip)
		case ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}): // never an entry (RFC 5782 section 5)
		default:
			listed = true
		}
	}
	return listed, nil
}
