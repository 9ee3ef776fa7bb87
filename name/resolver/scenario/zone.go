package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A zone is the data of one zone, signed as it is asked for.
type zone struct {
	apex    string
	options map[string]string
	data    map[string]map[uint16][]dns.RR
	keys    []*dnstest.Key // the first one signs the others
	signer  int            // of them, for all else

	mu    sync.Mutex // servers may share a zone
	index *index
	memo  map[memoKey][]dns.RR // signatures that are kept; nil: none are
}

// A keyMaker makes a key of a zone, as dnstest.NewKey does.
type keyMaker func(zone string, algorithm uint8, flags uint16) (*dnstest.Key, error)

func newZone(apex, text string, options map[string]string, keys keyMaker) (*zone, error) {
	z := &zone{apex: dns.Canonical(apex), options: options, data: map[string]map[uint16][]dns.RR{}}
	rrs, err := dns.ParseZone(strings.NewReader("$TTL 3600\n"+text+"\n"), z.apex)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", apex, err)
	}
	for _, rr := range rrs {
		z.add(rr)
	}
	if z.get(z.apex, dns.TypeSOA) == nil {
		z.add(dns.MustParseRR(z.apex + " 3600 SOA ns.invalid. root.invalid. 1 7200 900 1209600 300"))
	}
	if z.signed() {
		return z, z.makeKeys(keys)
	}
	return z, nil
}

func (z *zone) signed() bool { return z.options["sign"] != "" }
func (z *zone) nsec3() bool  { return z.options["sign"] == "nsec3" || z.options["sign"] == "optout" }

// algorithms are the names of what a zone may be signed with.
var algorithms = map[string]uint8{
	"": dnstest.Ed25519, "ed25519": dnstest.Ed25519, "rsa": dnstest.RSASHA256, "rsa512": dnstest.RSASHA512,
	"p256": dnstest.ECDSAP256, "p384": dnstest.ECDSAP384, "sha1": dnstest.RSASHA1, "sha1nsec3": dnstest.RSASHA1NSEC3,
}

// makeKeys makes the keys that the options alg, keys and zsk want: a DS stands for each but the
// last, where zsk has that sign all but the keys. A second algorithm after a slash signs besides.
func (z *zone) makeKeys(make keyMaker) error {
	first, second, _ := strings.Cut(z.options["alg"], "/")
	n, _ := strconv.Atoi(z.options["keys"]) //nolint:errcheck // 0 is the default
	names := slices.Repeat([]string{first}, max(n, 1))
	if second != "" {
		names = append(names, second)
	}
	for _, name := range names {
		if err := z.makeKey(make, name, 257); err != nil {
			return err
		}
	}
	if z.options["zsk"] == "" {
		return nil
	}
	z.signer = len(z.keys)
	return z.makeKey(make, first, 256)
}

func (z *zone) makeKey(make keyMaker, algorithm string, flags uint16) error {
	alg, ok := algorithms[algorithm]
	if !ok {
		return fmt.Errorf("zone %s: unknown algorithm", z.apex)
	}
	k, err := make(z.apex, alg, flags)
	if err != nil {
		return err
	}
	z.keys = append(z.keys, k)
	z.add(k.Record)
	return nil
}

// newKey adds a key, without a DS, that signs from now on.
func (z *zone) newKey() error {
	k, err := dnstest.NewKey(z.apex, z.keys[0].Record.Algorithm, 256)
	if err == nil {
		z.keys = append(z.keys, k)
		z.signer = len(z.keys) - 1
		z.add(k.Record)
	}
	return err
}

func (z *zone) add(rr dns.RR) {
	rr.Header().Name = dns.Canonical(rr.Header().Name)
	name, t := rr.Header().Name, rr.Header().Rrtype
	z.index = nil
	if z.data[name] == nil {
		z.data[name] = map[uint16][]dns.RR{}
	}
	z.data[name][t] = append(z.data[name][t], rr)
}

func (z *zone) get(name string, t uint16) []dns.RR { return z.data[name][t] }

func (z *zone) del(name string, t uint16) {
	z.index = nil
	delete(z.data[name], t)
	if len(z.data[name]) == 0 {
		delete(z.data, name)
	}
}

// cut returns the delegation above name, or at it; "" for none.
func (z *zone) cut(name string) string {
	found := ""
	for at := name; at != z.apex && at != "."; at = parent(at) {
		if z.get(at, dns.TypeNS) != nil {
			found = at
		}
	}
	return found
}

func (z *zone) isInsecureCut(name string) bool {
	return name != z.apex && z.get(name, dns.TypeNS) != nil && z.get(name, dns.TypeDS) == nil
}

// types returns the types at a name for an NSEC or NSEC3.
func (z *zone) types(name string, denial uint16) []uint16 {
	var out []uint16
	if denial == dns.TypeNSEC {
		out = append(out, dns.TypeNSEC, dns.TypeRRSIG)
	}
	for t := range z.data[name] {
		if z.cut(name) == name && t != dns.TypeNS && t != dns.TypeDS {
			continue
		}
		out = append(out, t)
	}
	if denial == dns.TypeNSEC3 && len(out) > 0 && !z.isInsecureCut(name) {
		out = append(out, dns.TypeRRSIG)
	}
	slices.Sort(out)
	return out
}

func (z *zone) nsec3param() *dns.NSEC3Record {
	iterations, _ := strconv.Atoi(z.options["iterations"]) //nolint:errcheck // 0 is the default
	n := &dns.NSEC3Record{Hash: 1, Iterations: uint16(iterations), Salt: z.options["salt"]}
	n.SaltLength = uint8(len(n.Salt) / 2)
	if z.options["sign"] == "optout" {
		n.Flags = 1
	}
	return n
}

func parent(name string) string {
	l := dns.Labels(name)
	if len(l) < 2 {
		return "."
	}
	return strings.Join(l[1:], ".") + "."
}
