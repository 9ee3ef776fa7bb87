package arc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
)

// TestSuite runs ValiMail's suite, where it is present.
func TestSuite(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "suites", "arc-draft-validation-tests.yml"))
	if err != nil {
		t.Skip("ValiMail's suite is not here: ", err)
	}
	n := 0
	for _, s := range readSuite(string(text)) {
		names := dnstest.Zone(t, s.zone())
		for _, c := range s.cases {
			if c.cv = strings.TrimSpace(c.cv); c.cv == "" {
				c.cv = "fail" // the suite has no opinion on a chain that says so itself
			}
			n++
			got := Verify(t.Context(), mail.NewMessage([]byte(c.message)), names)
			if !strings.Contains(strings.ToLower(c.cv), string(got.Status)) {
				t.Errorf("%s: %s (%v), want %s", c.name, got.Status, got.Problem, c.cv)
			}
		}
	}
	if n < 150 {
		t.Errorf("only %d cases were read", n)
	}
	t.Logf("%d cases", n)
}

type suite struct {
	cases []*suiteCase
	txt   [][2]string
}

type suiteCase struct{ name, message, cv string }

func (s suite) zone() string {
	var b strings.Builder
	for _, r := range s.txt {
		fmt.Fprintf(&b, "%s. TXT", r[0])
		for text := r[1]; text != ""; text = text[min(200, len(text)):] {
			fmt.Fprintf(&b, " %q", text[:min(200, len(text))])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// readSuite reads the subset of YAML that the suite is written in: mappings of two levels,
// whose leaves are words or blocks.
func readSuite(text string) []suite {
	suites := []suite{{}}
	section, key := "", ""
	var block *string // that lines are added to
	folded := false
	for line := range strings.SplitSeq(text, "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		inBlock := block != nil && (strings.TrimSpace(line) == "" || indent >= 6 || section == "txt-records" && indent >= 4)
		s := &suites[len(suites)-1]
		switch {
		case inBlock && folded:
			*block += strings.TrimSpace(line) + " "
		case inBlock:
			*block += strings.TrimPrefix(line, "      ") + "\r\n"
		case strings.HasPrefix(line, "---"):
			suites, block = append(suites, suite{}), nil
		case indent == 0 && line != "":
			section, _, _ = strings.Cut(line, ":")
			block = nil
		case indent == 2:
			key, _, _ = strings.Cut(strings.TrimSpace(line), ":")
			block = nil
			if section == "tests" {
				s.cases = append(s.cases, &suiteCase{name: key})
			} else if section == "txt-records" {
				s.txt = append(s.txt, [2]string{key, ""})
				block, folded = &s.txt[len(s.txt)-1][1], true
			}
		case indent == 4 && section == "tests":
			block = s.cases[len(s.cases)-1].set(strings.TrimSpace(line), &folded)
		}
	}
	for _, s := range suites {
		for _, c := range s.cases {
			// The blank lines before the next key belong to no body.
			c.message = strings.TrimSuffix(c.message, "\r\n")
		}
	}
	return suites
}

// set takes a key and its value, and returns where the lines of a block go.
func (c *suiteCase) set(line string, folded *bool) *string {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	into := map[string]*string{"message": &c.message, "cv": &c.cv}[name]
	if into == nil {
		into = new(string)
	}
	if value == "|" || value == ">-" || value == "|-" {
		*folded = value != "|"
		return into
	}
	*into = value
	return nil
}
