package authority

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

const secret = "PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="

var testFiles = map[string]string{
	"example": exampleText,
	"other":   "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n",
	"example._keys": "personal._update.example. DNSKEY 0 3 163 " + secret + "\n" +
		"signer._update.example. DNSKEY 0 3 163 " + secret + "\n" +
		"second._transfer.example. DNSKEY 0 3 165 " + secret + "\n" +
		"hook._notify.example. DNSKEY 0 3 163 " + secret + "\n" +
		"sub._update.sub.example. DNSKEY 0 3 163 " + secret + "\n",
	"other._keys":     "personal._update.other. DNSKEY 0 3 163 " + secret + "\n",
	"example._grants": "; narrow\nsigner._update.example TXT *._domainkey\n",
}

func keyNamed(t testing.TB, name string) dns.Key {
	t.Helper()
	alg := "SHA256"
	if strings.Contains(name, "_transfer") {
		alg = "SHA512"
	}
	k, err := dns.ParseKey(name + ":" + alg + ":" + secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "git")[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// push commits files in the checkout and pushes them over whatever is there.
func push(t testing.TB, work string, files map[string]string) {
	t.Helper()
	writeFiles(t, work, files)
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "by hand")
	git(t, work, "push", "-q", "origin", "main")
}

// start runs an Authority over a bare repository that holds files.
func start(t testing.TB, files map[string]string, set ...func(*Authority)) (a *Authority, at netip.AddrPort, work, bare string) {
	t.Helper()
	dir := t.TempDir()
	work, bare = filepath.Join(dir, "work"), filepath.Join(dir, "zones.git")
	git(t, dir, "init", "-q", "-b", "main", "work")
	git(t, dir, "init", "-q", "--bare", "-b", "main", "zones.git")
	git(t, work, "remote", "add", "origin", bare)
	push(t, work, files)
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a = &Authority{Repo: r}
	for _, f := range set {
		f(a)
	}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	conns, l, err := dns.Listen(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &dns.Server{Handler: a, Keys: a.Key}
	var wg sync.WaitGroup
	wg.Go(func() { s.ServePacket(ctx, conns...) })
	wg.Go(func() { s.Serve(ctx, l) })
	wg.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a, l.Addr().(*net.TCPAddr).AddrPort(), work, bare
}

func client(at netip.AddrPort, transport dns.Transport, key dns.Key) *dns.Client {
	return &dns.Client{Servers: []dns.Nameserver{{Transport: transport, Addr: at}}, Key: key, Attempts: 1, Timeout: 10 * time.Second}
}

func rcodeOf(t testing.TB, err error) int {
	t.Helper()
	var code dns.RcodeError
	var ts dns.TSIGError
	switch {
	case err == nil:
		return dns.RcodeSuccess
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &ts):
		return int(ts)
	}
	t.Error(err)
	return -1
}

func TestUpdateIsACommit(t *testing.T) {
	_, at, work, bare := start(t, testFiles)
	key := keyNamed(t, "personal._update.example")
	m := dns.NewUpdate("example")
	m.RemoveRRset(rrs(t, "mx.example. A 192.0.2.2"))
	m.Insert(rrs(t, "mx.example. 300 A 192.0.2.77", "_dmarc.example. 300 TXT \"v=DMARC1; p=none\""))
	if err := dns.Do(t.Context(), client(at, dns.TCP, key), m); err != nil {
		t.Fatal(err)
	}
	ips, err := dns.Addrs(t.Context(), client(at, dns.UDP, dns.Key{}), "mx.example")
	if err != nil || !slices.Contains(ips, netip.MustParseAddr("192.0.2.77")) || len(ips) != 2 {
		t.Errorf("%v, %v", ips, err)
	}
	log := git(t, bare, "log", "-1", "--format=%an|%s|%b", "main")
	want := "personal._update.example|127.0.0.1 changed example|-mx.example.\t300\tIN\tA\t192.0.2.2\n+_dmarc.example.\t300\tIN\tTXT\t\"v=DMARC1; p=none\"\n+mx.example.\t300\tIN\tA\t192.0.2.77"
	if log != want {
		t.Errorf("git log: %s", log)
	}
	stat := git(t, bare, "diff", "--numstat", "main~1", "main")
	if stat != "3\t2\texample" {
		t.Errorf("git diff: %s", stat)
	}
	// The same again changes nothing, and so makes no commit.
	m = dns.NewUpdate("example")
	m.Insert(rrs(t, "mx.example. 300 A 192.0.2.77"))
	if err := dns.Do(t.Context(), client(at, dns.UDP, key), m); err != nil {
		t.Error(err)
	}
	git(t, work, "fetch", "-q")
	if n := git(t, bare, "rev-list", "--count", "main"); n != "2" {
		t.Errorf("%s commits", n)
	}
}

func TestNsupdate(t *testing.T) {
	t.Parallel()
	nsupdate := peer.Need(t, "nsupdate")[0]
	a, at, _, bare := start(t, testFiles)
	run := func(key, script string) (string, error) {
		cmd := exec.CommandContext(t.Context(), nsupdate, "-y", key)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("server 127.0.0.1 %d\nzone example\n%s\nsend\n", at.Port(), script))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	good := "hmac-sha256:personal._update.example:" + secret
	for _, c := range []struct{ key, script, want string }{
		{good, "update add new.example. 300 TXT one two", ""},
		{good, "prereq nxdomain new.example.\nupdate add new.example. 300 TXT x", "YXDOMAIN"},
		{good, "prereq yxdomain none.example.\nupdate add new.example. 300 TXT x", "NXDOMAIN"},
		{good, "prereq nxrrset new.example. TXT\nupdate add new.example. 300 TXT x", "YXRRSET"},
		{good, "prereq yxrrset new.example. A\nupdate add new.example. 300 TXT x", "NXRRSET"},
		{good, "prereq yxrrset new.example. TXT one\nupdate add new.example. 300 TXT x", "NXRRSET"},
		{good, "prereq yxrrset new.example. TXT one two\nupdate delete new.example. TXT\nupdate add new.example. 300 TXT three", ""},
		{good, "update delete new.example.", ""},
		{good, "update add a.elsewhere. 300 A 192.0.2.1", "NOTZONE"},
		{good, "update add mx2.example. 300 MX 1 nobody.example.", "REFUSED"},
		{good, "update delete example. NS", ""}, // and nothing happens
		{"hmac-sha256:personal._update.example:" + base64.StdEncoding.EncodeToString([]byte("wrong")), "update add n.example. 300 A 192.0.2.1", "BADSIG"},
		{"hmac-sha512:second._transfer.example:" + secret, "update add n.example. 300 A 192.0.2.1", "NOTAUTH"},
		{"hmac-sha256:personal._update.other:" + secret, "update add n.example. 300 A 192.0.2.1", "NOTAUTH"},
		{"hmac-sha256:signer._update.example:" + secret, "update add s._domainkey.example. 300 TXT x", "REFUSED"}, // no DKIM record
		{"hmac-sha256:signer._update.example:" + secret, "update add s._domainkey.example. 300 TXT v=DKIM1;p=AAAA", ""},
		{"hmac-sha256:signer._update.example:" + secret, "update add s.example. 300 TXT v=DKIM1;p=AAAA", "REFUSED"},
	} {
		out, err := run(c.key, c.script)
		if (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
			t.Errorf("%s: %s, %v; want %q", c.script, out, err, c.want)
		}
	}
	z, _ := a.Zone("example")
	if len(z.node("example.").set(dns.TypeNS)) != 2 || z.nodes["new.example."] != nil || z.nodes["s._domainkey.example."] == nil {
		t.Error("the zone is not as it should be")
	}
	git(t, bare, "fsck", "--strict")
}

func TestReplayIsRefused(t *testing.T) {
	a, at, _, _ := start(t, testFiles)
	key := keyNamed(t, "personal._update.example")
	m := dns.NewUpdate("example")
	m.Insert(rrs(t, "r.example. 300 TXT x"))
	r := &dns.Request{Msg: m, Peer: at, Transport: dns.UDP, Key: key, MAC: []byte("mac"), Signed: time.Now()}
	if got := a.update(t.Context(), r); got.Rcode != dns.RcodeSuccess {
		t.Fatal(got)
	}
	if got := a.update(t.Context(), r); got.Rcode != dns.RcodeSuccess {
		t.Error("the same datagram again is not answered again")
	}
	older := *r
	older.MAC, older.Signed = []byte("another"), a.started.Add(-time.Second)
	if got := a.update(t.Context(), &older); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("signed before the start: %v", got)
	}
	stolen := *r
	stolen.Peer = netip.MustParseAddrPort("192.0.2.1:1")
	for _, transport := range []dns.Transport{dns.UDP, dns.TCP} {
		stolen.Transport = transport
		if got := a.update(t.Context(), &stolen); got.Rcode != dns.RcodeRefused {
			t.Errorf("a replay over %s: %v", transport, got)
		}
	}
}

// Each key against each thing that it might want.
func TestRights(t *testing.T) {
	_, at, _, _ := start(t, testFiles)
	keys := []string{"", "personal._update.example", "signer._update.example", "second._transfer.example", "hook._notify.example", "personal._update.other"}
	want := map[string]string{ // by key: UPDATE TXT, UPDATE DKIM, AXFR, NOTIFY
		"":                         "REFUSED REFUSED REFUSED NOERROR",
		"personal._update.example": "NOERROR NOERROR NOERROR NOERROR",
		"signer._update.example":   "REFUSED NOERROR NOERROR NOERROR",
		"second._transfer.example": "NOTAUTH NOTAUTH NOERROR NOERROR",
		"hook._notify.example":     "NOTAUTH NOTAUTH NOTAUTH NOERROR",
		"personal._update.other":   "NOTAUTH NOTAUTH NOTAUTH NOTAUTH",
	}
	for _, name := range keys {
		var key dns.Key
		if name != "" {
			key = keyNamed(t, name)
		}
		c := client(at, dns.TCP, key)
		var got []string
		for _, owner := range []string{"t.example.", "t._domainkey.example."} {
			m := dns.NewUpdate("example")
			m.Insert(rrs(t, owner+` 300 TXT "v=DKIM1; p="`))
			got = append(got, dns.RcodeName(rcodeOf(t, dns.Do(t.Context(), c, m))))
		}
		_, err := c.Transfer(t.Context(), "example", nil)
		got = append(got, dns.RcodeName(rcodeOf(t, err)), dns.RcodeName(rcodeOf(t, dns.Do(t.Context(), c, dns.NewNotify("example", nil)))))
		if s := strings.Join(got, " "); s != want[name] {
			t.Errorf("%q: %s, want %s", name, s, want[name])
		}
	}
}

func TestPushes(t *testing.T) {
	t.Parallel()
	a, at, work, _ := start(t, testFiles)
	notify := func() {
		t.Helper()
		if err := dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "hook._notify.example")), dns.NewNotify("example", nil)); err != nil {
			t.Error(err)
		}
	}
	has := func(name string) bool {
		t.Helper()
		_, err := dns.TXT(t.Context(), client(at, dns.UDP, dns.Key{}), name)
		if err != nil && !dns.IsNegative(err) {
			t.Error(err)
		}
		return err == nil
	}
	push(t, work, map[string]string{"example": strings.Replace(exampleText, " 7 7200", " 8 7200", 1) + "pushed TXT yes\n"})
	notify()
	if !has("pushed.example") {
		t.Error("what was pushed is not served")
	}
	push(t, work, map[string]string{"example": "utter nonsense\n", "third": "@ 60 SOA ns h 7 1 1 1 60\nx TXT y\n"})
	notify()
	if !has("pushed.example") || !has("x.third") {
		t.Error("a broken file takes the good one out of service, or others with it")
	}
	if a.Healthy() || len(a.Problems()) == 0 || !a.Status()[0].Stale {
		t.Errorf("nothing tells of the broken file: %v %v", a.Problems(), a.Status())
	}
	m := dns.NewUpdate("example")
	m.Insert(rrs(t, "u.example. 300 TXT u"))
	if got := rcodeOf(t, dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "personal._update.example")), m)); got != dns.RcodeServerFailure {
		t.Errorf("an UPDATE of a broken file: %s", dns.RcodeName(got))
	}
	push(t, work, map[string]string{"example._keys": "broken"})
	notify() // with a key of that file
	push(t, work, map[string]string{"example": strings.Replace(exampleText, " 7 7200", " 6 7200", 1)})
	notify()
	if !has("pushed.example") {
		t.Error("a serial that goes back is served")
	}
	push(t, work, map[string]string{"example": strings.Replace(exampleText, " 7 7200", " 9 7200", 1), "example._keys": testFiles["example._keys"]})
	notify()
	if has("pushed.example") || !a.Healthy() {
		t.Errorf("the good file is not back in service: %v", a.Problems())
	}
}

func TestTransfersOut(t *testing.T) {
	_, at, _, _ := start(t, testFiles)
	c := client(at, dns.TCP, keyNamed(t, "second._transfer.example"))
	all, err := c.Transfer(t.Context(), "example", nil)
	if err != nil || !all.Whole() || all.SOA.Serial != 7 {
		t.Fatalf("%+v, %v", all, err)
	}
	up := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
	for i := range 3 {
		m := dns.NewUpdate("example")
		m.Insert(rrs(t, fmt.Sprintf("i%d.example. 300 TXT u", i)))
		m.Remove(rrs(t, fmt.Sprintf("i%d.example. 300 TXT u", i-1)))
		if err := dns.Do(t.Context(), up, m); err != nil {
			t.Fatal(err)
		}
	}
	inc, err := c.Transfer(t.Context(), "example", all.SOA)
	if err != nil || inc.Whole() || len(inc.Changes) != 3 || len(inc.Changes[2].Gone) != 1 {
		t.Errorf("%+v, %v", inc, err)
	}
	if nothing, err := c.Transfer(t.Context(), "example", inc.SOA); err != nil || nothing.Whole() || nothing.Changes != nil {
		t.Errorf("%+v, %v", nothing, err)
	}
	unknown := *all.SOA
	unknown.Serial = 3
	if again, err := c.Transfer(t.Context(), "example", &unknown); err != nil || !again.Whole() {
		t.Errorf("%+v, %v", again, err)
	}
	dig := peer.Need(t, "dig")[0]
	out, err := exec.CommandContext(t.Context(), dig, "@127.0.0.1", "-p", fmt.Sprint(at.Port()), "example", "IXFR=7",
		"-y", "hmac-sha512:second._transfer.example:"+secret).CombinedOutput()
	if err != nil || strings.Count(string(out), "IN\tSOA") != 8 {
		t.Errorf("dig IXFR: %v\n%s", err, out)
	}
}

// A server that has just started knows the changes from the history of the repository.
func TestIncrementsAfterRestart(t *testing.T) {
	first, at, _, bare := start(t, testFiles)
	up := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
	old, _ := first.Zone("example")
	for i := range 3 {
		m := dns.NewUpdate("example")
		m.Insert(rrs(t, fmt.Sprintf("i%d.example. 300 TXT u", i)))
		if err := dns.Do(t.Context(), up, m); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := &Authority{Repo: r}
	if err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	port := listenAt(t, "127.0.0.1:0", again, again.Key)
	c := client(netip.AddrPortFrom(at.Addr(), port), dns.TCP, keyNamed(t, "second._transfer.example"))
	got, err := c.Transfer(t.Context(), "example", old.SOA())
	if err != nil || got.Whole() || len(got.Changes) != 3 || len(got.Changes[0].Come) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
