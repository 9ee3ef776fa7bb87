package authority

import (
	"maps"
	"slices"

	"stagecoach/rfc/dns"
)

// NotifyKey returns the key of a repository's files that is best for having a zone read again:
// the one with the least rights, none that is bound to the address of a secondary.
func NotifyKey(files map[string][]byte, zone string) (dns.Key, bool) {
	zone = dns.Canonical(zone)
	keys := Keys{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if kind, of := kindOf(name); kind == keyFile {
			keys.add(name, of, string(files[name]))
		}
	}
	var best zoneKey
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		k := keys[name]
		if !keys.allows(name, zone, RightNotify) || k.primary.IsValid() || k.secondary.IsValid() {
			continue
		}
		if best.IsZero() || k.right < best.right {
			best = k
		}
	}
	return best.Key, !best.IsZero()
}
