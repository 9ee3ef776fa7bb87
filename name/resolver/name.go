package resolver

import "stagecoach/rfc/dns"

// parent returns the name one label up; that of the root is the root.
func parent(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '.':
			if i+1 == len(name) {
				return "."
			}
			return name[i+1:]
		}
	}
	return "."
}

// under reports whether name is zone or below it; both are canonical.
func under(zone, name string) bool {
	if zone == "." || name == zone {
		return true
	}
	cut := len(name) - len(zone)
	if cut <= 0 || name[cut:] != zone || name[cut-1] != '.' {
		return false
	}
	slashes := 0
	for i := cut - 2; i >= 0 && name[i] == '\\'; i-- {
		slashes++
	}
	return slashes%2 == 0
}

// below is under, without zone itself.
func below(zone, name string) bool { return name != zone && under(zone, name) }

// labels counts the labels of a name.
func labels(name string) int {
	n := 0
	for ; name != "."; name = parent(name) {
		n++
	}
	return n
}

// ancestor returns the last n labels of a name.
func ancestor(name string, n int) string {
	for k := labels(name) - n; k > 0; k-- {
		name = parent(name)
	}
	return name
}

// common returns the lowest name that is above both, or one of them.
func common(a, b string) string {
	for !under(a, b) {
		a = parent(a)
	}
	return a
}

// wildcardOf returns the wildcard whose parent is name.
func wildcardOf(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}

// owner returns the canonical owner of a record.
func owner(rr dns.RR) string { return dns.Canonical(rr.Header().Name) }
