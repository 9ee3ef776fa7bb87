package resolver

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// Flush forgets all that is known of name, and with below of the names below it too. It
// returns how many answers that were.
func (r *Resolver) Flush(name string, withBelow bool) int {
	r.start()
	name = dns.Canonical(name)
	hit := func(have string) bool { return have == name || withBelow && under(name, have) }
	r.cuts.removeIf(func(zone string, _ *cut) bool { return hit(zone) })
	r.trusts.removeIf(func(zone string, _ *trust) bool { return hit(zone) })
	r.failures.removeIf(func(k key, _ failure) bool { return hit(k.name) })
	// Ranges of a zone above may deny the name.
	r.ranges.removeIf(func(zone string, _ *ranges) bool { return hit(zone) || under(zone, name) })
	return r.cache.removeIf(func(k key) bool { return hit(k.name) })
}

// Dump writes what is in the cache, in zone text with remarks, ordered by name. Answers that
// are past their time are marked as stale.
func (r *Resolver) Dump(w io.Writer) error {
	r.start()
	now := time.Now()
	keys := r.cache.keys()
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(dns.CompareNames(a.name, b.name), cmp.Compare(a.t, b.t))
	})
	for _, k := range keys {
		e, ok := r.cache.peek(k, now, r.Limits.Stale)
		if !ok {
			continue
		}
		if err := dumpEntry(w, k, e.found(k, now)); err != nil {
			return err
		}
	}
	return r.dumpCuts(w, now)
}

func dumpEntry(w io.Writer, k key, f *found) error {
	if f == nil {
		return nil
	}
	what := dns.TypeName(k.t)
	if k.t == dns.TypeNone {
		what = "*"
	}
	note := ""
	if f.stale {
		note = ", stale"
	}
	if _, err := fmt.Fprintf(w, "; %s %s: %s, %s, from the servers of %s%s\n", k.name, what, kindNames[f.kind], f.security, f.zone, note); err != nil {
		return err
	}
	for _, rr := range append(f.answer, f.authority...) {
		if _, err := fmt.Fprintln(w, rr); err != nil {
			return err
		}
	}
	return nil
}

func (r *Resolver) dumpCuts(w io.Writer, now time.Time) error {
	var lines []string
	r.cuts.each(func(zone string, c *cut) bool {
		if now.Before(c.until) {
			lines = append(lines, fmt.Sprintf("; servers of %s for %v: %v %v", zone, c.until.Sub(now).Round(time.Second), c.addrs, c.names))
		}
		return true
	})
	slices.Sort(lines)
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}
