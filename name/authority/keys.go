package authority

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A Right is what the holder of a key may do. A greater one includes the lesser.
type Right int

// The rights, by the label in a key's name.
const (
	RightNotify   Right = iota + 1 // _notify: have the zone read again
	RightTransfer                  // _transfer: have all of it
	RightUpdate                    // _update: change it
)

var rightLabels = map[string]Right{"_notify": RightNotify, "_transfer": RightTransfer, "_update": RightUpdate}

// A zoneKey is a key with what its name says: ANYTHING._update.ZONE and so on, for the zone and
// all below it. To the left of _transfer there may stand the address of the secondary, before
// it that of the primary.
type zoneKey struct {
	dns.Key
	right     Right
	zone      string
	secondary netip.Addr // is told of changes
	primary   netip.Addr
}

// Keys are the keys of all _keys files, by canonical name.
type Keys map[string]zoneKey

// keyFileZone returns the zone of a file of keys or grants, as "x.net" of "x.net._keys"; the
// file "_keys" is for all zones.
func keyFileZone(file, label string) (string, bool) {
	if file == label {
		return ".", true
	}
	zone, ok := strings.CutSuffix(file, "."+label)
	return dns.Canonical(zone), ok
}

// add reads a file of keys. A key that cannot be used is passed over, with a problem; of
// several under one name none is used.
func (ks Keys) add(file, zone, text string) []Problem {
	f, problems := parseFile(file, zone, text)
	for i := range problems {
		problems[i].Text = "a line that is no key" // the parser's words may show a secret
	}
	seen := map[string]int{}
	for _, e := range f.entries {
		seen[dns.Canonical(e.rr.Header().Name)]++
	}
	for _, e := range f.entries {
		complain := func(format string, args ...any) {
			problems = append(problems, Problem{File: file, Line: e.line, Warning: true, Text: fmt.Sprintf(format, args...)})
		}
		name := dns.Canonical(e.rr.Header().Name)
		rr, ok := e.rr.(*dns.DNSKEYRecord)
		_, taken := ks[name]
		switch {
		case !ok:
			complain("%s is no key", name)
		case seen[name] > 1:
			complain("there are several keys %s, and none is used", name)
		case !dns.IsSubdomain(zone, name):
			complain("the key %s is not of this zone", name)
		case taken:
			complain("the key %s stands in another file, and that one counts", name)
		default:
			k, err := newZoneKey(rr)
			if err != nil {
				complain("%v", err)
				continue
			}
			ks[name] = k
		}
	}
	return problems
}

func newZoneKey(rr *dns.DNSKEYRecord) (zoneKey, error) {
	key, err := dns.KeyFromRecord(rr)
	if err != nil {
		return zoneKey{}, err
	}
	k := zoneKey{Key: key}
	labels := dns.Labels(key.Name)
	for i, l := range slices.Backward(labels) {
		right, ok := rightLabels[l]
		if !ok {
			continue
		}
		k.right = right
		k.zone = dns.Canonical(strings.Join(labels[i+1:], "."))
		if right == RightTransfer {
			k.addresses(labels[:i])
		}
		return k, nil
	}
	return k, fmt.Errorf("the key %s has none of _update, _transfer and _notify in its name", key.Name)
}

// addresses reads PRIMARY.SECONDARY, or PRIMARY alone, as labels of IPv4 addresses.
func (k *zoneKey) addresses(labels []string) {
	read := func(l []string) netip.Addr {
		ip, err := netip.ParseAddr(strings.Join(l, "."))
		if err != nil || !ip.Is4() {
			return netip.Addr{}
		}
		return ip
	}
	n := len(labels)
	if n >= 8 && read(labels[n-8:n-4]).IsValid() && read(labels[n-4:]).IsValid() {
		k.primary, k.secondary = read(labels[n-8:n-4]), read(labels[n-4:])
	} else if n >= 4 {
		k.primary = read(labels[n-4:])
	}
}

// allows reports whether the key named by its owner has a right for a zone.
func (ks Keys) allows(name, zone string, right Right) bool {
	k, ok := ks[name]
	return ok && k.right >= right && dns.IsSubdomain(k.zone, zone)
}
