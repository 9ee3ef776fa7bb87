package main

import (
	"strings"
	"testing"
)

// A second run with other flags changes nothing, and says so.
func TestInitDiffers(t *testing.T) {
	dir := t.TempDir()
	initDone(t, dir, usualArgs...)
	if out := initDone(t, dir, usualArgs...); strings.Contains(out, "is not what was set up") {
		t.Errorf("the same flags:\n%s", out)
	}
	before := tree(t, dir)
	out := initDone(t, dir, "--address", "192.0.2.26", "--mx", "post", "--submission", "smtp.their.example", "--secondary-ns", "ns.friend.example")
	for _, want := range []string{
		"--address 192.0.2.26 is not what was set up, which is 192.0.2.25, 2001:db8::25", "--mx post is not what was set up, which is mx.their.example",
		"--secondary-ns ns.friend.example is not",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no word of %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "--submission smtp.their.example is not") || len(tree(t, dir)) != len(before) {
		t.Error("what is so already is called different, or something was made")
	}
}
