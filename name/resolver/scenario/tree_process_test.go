package scenario

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// TestServeTree is no test but the servers of a tree in a process of their own, for who measures
// resolvers (lab/load/dns.sh uncached): until it is interrupted. TREE_SERVE names a directory,
// into which it writes the hints and anchor of the tree, and the questions that are worth asking:
// "sound" ones of zones that a sound signer makes, and all. TREE_ZONES is how many zones there
// are, TREE_DELAY the time that an answer takes to come, as from far away.
func TestServeTree(t *testing.T) {
	dir := os.Getenv("TREE_SERVE")
	if dir == "" {
		t.Skip("nobody asks for it")
	}
	n, err := strconv.Atoi(os.Getenv("TREE_ZONES"))
	if err != nil {
		t.Fatal(err)
	}
	delay, err := time.ParseDuration(os.Getenv("TREE_DELAY"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := newTree(n, 4)
	if err != nil {
		t.Fatal(err)
	}
	tree.delay = delay
	tree.listen(t)
	anchor, err := tree.world.anchor(".")
	if err != nil {
		t.Fatal(err)
	}
	root := tree.world.zones["."].options["at"]
	var all, sound strings.Builder
	for _, z := range tree.zones {
		for _, k := range z.ask {
			if strings.Contains(k.name, `\`) {
				continue // dnsperf reads no escapes
			}
			line := fmt.Sprintf("%s %s\n", k.name, dns.TypeName(k.t))
			all.WriteString(line)
			if !strings.HasPrefix(k.name, "void.") && !strings.Contains(k.name, ".void.") && z.sound() {
				sound.WriteString(line)
			}
		}
	}
	for name, text := range map[string]string{
		"hints": fmt.Sprintf(". 3600 NS ns1.root.\nns1.root. 3600 A %s\n", root), "anchor": anchor[0].String() + "\n",
		"all": all.String(), "sound": sound.String(), "root": root,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
}

// sound reports whether a zone and all that its answers depend on are as a sound signer and
// careful people have them.
func (z *treeZone) sound() bool {
	return !hasAny(z.all(), "sig=", "time=", "ds=wrong", "ds=digest", "ds=algorithm", "ds=sha1", "ds=stale", "alg=sha1",
		"iterations=50", "iterations=15", "also=", "none.hosts", "broken.")
}
