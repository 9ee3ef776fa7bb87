package check

import (
	"io"
	"log"
	"slices"
	"testing"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// A healthy domain is all green: each check says ok and nothing else.
func TestHealthy(t *testing.T) {
	r := newWorld(t).run()
	seen := map[string]bool{}
	for _, l := range r.Lines {
		seen[l.ID] = true
		if l.Status != OK {
			t.Errorf("%s %s: %s: %s", l.Status, l.ID, l.About, l.Text)
		}
	}
	for _, id := range IDs() {
		if !seen[id] {
			t.Errorf("%s says nothing", id)
		}
	}
	if r.Result != OK || r.Summary() != "All is right." {
		t.Errorf("the result is %s: %s", r.Result, r.Summary())
	}
}

func TestEveryCheckExplains(t *testing.T) {
	var ids []string
	for _, c := range Checks() {
		if c.ID == "" || c.Title == "" || c.Why == "" || c.Fix == "" || (c.run == nil) == (len(c.after) == 0) {
			t.Errorf("%+v is not complete", c)
		}
		if slices.Contains(ids, c.ID) {
			t.Errorf("%s stands twice", c.ID)
		}
		for _, id := range c.after {
			if !slices.Contains(ids, id) {
				t.Errorf("%s judges %s, which does not come before it", c.ID, id)
			}
		}
		ids = append(ids, c.ID)
	}
}
