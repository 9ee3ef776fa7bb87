package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

func TestConfigErrorsShowThePlace(t *testing.T) {
	const good = "domain = 'a.example'\n[users]\nremote = '/u'\n"
	for in, want := range map[string]string{
		good + "[submit]\nper_minutes = 5\n":       "per_minutes",
		good + "[submit]\nper_minute = 'many'\n":   "line 5",
		good + "[queue]\nlife = '5 days'\n":        "5 days",
		good + "[sign]\nprivate_key = '@/none'\n":  "/none",
		good + "[log]\nformat = 'xml'\n":           "text, json",
		"[users]\nremote = '/u'\n":                 "no domain",
		"domain = 'a b'\n[users]\nremote = '/u'\n": "a b",
		"domain = 'a.example'\n":                   "no users repository",
		good + "[submit\n":                         "line 4",
	} {
		_, err := parseConfig([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant an error with %q", in, err, want)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := parseConfig([]byte("domain = 'Bücher.example'\n[users]\nremote = '/u'\n[limits]\nmax_size = '1M'\n[verify]\nhonour_reject = false\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Domain != "xn--bcher-kva.example" || c.Name != c.Domain || c.Limits.MaxSize != 1<<20 || c.Verify.HonourReject ||
		time.Duration(c.Queue.Life) != 120*time.Hour || c.Submit.PerMinute != 60 || len(c.Verify.Listen) != 1 {
		t.Errorf("%+v", c)
	}
}

// The sample says of every key what the program does without it.
func TestSample(t *testing.T) {
	sample := sampleConfig()
	var uncommented strings.Builder
	for line := range strings.Lines(sample) {
		if key, rest, ok := strings.Cut(line, " = "); ok && strings.HasPrefix(key, "# ") && !strings.Contains(key[2:], " ") &&
			!strings.HasPrefix(rest, `""`) {
			line = line[2:]
		}
		uncommented.WriteString(line)
	}
	c, err := parseConfig([]byte("domain = 'a.example'\n" + strings.Replace(uncommented.String(), "[users]", "[users]\nremote = '/u'", 1)))
	if err != nil {
		t.Fatalf("%v\n%s", err, uncommented.String())
	}
	bare, err := parseConfig([]byte("domain = 'a.example'\n[users]\nremote = '/u'\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Queue.Life != bare.Queue.Life || c.Verify.GreetDelay != bare.Verify.GreetDelay || c.Verify.HonourReject != bare.Verify.HonourReject {
		t.Error("the sample changes the defaults")
	}
	checkGenerated(t, "../../docs/sample.toml", sample)
}

func checkGenerated(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is out of date (%v): go test ./cmd/stagecoach -run 'TestSample|TestCommands' -update", file, err)
	}
}
