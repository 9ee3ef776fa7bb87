package authority

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// restart makes the authority that the next process has.
func restart(t *testing.T, bare string, set ...func(*Authority)) (*Authority, *dns.Client) {
	t.Helper()
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Repo: r}
	for _, f := range set {
		f(a)
	}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	port := listenAt(t, "127.0.0.1:0", a, a.Key)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	return a, client(at, dns.TCP, keyNamed(t, "personal._update.example"))
}

// insert makes one change and returns the SOA after it.
func insert(t *testing.T, a *Authority, c *dns.Client, name string) *dns.SOARecord {
	t.Helper()
	m := dns.NewUpdate("example")
	m.Insert(rrs(t, name+".example. 300 TXT x"))
	if err := dns.Do(t.Context(), c, m); err != nil {
		t.Fatal(err)
	}
	z, _ := a.Zone("example")
	return z.SOA()
}

// What a secondary has, with the increment that it gets, is what we have; where that cannot be
// known it gets all.
func follow(t *testing.T, a *Authority, c *dns.Client, has *Zone, increment bool) {
	t.Helper()
	got, err := c.Transfer(t.Context(), "example", has.SOA())
	if err != nil {
		t.Fatal(err)
	}
	if got.Whole() == increment {
		t.Errorf("whole: %v", got.Whole())
	}
	held, err := NewZone("example", has.Records())
	if err != nil {
		t.Fatal(err)
	}
	z, err := assemble("example.", &zoneCopy{held, time.Now()}, got)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := a.Zone("example")
	if d := differs(z.Records(), want.Records()); d != "" {
		t.Errorf("a secondary has something else:\n%s", d)
	}
}

// A signed zone is served by the next process as it was before, so that increments go on; unless
// the keys have changed meanwhile, or something else that the serial does not tell.
func TestIncrementsOfSignedZonesAfterRestart(t *testing.T) {
	t.Parallel()
	s := &Signing{Dir: t.TempDir()}
	sign := func(a *Authority) { a.Signing = s }
	first, at, _, bare := start(t, signedFiles(), sign)
	c := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
	insert(t, first, c, "a")
	before, _ := first.Zone("example")

	second, c := restart(t, bare, sign)
	insert(t, second, c, "b")
	follow(t, second, c, before, true)
	before, _ = second.Zone("example")

	if err := s.RollKSK("example", time.Now()); err != nil {
		t.Fatal(err)
	}
	third, c := restart(t, bare, sign)
	same, _ := third.Zone("example")
	if same.Serial() != before.Serial() || differs(same.Records(), before.Records()) == "" {
		t.Fatal("the new key shows nowhere, or the serial has changed")
	}
	insert(t, third, c, "c")
	follow(t, third, c, before, false)
	before, _ = third.Zone("example")

	fourth, c := restart(t, bare, func(a *Authority) { a.Signing = &Signing{Dir: s.Dir, NSEC3: true} })
	insert(t, fourth, c, "d")
	follow(t, fourth, c, before, false)
}

// A serial that stood for two contents is no beginning of an increment, in one process and in the
// next.
func TestNoIncrementsFromDoubtfulSerials(t *testing.T) {
	t.Parallel()
	text := func(serial int, more string) map[string]string {
		return map[string]string{"example": fmt.Sprintf("@ 60 SOA ns h %d 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n", serial) + more}
	}
	first, at, work, bare := start(t, testFiles)
	c := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
	reload := func() *Zone {
		t.Helper()
		if err := first.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		z, _ := first.Zone("example")
		return z
	}
	push(t, work, text(8, "a 60 TXT one\n"))
	one := reload()
	push(t, work, text(8, "a 60 TXT two\nb 60 TXT two\n"))
	reload()
	push(t, work, text(9, "a 60 TXT two\nb 60 TXT two\nc 60 TXT three\n"))
	nine := reload()
	follow(t, first, c, one, false)

	second, c := restart(t, bare)
	follow(t, second, c, one, false)
	insert(t, second, c, "d")
	follow(t, second, c, one, false)
	follow(t, second, c, nine, true)
	ten, _ := second.Zone("example")
	git(t, work, "pull", "-q", "origin", "main")
	push(t, work, text(int(ten.Serial()), "x 60 TXT other\n"))

	third, c := restart(t, bare)
	insert(t, third, c, "e")
	follow(t, third, c, ten, false)
}
