// Package newcomer goes the newcomer's way, in the Internet of the lab and on the real ports: from
// an empty directory by "stagecoach init" and three actions to mail that the large receivers
// accept; and then breaks one thing after the other, and sees that "stagecoach check" names it.
//
// It needs root, for a network of its own.
package newcomer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

// inside marks the process that has a network, mounts and process numbers of its own.
const inside = "NEWCOMER_INSIDE"

func TestMain(m *testing.M) {
	if os.Getuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Nothing of the test outlives this process, and none of it is seen outside.
	cmd := exec.Command("unshare", append([]string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// What must be seen: less than two minutes, and nobody at the keyboard.
const limit = 2 * time.Minute

func TestNewcomer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	peer.NeedRoot(t)
	peer.Need(t, "ip", "iptables", "unshare", "git", "nsupdate")
	w := newScene(t)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	said := w.init(ctx)
	w.actions(said)
	w.serve()
	w.green(ctx)
	t.Logf("green after %v", time.Since(began).Round(100*time.Millisecond))
	w.confirmed(ctx, "ann", "ann.archer")
	t.Logf("confirmed after %v", time.Since(began).Round(100*time.Millisecond))
	w.mailOut(ctx, "ann", said.password)
	w.mailIn(ctx, "ann", "ann.archer")
	t.Logf("mail of the first user after %v", time.Since(began).Round(100*time.Millisecond))
	w.secondUser(ctx)
	t.Logf("mail of the second user after %v", time.Since(began).Round(100*time.Millisecond))
	if t.Failed() {
		return
	}
	w.breakAll()
}
