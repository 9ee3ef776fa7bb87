package spf

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

func TestSuite7208(t *testing.T) { runSuite(t, "rfc7208-tests.yml") }
func TestSuite4408(t *testing.T) { runSuite(t, "rfc4408-tests.yml") }

func runSuite(t *testing.T, name string) {
	file, err := os.Open(filepath.Join("..", "..", "..", "shared", "suites", name))
	if err != nil {
		t.Skip("the openspf.org suite is not here: ", err)
	}
	defer file.Close()
	n := 0
	for _, s := range readSuite(t, file) {
		names := s.names(t)
		for _, c := range s.cases {
			id := s.title + "/" + c.name
			n++
			got := c.run(t, names)
			if !slices.Contains(c.results, string(got.Result)) {
				t.Errorf("%s: %s (%v), want %v\n\tmailfrom %s helo %s host %s", id, got.Result, got.Problem, c.results, c.from, c.helo, c.host)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d cases were read", n)
	}
	t.Logf("%d cases", n)
}

type suite struct {
	title string
	cases []suiteCase
	zone  []suiteRecord
}

type suiteCase struct {
	name, helo, host, from string
	results                []string
}

type suiteRecord struct{ owner, kind, value string }

func (c suiteCase) run(t *testing.T, x dns.Exchanger) Outcome {
	ip, err := netip.ParseAddr(c.host)
	if err != nil {
		t.Fatal(err)
	}
	if c.from == "" {
		return Check(t.Context(), x, ip, c.helo, mail.Address{})
	}
	i := strings.LastIndexByte(c.from, '@')
	return check(t.Context(), x, MailFrom, ip, c.helo, c.from[:max(i, 0)], c.from[i+1:])
}

// names makes an Exchanger of the zone data, by the conventions of the suite: an SPF record
// stands for a TXT record too unless the name has one, TXT NONE is a TXT record that is not
// there, and TIMEOUT is the answer to all that the name has no records for.
func (s suite) names(t *testing.T) *dnstest.Names {
	var zone strings.Builder
	hasTXT := map[string]bool{}
	kinds := map[string][]uint16{}
	for _, r := range s.zone {
		hasTXT[r.owner] = hasTXT[r.owner] || r.kind == "TXT"
	}
	for _, r := range s.zone {
		kind := r.kind
		if kind == "SPF" {
			if kind = "TXT"; hasTXT[r.owner] {
				continue
			}
		}
		if kind == "TIMEOUT" || kind == "TXT" && r.value == "NONE" {
			continue
		}
		number, ok := dns.ParseType(kind)
		if !ok {
			t.Fatalf("record type %q", kind)
		}
		kinds[r.owner] = append(kinds[r.owner], number)
		fmt.Fprintf(&zone, "%s. %s %s\n", escapeName(r.owner), kind, rdata(kind, r.value))
	}
	names := dnstest.Zone(t, zone.String())
	for _, r := range s.zone {
		if r.kind != "TIMEOUT" {
			continue
		}
		for _, number := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR, dns.TypeTXT} {
			if !slices.Contains(kinds[r.owner], number) {
				names.Fail(escapeName(r.owner), dnstest.Timeout, number)
			}
		}
	}
	return names
}

func rdata(kind, value string) string {
	switch kind {
	case "TXT":
		var b strings.Builder
		for len(value) > 0 {
			n := min(len(value), 200)
			b.WriteString(`"` + escapeBytes(value[:n], "") + `" `)
			value = value[n:]
		}
		if b.Len() == 0 {
			return `""`
		}
		return b.String()
	case "MX":
		pref, host, _ := strings.Cut(value, "\x1f")
		return pref + " " + strings.TrimSuffix(escapeName(host), ".") + "."
	case "CNAME", "PTR":
		return strings.TrimSuffix(escapeName(value), ".") + "."
	}
	return value
}

func escapeName(s string) string { return escapeBytes(s, ".-_") }

func escapeBytes(s, plain string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlpha(c) || isDigit(c) || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}

// readSuite reads the subset of YAML that the suite is written in: documents of "tests" and
// "zonedata", each two levels of mappings, whose leaves are scalars or flow lists.
func readSuite(t *testing.T, file *os.File) []suite {
	var suites []suite
	section, entry := "", ""
	for _, l := range logicalLines(t, file) {
		switch key, value := cutKey(l.text); {
		case l.text == "---":
			suites = append(suites, suite{})
		case l.indent == 0:
			section = key
			if key == "description" {
				suites[len(suites)-1].title = value
			}
		case l.indent == 2:
			entry = unquote(key)
			if s := &suites[len(suites)-1]; section == "tests" {
				s.cases = append(s.cases, suiteCase{name: entry})
			}
		case section == "tests":
			s := &suites[len(suites)-1]
			s.cases[len(s.cases)-1].set(key, value)
		default:
			s := &suites[len(suites)-1]
			kind, value := cutKey(strings.TrimSpace(strings.TrimPrefix(l.text, "-")))
			joined := strings.Join(list(value), "")
			if kind == "MX" {
				joined = strings.Join(list(value), "\x1f")
			}
			s.zone = append(s.zone, suiteRecord{entry, kind, joined})
		}
	}
	return suites
}

func (c *suiteCase) set(key, value string) {
	switch key {
	case "helo":
		c.helo = unquote(value)
	case "host":
		c.host = unquote(value)
	case "mailfrom":
		c.from = unquote(value)
	case "result":
		c.results = list(value)
	}
}

type logicalLine struct {
	indent int
	text   string
}

// logicalLines joins what is continued, and drops comments and blank lines.
func logicalLines(t *testing.T, file *os.File) []logicalLine {
	var out []logicalLine
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		text := strings.TrimSpace(scanner.Text())
		indent := len(scanner.Text()) - len(strings.TrimLeft(scanner.Text(), " "))
		if text == "" || strings.HasPrefix(text, "#") && indent < 4 {
			continue
		}
		if n := len(out) - 1; n >= 0 && indent > out[n].indent && !opens(out[n]) {
			out[n].text += " " + text
			continue
		}
		out = append(out, logicalLine{indent, text})
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// opens reports whether the lines below l are its children, not its continuation.
func opens(l logicalLine) bool {
	return l.indent < 4 && strings.HasSuffix(l.text, ":")
}

func cutKey(s string) (key, value string) {
	from := 0
	if strings.HasPrefix(s, `"`) { // a quoted key
		from = strings.LastIndexByte(s, '"')
	}
	if i := strings.Index(s[from:], ": "); i >= 0 {
		return s[:from+i], strings.TrimSpace(s[from+i+2:])
	}
	return strings.TrimSuffix(s, ":"), ""
}

func list(s string) []string {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok {
		return []string{unquote(s)}
	}
	var out []string
	for item := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, unquote(item))
		}
	}
	return out
}

func unquote(s string) string {
	if strings.HasPrefix(s, "'") {
		return strings.ReplaceAll(strings.Trim(s, "'"), "''", "'")
	}
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	if u, err := strconv.Unquote(strings.ReplaceAll(s, `\0`, `\x00`)); err == nil {
		return u
	}
	return strings.Trim(s, `"`)
}
