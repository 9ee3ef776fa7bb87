package check

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sample = &Report{
	Version: 1, Domain: "example.org", Time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Took: 1.5, Result: Wrong,
	Lines: []Line{
		{ID: "mx", Status: OK, About: "example.org", Text: "mail goes to mx.example.org (192.0.2.25)"},
		{ID: "ptr", Status: Wrong, About: "192.0.2.25", Text: "the address has no name", Why: "Many refuse mail then.", Fix: "Set it at the hoster."},
		{ID: "ptr", Status: Wrong, About: "2001:db8::25", Text: "the address has no name", Why: "Many refuse mail then.", Fix: "Set it at the hoster."},
		{ID: "mta-sts", Status: Note, Text: "there is none", Why: strings.Repeat("word ", 20), Fix: "Publish it."},
		{ID: "clock", Status: Skipped, Text: "there is no clock to compare with"},
		{ID: "soa", Status: Unknown, Text: "no answer", Why: "It matters.", Fix: "Look."},
	},
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	if err := sample.WriteText(&out, Style{Width: 80}); err != nil {
		t.Fatal(err)
	}
	want := `example.org

ok      mx           example.org: mail goes to mx.example.org (192.0.2.25)
WRONG   ptr          192.0.2.25: the address has no name
WRONG                2001:db8::25: the address has no name
                     why: Many refuse mail then.
                     do:  Set it at the hoster.
note    mta-sts      there is none
                     why: word word word word word word word word word word word
                          word word word word word word word word word
                     do:  Publish it.
skipped clock        there is no clock to compare with
unknown soa          no answer
                     why: It matters.
                     do:  Look.

2 things are wrong, 1 could not be told, 1 could be better.
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	out.Reset()
	if err := sample.WriteText(&out, Style{Colour: true, Symbols: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[1;31m✗ \x1b[0mptr") {
		t.Errorf("no colour:\n%q", out.String())
	}
}

// The form of the JSON is a promise: docs/check.md describes it.
func TestJSON(t *testing.T) {
	r := *sample
	r.Lines = sample.Lines[1:2]
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	want := `{
  "version": 1,
  "domain": "example.org",
  "time": "2026-11-21T12:00:00Z",
  "seconds": 1.5,
  "result": "wrong",
  "lines": [
    {
      "id": "ptr",
      "status": "wrong",
      "about": "192.0.2.25",
      "text": "the address has no name",
      "why": "Many refuse mail then.",
      "fix": "Set it at the hoster."
    }
  ]
}
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	var back Report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || !cmp.Equal(back, r) {
		t.Errorf("does not come back: %v", err)
	}
}

func TestOnlyAndSkip(t *testing.T) {
	w := newWorld(t)
	w.options = Options{Only: []string{"spf", "gmail"}, Skip: []string{"ptr"}}
	var ids []string
	for _, l := range w.run().Lines {
		ids = append(ids, l.ID)
	}
	if !slices.Equal(ids, []string{"spf", "gmail"}) {
		t.Errorf("the lines are %v", ids)
	}
	if _, err := Run(t.Context(), &w.env, w.target, Options{Only: []string{"nonsense"}}); err == nil || !strings.Contains(err.Error(), "mta-sts") {
		t.Errorf("an unknown check: %v", err)
	}
}

// Where nothing answers at all, the end comes in time, nothing is called wrong that the DNS
// would have to tell, and the progress goes down to nothing.
func TestTimeIsUp(t *testing.T) {
	w := newWorld(t)
	w.run() // fills env
	w.env.Patience = time.Hour
	w.env.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	last := -1
	r, err := Run(t.Context(), &w.env, w.target, Options{Time: 200 * time.Millisecond, Progress: func(names []string) { last = len(names) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Took > 30 || last != 0 {
		t.Errorf("it took %v s, %d are waited for", r.Took, last)
	}
	for _, l := range r.Lines {
		if l.Status == Wrong {
			t.Errorf("%s is wrong: %s", l.ID, l.Text)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\r\nb\x1b[31mc\u202ed" + strings.Repeat("x", 1000)); strings.ContainsAny(got, "\r\n\x1b\u202e") || len(got) > maxText+3 {
		t.Errorf("%q", got)
	}
}

// A check whose cause is not in the report does not pass for all right.
func TestOnlyWithoutTheCause(t *testing.T) {
	w := newWorld(t)
	w.refused["192.0.2.25:25"], w.refused["[2001:db8::25]:25"] = true, true
	w.options.Only = []string{"starttls"}
	if r := w.run(); r.Result != Unknown {
		t.Errorf("starttls without port-25-in: %+v", r.Lines)
	}
	w.options.Only = []string{"starttls", "port-25-in"}
	if r := w.run(); r.Result != Wrong || r.Lines[len(r.Lines)-1].Status != Skipped {
		t.Errorf("starttls with port-25-in: %+v", r.Lines)
	}
	w = newWorld(t)
	w.replace("25.2.0.192.in-addr.arpa. PTR mx.stage.example.\n", "")
	w.options.Only = []string{"gmail"}
	if r := w.run(); r.Result != Wrong || !strings.Contains(r.Lines[0].Text, "ptr") {
		t.Errorf("gmail without ptr: %+v", r.Lines)
	}
}
