// Package peer finds other people's programs for tests. A test skips where its peer is
// absent; where REQUIRE_PEERS is set, as CI does, an absent peer fails it.
package peer

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the paths of the named programs, in order. It skips the test when one is
// absent, and fails it when REQUIRE_PEERS is set.
func Need(t testing.TB, programs ...string) []string {
	t.Helper()
	paths := make([]string, len(programs))
	for i, name := range programs {
		p, err := exec.LookPath(name)
		if err != nil {
			for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/lib/postfix/sbin/"} {
				if p, err = exec.LookPath(dir + name); err == nil {
					break
				}
			}
		}
		if err != nil {
			Missing(t, name+" is not installed")
		}
		paths[i] = p
	}
	return paths
}

// Missing skips the test for want of something that CI has, and fails it there.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_PEERS") != "" {
		t.Fatalf("%s, and REQUIRE_PEERS is set", why)
	}
	t.Skip(why)
}

// NeedPython returns a Python 3 that can import the named modules.
func NeedPython(t testing.TB, modules ...string) string {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if _, err := exec.LookPath(python); err != nil {
			continue
		}
		ok := true
		for _, m := range modules {
			ok = ok && exec.Command(python, "-c", "import "+m).Run() == nil
		}
		if ok {
			return python
		}
	}
	Missing(t, "no python3 with the needed modules")
	return ""
}

// NeedRoot skips the test for an ordinary user, and fails it in CI.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root")
	}
}
