package scenario

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A rule is how a server misbehaves for some questions.
type rule struct {
	name   string // "*" for all; "*.example." for all below
	t      uint16 // 0 for all
	how    string // "udp", "tcp" or ""
	times  int    // left; below 0 always
	action [][]string
}

// A turn is one response on its way out.
type turn struct {
	w      *world
	q, r   *dns.Msg
	tcp    bool
	silent bool
	delay  time.Duration
	before [][]byte // datagrams that come first
}

func parseRules(text string) ([]*rule, error) {
	var rules []*rule
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "match":
			r, err := parseMatch(words[1:])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
			}
			rules = append(rules, r)
		case len(rules) == 0:
			return nil, fmt.Errorf("%q stands before any match", strings.TrimSpace(line))
		default:
			if actions[words[0]] == nil {
				return nil, fmt.Errorf("unknown action %q", words[0])
			}
			last := rules[len(rules)-1]
			last.action = append(last.action, words)
		}
	}
	return rules, nil
}

func parseMatch(words []string) (*rule, error) {
	r := &rule{times: -1}
	for i, w := range words {
		switch {
		case i == 0 && strings.HasPrefix(w, "*"):
			r.name = w
		case i == 0:
			r.name = dns.Canonical(w)
		case w == "udp" || w == "tcp":
			r.how = w
		case strings.HasPrefix(w, "times="):
			n, err := strconv.Atoi(w[6:])
			if err != nil {
				return nil, err
			}
			r.times = n
		case w == "*":
		default:
			t, ok := dns.ParseType(w)
			if !ok {
				return nil, fmt.Errorf("unknown type %q", w)
			}
			r.t = t
		}
	}
	return r, nil
}

func (s *server) match(name string, t uint16, tcp bool) *rule {
	for _, r := range s.rules {
		fits := r.name == "*" || r.name == name || strings.HasPrefix(r.name, "*.") && strings.HasSuffix(name, "."+r.name[2:])
		if !fits || r.t != 0 && r.t != t || r.times == 0 || r.how == "tcp" && !tcp || r.how == "udp" && tcp {
			continue
		}
		r.times--
		return r
	}
	return nil
}

func (r *rule) apply(t *turn) {
	for _, words := range r.action {
		actions[words[0]](t, words[1:])
	}
}

func (t *turn) pack() []byte {
	wire, err := t.r.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func (t *turn) sections() map[string]*[]dns.RR {
	return map[string]*[]dns.RR{"answer": &t.r.Answer, "authority": &t.r.Ns, "additional": &t.r.Extra}
}

// put adds a record, given as zone text; QNAME in it stands for the name that is asked for.
func (t *turn) put(section string, words []string) dns.RR {
	name := dns.Canonical(t.q.Question[0].Name)
	text := strings.ReplaceAll(strings.ReplaceAll(strings.Join(words, " "), "QNAME.", name), "QNAME", name)
	rr := dns.MustParseRR(text)
	s := t.sections()[section]
	*s = append(*s, rr)
	return rr
}

func (t *turn) strip(drop func(dns.RR) bool) {
	for _, s := range t.sections() {
		var kept []dns.RR
		for _, rr := range *s {
			if !drop(rr) {
				kept = append(kept, rr)
			}
		}
		*s = kept
	}
}

func rcodeOf(name string) int {
	for code := range 24 {
		if dns.RcodeName(code) == name {
			return code
		}
	}
	panic("unknown response code " + name)
}

// forged returns the response changed, as a datagram.
func (t *turn) forged(change func(*dns.Msg)) []byte {
	m := t.r.Copy()
	change(m)
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// actions are what a rule may do to a response.
var actions = map[string]func(t *turn, words []string){
	"timeout": func(t *turn, _ []string) { t.silent = true },
	"delay": func(t *turn, words []string) {
		t.delay, _ = time.ParseDuration(words[0]) //nolint:errcheck // 0 then
	},
	"rcode": func(t *turn, words []string) { t.r.Rcode = rcodeOf(words[0]) },
	"tc": func(t *turn, _ []string) {
		t.r.Truncated = true
		t.r.Answer, t.r.Ns = nil, nil
	},
	"aa":   func(t *turn, _ []string) { t.r.Authoritative = true },
	"noaa": func(t *turn, _ []string) { t.r.Authoritative = false },
	"ra":   func(t *turn, _ []string) { t.r.RecursionAvailable = true },
	"ad":   func(t *turn, _ []string) { t.r.AuthenticatedData = true },
	"clear": func(t *turn, words []string) {
		if len(words) == 0 {
			t.r.Rcode = dns.RcodeSuccess
		}
		for name, s := range t.sections() {
			if len(words) == 0 || words[0] == name {
				*s = nil
			}
		}
	},
	"answer":     func(t *turn, words []string) { t.put("answer", words) },
	"authority":  func(t *turn, words []string) { t.put("authority", words) },
	"additional": func(t *turn, words []string) { t.put("additional", words) },
	// sign SECTION ZONE RR: adds a record that a zone's key has signed
	"sign": func(t *turn, words []string) {
		rr := t.put(words[0], words[2:])
		s := t.sections()[words[0]]
		*s = append(*s, t.w.zones[dns.Canonical(words[1])].sign([]dns.RR{rr}))
	},
	// deny ZONE NAME: adds the NSEC or NSEC3 of a zone for a name
	"deny": func(t *turn, words []string) {
		z := t.w.zones[dns.Canonical(words[0])]
		(&answer{z: z, r: t.r, secure: true}).deny(dns.Canonical(words[1]))
	},
	// rename FROM TO: gives the records of one name another, as if from a wildcard
	"rename": func(t *turn, words []string) {
		for _, s := range t.sections() {
			for _, rr := range *s {
				if dns.Canonical(rr.Header().Name) == dns.Canonical(words[0]) {
					rr.Header().Name = dns.Canonical(words[1])
				}
			}
		}
	},
	// strip TYPE: takes out the records of a type, and their signatures
	"strip": func(t *turn, words []string) {
		typ, ok := dns.ParseType(words[0])
		if !ok {
			panic("unknown type " + words[0])
		}
		t.strip(func(rr dns.RR) bool {
			sig, isSig := rr.(*dns.RRSIGRecord)
			return rr.Header().Rrtype == typ || isSig && sig.TypeCovered == typ
		})
	},
	"spoil": func(t *turn, words []string) {
		typ, _ := dns.ParseType(words[0])
		for _, s := range t.sections() {
			for _, rr := range *s {
				if sig, ok := rr.(*dns.RRSIGRecord); ok && sig.TypeCovered == typ {
					spoil(sig)
				}
			}
		}
	},
	// repeat N: the signatures come N times more, all of them wrong
	"repeat": func(t *turn, words []string) {
		n, _ := strconv.Atoi(words[0]) //nolint:errcheck // 0 then
		for _, s := range t.sections() {
			for _, rr := range *s {
				if _, ok := rr.(*dns.RRSIGRecord); !ok {
					continue
				}
				for i := range n {
					c := dns.Copy(rr).(*dns.RRSIGRecord)
					spoil(c)
					c.Inception -= uint32(i + 1)
					*s = append([]dns.RR{c}, *s...)
				}
			}
		}
	},
	// labels N: signatures claim N labels
	"labels": func(t *turn, words []string) {
		n, _ := strconv.Atoi(words[0]) //nolint:errcheck // 0 then
		for _, rr := range t.r.Answer {
			if sig, ok := rr.(*dns.RRSIGRecord); ok {
				sig.Labels = uint8(n)
			}
		}
	},
	"noedns": func(t *turn, _ []string) {
		if t.q.IsEdns0() != nil {
			t.r = dns.NewResponse(t.q, dns.RcodeFormatError)
		}
	},
	"badvers": func(t *turn, _ []string) {
		if t.q.IsEdns0() != nil {
			t.r = dns.NewResponse(t.q, dns.RcodeBadVers)
			t.r.SetEdns0(1232, false)
		}
	},
	"deaf": func(t *turn, _ []string) { t.silent = t.q.IsEdns0() != nil },
	"plain": func(t *turn, _ []string) {
		t.strip(func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	},
	"lowercase": func(t *turn, _ []string) { t.r.Question[0].Name = dns.Canonical(t.r.Question[0].Name) },
	"cookie": func(t *turn, words []string) {
		c := dns.CookieOf(t.q)
		switch {
		case words[0] == "wrong":
			c = []byte("01234567abcdefgh")
		case words[0] == "demand" && len(c) == 8:
			t.r = dns.NewResponse(t.q, dns.RcodeBadCookie)
			t.r.SetEdns0(1232, true)
			fallthrough
		default:
			c = append(append([]byte(nil), c[:8]...), "serverck"...)
		}
		dns.SetCookie(t.r, c)
	},
	// forge N id|name|both: N datagrams with a false answer come before the true one
	"forge": func(t *turn, words []string) {
		n, _ := strconv.Atoi(words[0]) //nolint:errcheck // 0 then
		for i := range n {
			t.before = append(t.before, t.forged(func(m *dns.Msg) {
				m.Answer = []dns.RR{dns.MustParseRR(dns.Canonical(m.Question[0].Name) + " 3600 A 6.6.6.6")}
				if words[1] != "name" {
					m.Id += uint16(i + 1)
				}
				if words[1] != "id" {
					m.Question[0].Name = "forged." + m.Question[0].Name
				}
			}))
		}
	},
	"question": func(t *turn, words []string) { t.r.Question[0].Name = dns.Canonical(words[0]) },
	"garbage":  func(t *turn, _ []string) { t.before = append(t.before, []byte("no message at all")) },
	// phantom N: refers to N servers at addresses of their own, where nobody listens
	"phantom": func(t *turn, words []string) {
		n, _ := strconv.Atoi(words[0]) //nolint:errcheck // 0 then
		h := fnv.New32()
		h.Write([]byte(dns.Canonical(t.q.Question[0].Name))) //nolint:errcheck // it does not fail
		for i := range n {
			t.put("authority", strings.Fields(fmt.Sprintf("QNAME 3600 NS n%d.QNAME", i)))
			t.put("additional", strings.Fields(fmt.Sprintf("n%d.QNAME 3600 A 12.%d.%d.%d", i, h.Sum32()>>8&255, h.Sum32()&255, i+1)))
		}
	},
	// many N SECTION RR: adds N records, # in the text their number, #x in two hexadecimal digits
	"many": func(t *turn, words []string) {
		n, _ := strconv.Atoi(words[0]) //nolint:errcheck // 0 then
		for i := range n {
			text := strings.ReplaceAll(strings.Join(words[2:], " "), "#x", fmt.Sprintf("%02x", i))
			t.put(words[1], strings.Fields(strings.ReplaceAll(text, "#", strconv.Itoa(i))))
		}
	},
}
