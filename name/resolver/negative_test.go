package resolver

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// TestUntrust sets negative trust anchors: each ends by its time, and none is longer than a week.
func TestUntrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &forgers{}
		r := &Resolver{Network: n, Untrusted: []string{"fixed.org"}, NoIPv6: true}
		if err := r.Untrust("example.org", 8*24*time.Hour); err == nil {
			t.Error("more than a week")
		}
		if err := r.Untrust("example.org", 90*time.Minute); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"example.org.": "example.org.", "a.example.org.": "example.org.", "b.fixed.org.": "fixed.org.", "org.": ""} {
			if got := r.untrusted(name); got != want {
				t.Errorf("%s lies under %q, want %q", name, got, want)
			}
		}
		var list strings.Builder
		if err := r.writeUntrusted(&list); err != nil || !strings.Contains(list.String(), "fixed.org. by configuration\nexample.org. until 2000-01-01T01:30:00Z\n") {
			t.Errorf("%v\n%s", err, list.String())
		}
		time.Sleep(80 * time.Minute)
		if r.untrusted("example.org.") == "" {
			t.Error("it ended too soon")
		}
		time.Sleep(11 * time.Minute)
		if got := r.untrusted("example.org."); got != "" {
			t.Errorf("it did not end: %s", got)
		}
		if r.Trust("example.org") {
			t.Error("it was there still")
		}
	})
}

// TestDoubtClock has the root's keys out of their time: the log says so once, however often it is
// met.
func TestDoubtClock(t *testing.T) {
	var log strings.Builder
	r := &Resolver{Log: slog.New(slog.NewTextHandler(&log, nil))}
	r.start()
	why := dns.ExtendedError{Code: dns.ExtendedNotYetValid, Text: "the signature over . is not valid before then"}
	for range 5 {
		r.doubtClock(".", why)
	}
	r.doubtClock("example.", why)
	r.doubtClock(".", dns.ExtendedError{Code: dns.ExtendedBogus})
	if n := strings.Count(log.String(), "clock of this machine may be wrong"); n != 1 {
		t.Errorf("%d times:\n%s", n, log.String())
	}
}
