package scenario

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// A play is a scenario ready to be run.
type play struct {
	world    *world
	resolver *resolver.Resolver
	steps    []string
}

// load reads a scenario. Zones are signed by the clock that time.Now shows then.
func load(text []byte) (*play, error) {
	a := txtar.Parse(text)
	p := &play{world: newWorld()}
	config := ""
	scripts := map[string]string{}
	for _, f := range a.Files {
		words := strings.Fields(f.Name)
		switch {
		case len(words) == 0:
			return nil, fmt.Errorf("a section without a name")
		case words[0] == "zone" && len(words) >= 3:
			if err := p.addZone(words[1:], string(f.Data)); err != nil {
				return nil, err
			}
		case words[0] == "script" && len(words) == 2:
			scripts[words[1]] += string(f.Data)
		case f.Name == "config":
			config = string(f.Data)
		case f.Name == "steps":
			p.steps = strings.Split(string(f.Data), "\n")
		default:
			return nil, fmt.Errorf("unknown section %q", f.Name)
		}
	}
	if len(p.steps) == 0 {
		return nil, fmt.Errorf("no steps")
	}
	if err := p.world.finish(); err != nil {
		return nil, err
	}
	for addr, text := range scripts {
		rules, err := parseRules(text)
		if err != nil {
			return nil, fmt.Errorf("script %s: %w", addr, err)
		}
		ip, err := netip.ParseAddr(addr)
		if err != nil {
			return nil, err
		}
		p.world.server(ip).rules = rules
	}
	return p, p.configure(config)
}

func (p *play) addZone(words []string, text string) error {
	options := map[string]string{"at": words[1]}
	for _, w := range words[2:] {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("zone %s: option %q", words[0], w)
		}
		options[name] = value
	}
	z, err := newZone(words[0], text, options, p.world.keys)
	if err != nil {
		return err
	}
	p.world.zones[z.apex] = z
	for _, addr := range strings.Split(words[1], ",") {
		ip, err := netip.ParseAddr(addr)
		if err != nil {
			return err
		}
		s := p.world.server(ip)
		s.zones[z.apex] = z
	}
	return nil
}

// configure makes the resolver.
func (p *play) configure(text string) error {
	r := &resolver.Resolver{Network: p.world, Anchors: []dns.RR{}}
	p.resolver = r
	for _, addr := range strings.Split(p.world.zones["."].options["at"], ",") {
		r.Hints = append(r.Hints, netip.MustParseAddr(addr))
	}
	anchors := []string{"."}
	if !p.world.zones["."].signed() {
		anchors = nil
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if words[0] == "anchor" {
			anchors = words[1:]
			continue
		}
		if err := p.set(words); err != nil {
			return fmt.Errorf("config %q: %w", strings.TrimSpace(line), err)
		}
	}
	for _, a := range anchors {
		rrs, err := p.world.anchor(a)
		if err != nil {
			return err
		}
		r.Anchors = append(r.Anchors, rrs...)
	}
	return nil
}

func (p *play) set(words []string) error {
	r := p.resolver
	switch words[0] {
	case "nta":
		r.Untrusted = append(r.Untrusted, words[1:]...)
	case "private":
		r.Private = true
	case "noipv6":
		r.NoIPv6 = true
	case "noipv4":
		r.NoIPv4 = true
	case "open":
		r.Open = append(r.Open, words[1:]...)
	case "hints":
		r.Hints = nil
		for _, w := range words[1:] {
			r.Hints = append(r.Hints, netip.MustParseAddr(w))
		}
	case "cache":
		n, err := strconv.Atoi(words[1])
		r.CacheBytes = n
		return err
	case "forward", "stub":
		a, err := netip.ParseAddr(words[2])
		r.Routes = append(r.Routes, resolver.Route{Zone: words[1], To: p.world.exchanger(a), Recursive: words[0] == "forward"})
		return err
	case "limit":
		return p.limit(words[1], words[2])
	default:
		return fmt.Errorf("unknown setting")
	}
	return nil
}

func (p *play) limit(name, value string) error {
	l := &p.resolver.Limits
	counts := map[string]*int{
		"queries": &l.Queries, "restarts": &l.Restarts, "depth": &l.Depth, "targets": &l.Targets, "missing": &l.Missing,
		"signatures": &l.Signatures, "failed": &l.Failed, "hashes": &l.Hashes, "questions": &l.Questions,
	}
	times := map[string]*time.Duration{
		"time": &l.Time, "ttl": &l.MaxTTL, "negative": &l.MaxNegative, "failure": &l.Failure, "bogus": &l.Bogus,
		"stale": &l.Stale, "patience": &l.Patience,
	}
	var err error
	switch {
	case counts[name] != nil:
		*counts[name], err = strconv.Atoi(value)
	case times[name] != nil:
		*times[name], err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("unknown limit")
	}
	return err
}
