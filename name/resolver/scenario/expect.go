package scenario

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// expect holds a response to "RCODE|NODATA|ANSWER [ad|noad] [ede=N] [aa] [cd]".
func (s *stage) expect(words []string) error {
	r := s.asks.r
	if r == nil {
		return fmt.Errorf("nothing was asked")
	}
	if err := checkForm(s.asks.q, r); err != nil {
		return err
	}
	rcode := words[0]
	switch rcode {
	case "NODATA":
		if r.Rcode != dns.RcodeSuccess || s.hasType() {
			return fmt.Errorf("it is %s with %d records", dns.RcodeName(r.Rcode), len(r.Answer))
		}
	default:
		if dns.RcodeName(r.Rcode) != rcode {
			return fmt.Errorf("it is %s %v", dns.RcodeName(r.Rcode), dns.ExtendedErrors(r))
		}
		if rcode == "NOERROR" && !s.hasType() {
			return fmt.Errorf("it has no records")
		}
	}
	for _, w := range words[1:] {
		if err := s.expectFlag(w); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) hasType() bool {
	for _, rr := range s.asks.r.Answer {
		if rr.Header().Rrtype == s.asks.q.Question[0].Qtype {
			return true
		}
	}
	return false
}

// checkForm holds for every response: a failure has no answer, and is never negative.
func checkForm(q, r *dns.Msg) error {
	switch {
	case !r.Response || r.Id != q.Id || len(r.Question) != 1 || r.Question[0] != q.Question[0]:
		return fmt.Errorf("the response is not to the question")
	case r.Rcode == dns.RcodeServerFailure && (len(r.Answer) > 0 || r.AuthenticatedData):
		return fmt.Errorf("a failure with an answer")
	case !r.RecursionAvailable || r.Authoritative:
		return fmt.Errorf("the flags are not those of a resolver")
	}
	return nil
}

func (s *stage) expectFlag(w string) error {
	r := s.asks.r
	code, isCode := strings.CutPrefix(w, "ede=")
	switch {
	case isCode:
		for _, e := range dns.ExtendedErrors(r) {
			if strconv.Itoa(int(e.Code)) == code {
				return nil
			}
		}
		return fmt.Errorf("the extended errors are %v", dns.ExtendedErrors(r))
	case w == "ad" && !r.AuthenticatedData:
		return fmt.Errorf("it is not secure: %v", dns.ExtendedErrors(r))
	case w == "noad" && r.AuthenticatedData:
		return fmt.Errorf("it is secure")
	case w == "noede" && len(dns.ExtendedErrors(r)) > 0:
		return fmt.Errorf("the extended errors are %v", dns.ExtendedErrors(r))
	case w == "ad" || w == "noad" || w == "noede":
		return nil
	}
	return fmt.Errorf("unknown: %s", w)
}

func compare(have int, words []string) error {
	want, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	ok := map[string]bool{"==": have == want, "<=": have <= want, ">=": have >= want, "<": have < want, ">": have > want}[words[0]]
	if !ok {
		return fmt.Errorf("it is %d", have)
	}
	return nil
}

// times counts queries by "ADDR [NAME [TYPE]] [udp|tcp]" since the beginning.
func (s *stage) times(words []string) int {
	s.log = append(s.log, s.world.take()...)
	n := 0
	for _, a := range s.log {
		fits := words[0] == "*" || a.server == netip.MustParseAddr(words[0])
		for i, w := range words[1:] {
			switch {
			case w == "tcp" || w == "udp":
				fits = fits && a.tcp == (w == "tcp")
			case i == 0 && w != "*":
				fits = fits && a.name == dns.Canonical(w)
			case i == 1 && w != "*":
				fits = fits && dns.TypeName(a.t) == w
			}
		}
		if fits {
			n++
		}
	}
	return n
}

func (s *stage) power(words []string, down bool) error {
	for _, w := range words {
		x := s.world.servers[netip.MustParseAddr(w)]
		if x == nil {
			return fmt.Errorf("no server at %s", w)
		}
		x.down = down
	}
	return nil
}

// inCache looks for "NAME [TYPE]" in a dump of the cache, stale or not.
func (s *stage) inCache(words []string, want bool) error {
	var b strings.Builder
	if err := s.resolver.Dump(&b); err != nil {
		return err
	}
	have := false
	for line := range strings.Lines(b.String()) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != ";" || !strings.HasSuffix(f[2], ":") {
			continue
		}
		if dns.Canonical(words[0]) == f[1] && (len(words) == 1 || words[1]+":" == f[2]) {
			have = true
		}
	}
	if have != want {
		return fmt.Errorf("the cache is\n%s", b.String())
	}
	return nil
}

// statistics returns the fields of Stats by name.
func statistics(st resolver.Stats) map[string]int {
	out := map[string]int{}
	v := reflect.ValueOf(st)
	for i := range v.NumField() {
		if f := v.Field(i); f.CanUint() {
			out[v.Type().Field(i).Name] = int(f.Uint())
		} else {
			out[v.Type().Field(i).Name] = int(f.Int())
		}
	}
	return out
}
