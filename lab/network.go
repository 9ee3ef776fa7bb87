package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// A network is the addresses of one lab: 256 of 127.0.0.0/8, or of those that this machine has
// been given, in which every SMTP host listens on one port and every name server on another, as
// they do on 25 and 53 outside.
type network struct {
	block    netip.Prefix
	smtpPort uint16
	dnsPort  uint16
	beyond   netip.Prefix // where mail may go besides

	mu    sync.Mutex
	taken map[netip.Addr]bool
}

// The places in the block of those hosts that every lab has. Other hosts come after them.
const (
	resolverPlace = iota + 1
	rootPlace
	tldPlace
	arpaPlace
	hostingPlace
	otherPlaces
)

// Ports are looked for below the range from which systems pick the ports of clients.
const (
	lowPort  = 10_000
	highPort = 30_000
)

var errNoLoopback = errors.New("this system has no loopback addresses besides 127.0.0.1; the lab needs all of 127.0.0.0/8, as Linux has it")

// newNetwork picks a block and two ports that are free on all addresses tried. A zero block
// or port is picked at random.
func newNetwork(ctx context.Context, block netip.Prefix, smtpPort, dnsPort uint16) (*network, error) {
	if err := checkBlock(block); err != nil {
		return nil, err
	}
	var last error
	for range 50 {
		n := &network{block: block, smtpPort: orRandom(smtpPort), dnsPort: orRandom(dnsPort), taken: make(map[netip.Addr]bool)}
		if !block.IsValid() {
			n.block = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(1 + rand.N(63)), byte(rand.N(256)), 0}), 24)
		}
		if last = n.try(ctx); last == nil {
			return n, nil
		}
		if errors.Is(last, errNoLoopback) || ctx.Err() != nil {
			return nil, last
		}
	}
	return nil, fmt.Errorf("no free addresses and ports on loopback: %w", last)
}

func checkBlock(b netip.Prefix) error {
	if !b.IsValid() {
		return nil
	}
	if b.Bits() != 24 || !b.Addr().Is4() || b != b.Masked() {
		return fmt.Errorf("%s is no /24 of IPv4", b)
	}
	return nil
}

// orRandom returns the port that is wanted, or one at random.
func orRandom(want uint16) uint16 {
	if want != 0 {
		return want
	}
	return uint16(lowPort + rand.N(highPort-lowPort))
}

// try binds every kind of port that the lab will need, on the first addresses of the block.
func (n *network) try(ctx context.Context) error {
	if n.smtpPort == n.dnsPort {
		return errors.New("SMTP and DNS want one port")
	}
	var lc net.ListenConfig
	if l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(n.at(resolverPlace), 0).String()); err != nil {
		return fmt.Errorf("%w: %w", errNoLoopback, err)
	} else {
		l.Close()
	}
	for place := resolverPlace; place < otherPlaces+10; place++ {
		for _, port := range []uint16{n.smtpPort, n.dnsPort} {
			l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(n.at(place), port).String())
			if err != nil {
				return err
			}
			l.Close()
		}
		p, err := lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(n.at(place), n.dnsPort).String())
		if err != nil {
			return err
		}
		p.Close()
	}
	return nil
}

func (n *network) at(place int) netip.Addr {
	b := n.block.Addr().As4()
	b[3] = byte(place)
	return netip.AddrFrom4(b)
}

// holds reports whether an address is one of this world: nothing else gets mail.
func (n *network) holds(a netip.Addr) bool {
	return a.Is4() && (a.IsLoopback() || n.beyond.IsValid() && n.beyond.Contains(a))
}

// next returns an address that nobody has yet.
func (n *network) next() (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for place := otherPlaces; place < 255; place++ {
		if a := n.at(place); !n.taken[a] {
			n.taken[a] = true
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("all addresses of the lab are taken")
}

// listenSMTP opens the SMTP port of an address.
func (n *network) listenSMTP(ctx context.Context, a netip.Addr) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp4", netip.AddrPortFrom(a, n.smtpPort).String())
}

// reverse returns the name of an address under in-addr.arpa.
func reverse(a netip.Addr) string {
	b := a.As4()
	s := slices.Clone(b[:])
	slices.Reverse(s)
	name := ""
	for _, o := range s {
		name += strconv.Itoa(int(o)) + "."
	}
	return name + "in-addr.arpa."
}
