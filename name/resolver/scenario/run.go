package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// Run plays the scenario in a file, in a bubble of simulated time.
func Run(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := load(text)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			drain(p)
			if p.world.wrong != nil {
				t.Error(p.world.wrong)
			}
		}()
		s := &stage{play: p, asks: &question{}}
		for i, line := range p.steps {
			words := strings.Fields(line)
			if len(words) == 0 || strings.HasPrefix(words[0], "#") {
				continue
			}
			step := steps[words[0]]
			if step == nil {
				t.Fatalf("%s: step %d: unknown: %s", file, i+1, line)
			}
			if err := step(s, words[1:]); err != nil {
				t.Errorf("%s: step %d, %s: %v", file, i+1, line, err)
				t.Logf("%s", s.describe())
				return
			}
		}
	})
}

// drain lets what is under way come to its end.
func drain(p *play) {
	time.Sleep(time.Minute)
	synctest.Wait()
	p.world.take()
}

// A stage is a scenario that is played.
type stage struct {
	*play
	asks  *question
	asked []asked // by the resolver for the last question
	log   []asked // since the beginning
	took  time.Duration
}

type question struct {
	q *dns.Msg
	r *dns.Msg
}

func (s *stage) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "after %v:\n%v\n", s.took, s.asks.r)
	for _, a := range s.asked {
		fmt.Fprintf(&b, "asked %s %s %s\n", a.server, a.name, dns.TypeName(a.t))
	}
	return b.String()
}

func (s *stage) ask(words []string, n int) error {
	t, ok := dns.ParseType(words[1])
	if !ok {
		return fmt.Errorf("unknown type")
	}
	q := dns.NewQuery(words[0], t)
	for _, w := range words[2:] {
		switch w {
		case "cd":
			q.CheckingDisabled = true
		case "do":
			q.IsEdns0().SetDo()
		case "norec":
			q.RecursionDesired = false
		case "noad":
			q.AuthenticatedData = false
		case "chaos":
			q.Question[0].Qclass = 3
		default:
			return fmt.Errorf("unknown flag %q", w)
		}
	}
	start := time.Now()
	answers := make([]*dns.Msg, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i], errs[i] = s.resolver.Exchange(context.Background(), q) })
	}
	wg.Wait()
	s.took = time.Since(start)
	for i := range n {
		if errs[i] != nil {
			return errs[i]
		}
	}
	s.asks = &question{q, answers[0]}
	s.asked = s.world.take()
	s.log = append(s.log, s.asked...)
	return nil
}

// steps are what a scenario may do and expect.
var steps = map[string]func(s *stage, words []string) error{
	"ask": func(s *stage, words []string) error { return s.ask(words, 1) },
	"together": func(s *stage, words []string) error {
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return err
		}
		return s.ask(words[1:], n)
	},
	"expect": func(s *stage, words []string) error { return s.expect(words) },
	"has": func(s *stage, words []string) error {
		want, err := dns.ParseRR(strings.Join(words, " "))
		if err != nil {
			return err
		}
		for _, rr := range s.asks.r.Answer {
			if dns.Equal(rr, want) {
				return nil
			}
		}
		return fmt.Errorf("the answer does not have it")
	},
	"lacks": func(s *stage, words []string) error {
		t, _ := dns.ParseType(words[1])
		for _, section := range [][]dns.RR{s.asks.r.Answer, s.asks.r.Ns, s.asks.r.Extra} {
			for _, rr := range section {
				if rr.Header().Rrtype == t && (words[0] == "*" || dns.Canonical(rr.Header().Name) == dns.Canonical(words[0])) {
					return fmt.Errorf("the response has %v", rr)
				}
			}
		}
		return nil
	},
	"count": func(s *stage, words []string) error { return compare(len(s.asks.r.Answer), words) },
	"ttl": func(s *stage, words []string) error {
		rrs := s.asks.r.Answer
		if len(rrs) == 0 {
			rrs = s.asks.r.Ns
		}
		if len(rrs) == 0 {
			return fmt.Errorf("no records")
		}
		return compare(int(rrs[0].Header().Ttl), words)
	},
	"queries": func(s *stage, words []string) error { return compare(len(s.asked), words) },
	"took": func(s *stage, words []string) error {
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		return compare(int(s.took/time.Millisecond), []string{words[0], strconv.Itoa(int(d / time.Millisecond))})
	},
	"asked": func(s *stage, words []string) error {
		if n := s.times(words); n == 0 {
			return fmt.Errorf("it was not")
		}
		return nil
	},
	"notasked": func(s *stage, words []string) error {
		if n := s.times(words); n > 0 {
			return fmt.Errorf("it was, %d times", n)
		}
		return nil
	},
	"sleep": func(_ *stage, words []string) error {
		d, err := time.ParseDuration(words[0])
		time.Sleep(d)
		synctest.Wait()
		return err
	},
	"down": func(s *stage, words []string) error { return s.power(words, true) },
	"up":   func(s *stage, words []string) error { return s.power(words, false) },
	"heal": func(s *stage, words []string) error {
		for _, w := range words {
			s.world.servers[netip.MustParseAddr(w)].rules = nil
		}
		return nil
	},
	"add": func(s *stage, words []string) error {
		rr, err := dns.ParseRR(strings.Join(words[1:], " "))
		if err == nil {
			s.world.zones[dns.Canonical(words[0])].add(rr)
		}
		return err
	},
	"delete": func(s *stage, words []string) error {
		t, ok := dns.ParseType(words[2])
		if !ok {
			return fmt.Errorf("unknown type")
		}
		s.world.zones[dns.Canonical(words[0])].del(dns.Canonical(words[1]), t)
		return nil
	},
	"option": func(s *stage, words []string) error {
		name, value, _ := strings.Cut(words[1], "=")
		s.world.zones[dns.Canonical(words[0])].options[name] = value
		return nil
	},
	"newkey": func(s *stage, words []string) error { return s.world.zones[dns.Canonical(words[0])].newKey() },
	"flush": func(s *stage, words []string) error {
		s.resolver.Flush(words[0], len(words) > 1 && words[1] == "below")
		return nil
	},
	"cached":   func(s *stage, words []string) error { return s.inCache(words, true) },
	"uncached": func(s *stage, words []string) error { return s.inCache(words, false) },
	"stat": func(s *stage, words []string) error {
		n, ok := statistics(s.resolver.Stats())[words[0]]
		if !ok {
			return fmt.Errorf("unknown statistic")
		}
		return compare(n, words[1:])
	},
}
