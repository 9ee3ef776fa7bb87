package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Scenario 6 of the articles: the SPF record is written in its normal form, in place of the one
// before; and so are the others.
func TestZoneSet(t *testing.T) {
	t.Parallel()
	r := newZoneRepo(t)
	r.narrow()
	p, port, _ := startPrimary(t, r.bare)
	server, key := "127.0.0.1:"+port, keyFile(t, "personal._update")
	at := func(args ...string) []string {
		for i, a := range args {
			args[i] = strings.NewReplacer("SERVER", server, "KEY", key).Replace(a)
		}
		return args
	}
	for _, c := range []struct {
		args []string
		want []string // in what it prints
	}{
		{at("zone", "set", "record", "SERVER", "KEY", "x25519.example", "300", "TXT", `"site-verification=1"`), []string{"+ x25519.example.\t300\tIN\tTXT\t\"site-verification=1\""}},
		{at("spf", "publish", "SERVER", "KEY", "x25519.example", "v=spf1 +ip4:76.8.60.93 -all"), []string{"0 of 10 look-ups", "+ip4:76.8.60.93/32 -all"}},
		{at("spf", "publish", "SERVER", "KEY", "x25519.example", "v=spf1 mx -all"), []string{"1 of 10", "- x25519.example.", "+ x25519.example.\t300\tIN\tTXT\t\"v=spf1 mx -all\""}},
		{at("spf", "publish", "SERVER", "KEY", "x25519.example", "v=spf1 mx -all"), []string{"nothing to do"}},
		{at("zone", "set", "dmarc", "SERVER", "KEY", "x25519.example", "v=DMARC1; p=none; rua=mailto:a@x25519.example"), []string{"+ _dmarc.x25519.example."}},
		{at("zone", "set", "mta-sts", "SERVER", "KEY", "x25519.example"), []string{"+ _mta-sts.x25519.example.", "v=STSv1; id=20"}},
		{at("zone", "set", "tls-rpt", "SERVER", "KEY", "x25519.example", "v=TLSRPTv1; rua=mailto:a@x25519.example"), []string{"_smtp._tls"}},
		{at("zone", "set", "record", "SERVER", "KEY", "www.x25519.example", "60", "A", "192.0.2.1", "192.0.2.2"), []string{"192.0.2.1", "192.0.2.2"}},
		{at("zone", "set", "record", "SERVER", "KEY", "www.x25519.example", "60", "A", "192.0.2.3", "--add"), []string{"192.0.2.3"}},
		{at("zone", "set", "mx", "SERVER", "KEY", "x25519.example", "10 www.x25519.example", "20 mx.example.net"), []string{"+ x25519.example.\t3600\tIN\tMX\t10 www", "- x25519.example."}},
	} {
		out := mustProgram(t, c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", c.args, want, out)
			}
		}
	}
	dig(t, port, "\"v=spf1 mx -all\"\n", "x25519.example", "TXT", "+short")
	dig(t, port, "site-verification=1", "x25519.example", "TXT", "+short")
	dig(t, port, "192.0.2.3", "www.x25519.example", "A", "+short")
	text := r.must(r.bare, "show", "main:x25519.example")
	if strings.Count(text, "v=spf1") != 1 || !strings.Contains(text, "; by hand") {
		t.Errorf("the zone:\n%s", text)
	}
	commits := r.must(r.bare, "rev-list", "--count", "main")
	narrow := keyFile(t, "signer._update")
	for _, c := range []struct {
		args []string
		want string
	}{
		{at("spf", "publish", "SERVER", "KEY", "x25519.example", "v=spf1 ip4:1.2.3 -all"), "ip4"},
		{at("spf", "publish", "SERVER", "KEY", "x25519.example", "v=spf1 a a a a a a a a a a a -all"), "more than 10"},
		{at("zone", "set", "dmarc", "SERVER", "KEY", "x25519.example", "v=DMARC1; p=nono"), "none of none"},
		{at("zone", "set", "mx", "SERVER", "KEY", "x25519.example", "10 nobody.x25519.example"), "has no address"},
		{at("zone", "set", "mx", "SERVER", "KEY", "x25519.example", "10 192.0.2.1"), "no host name"},
		{at("zone", "set", "record", "SERVER", "KEY", "x25519.example", "60", "SOA", "a b 1 1 1 1 1"), "primary's own"},
		{at("zone", "set", "record", "SERVER", "KEY", "x25519.example", "60", "A", "192.0.2.1\nevil A 192.0.2.2"), "one line"},
		{at("zone", "set", "dmarc", "SERVER", narrow, "x25519.example", "v=DMARC1; p=none"), `needs the line "signer._update.x25519.example TXT _dmarc.x25519.example."`},
	} {
		if out, err := program(t, c.args...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
	if now := r.must(r.bare, "rev-list", "--count", "main"); now != commits {
		t.Errorf("what is refused made commits: %s, before %s", now, commits)
	}
	p.stop()
}

// What onotify does: the primary reads the repository and says what it serves then.
func TestZoneNotify(t *testing.T) {
	r := newZoneRepo(t)
	p, port, _ := startPrimary(t, r.bare)
	r.push(map[string]string{"x25519.example": zoneText(7, "")})
	server := "127.0.0.1:" + port
	out := mustProgram(t, "zone", "notify", server, "x25519.example")
	if !strings.Contains(out, "unsigned: NOERROR") || !strings.Contains(out, "after:  serial 1\n") {
		t.Errorf("unsigned:\n%s", out)
	}
	out = mustProgram(t, "zone", "notify", server, "x25519.example", "--serial", "1", "--key", keyFile(t, "hook._notify"))
	if !strings.Contains(out, "before: serial 1\n") || !strings.Contains(out, "after:  serial 7\n") || !strings.Contains(out, "signed with hook._notify.x25519.example: NOERROR") {
		t.Errorf("signed:\n%s", out)
	}
	out, err := program(t, "zone", "notify", server, "y.example", "--key", keyFile(t, "hook._notify"))
	if err == nil || !strings.Contains(out, "NOTAUTH") || !strings.Contains(out, "not served") {
		t.Errorf("another zone: %v\n%s", err, out)
	}
	p.stop()
}

// The key of a zone is rolled over by the socket of the primary.
func TestRollKey(t *testing.T) {
	r := newZoneRepo(t)
	p, port, dir := startPrimary(t, r.bare)
	socket := filepath.Join(dir, "sock")
	before := mustProgram(t, "zone", "ds", "x25519.example", "--state", dir)
	if out := mustProgram(t, "zone", "roll-key", "x25519.example", "--control", socket); !strings.Contains(out, before) {
		t.Errorf("roll-key:\n%s, and the DS was %s", out, before)
	}
	dig(t, port, "ANSWER: 2,", "x25519.example", "DNSKEY")
	for _, c := range []struct{ command, zone, want string }{
		{"roll-key", "x25519.example", "in work"},
		{"roll-key", "y.example", "no zone that is served"},
	} {
		if out, err := program(t, "zone", c.command, c.zone, "--control", socket); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%v: %v, %s", c, err, out)
		}
	}
	if out, err := program(t, "zone", "ds", "seen", "x25519.example", "--control", socket); err == nil || !strings.Contains(out, "no roll-over that could end now") {
		t.Errorf("ds seen, too early: %v, %s", err, out)
	}
	if log := r.must(r.bare, "log", "-1", "--format=%s", "main"); !strings.Contains(log, "signatures of x25519.example") {
		t.Errorf("git log: %s", log)
	}
	p.stop()
}

// get returns what an HTTP server has.
func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A secondary says which copies it has, and what keeps it from newer ones.
func TestSecondaryStatus(t *testing.T) {
	r := newZoneRepo(t)
	p, port, _ := startPrimary(t, r.bare)
	at, dir := itoa(int(freePort(t, loopback))), t.TempDir()
	metrics := "127.0.0.1:" + itoa(int(freePort(t, loopback)))
	socket := filepath.Join(dir, "sock")
	s := runProgram(t, "secondary", "--primary", "tcp:127.0.0.1:"+port, "--dns-key", keyFile(t, "second._transfer"), "--listen", "127.0.0.1:"+at,
		"--state", dir, "--control", socket, "--metrics", metrics)
	dig(t, at, "hostmaster.x25519.example. 1 ", "x25519.example", "SOA", "+short")
	if out := mustProgram(t, "zone", "status", "--control", socket); !strings.Contains(out, "x25519.example  1 ") || !strings.Contains(out, "current") {
		t.Errorf("status:\n%s", out)
	}
	p.stop()
	notify := func() { // it asks at once, and finds nobody
		program(t, "zone", "notify", "127.0.0.1:"+at, "x25519.example", "--key", keyFile(t, "second._transfer")) //nolint:errcheck // seen below
	}
	notify()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := program(t, "zone", "status", "--control", socket)
		if err != nil && strings.Contains(out, "served, 1 failures: ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("status without a primary: %v\n%s\n%s", err, out, s.log)
		}
	}
	text := get(t, "http://"+metrics+"/metrics")
	for _, want := range []string{`stagecoach_zone_serial{zone="x25519.example"} 1`, `stagecoach_zone_transfer_failures{zone="x25519.example"} 1`, `stagecoach_zone_left_seconds{zone="x25519.example"} 1.0`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if out, err := program(t, "zone", "roll-key", "x25519.example", "--control", socket); err == nil || !strings.Contains(out, "no command of a secondary") {
		t.Errorf("roll-key at a secondary: %v, %s", err, out)
	}
	s.stop()
}
