package resolver

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

func TestControl(t *testing.T) {
	r := &Resolver{Network: fixed{}, Anchors: []dns.RR{}}
	socket := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.ServeControl(ctx, l) }()
	order := func(words ...string) (string, error) {
		var b strings.Builder
		err := Order(t.Context(), socket, &b, words...)
		return b.String(), err
	}
	r.start()
	r.keep(&found{key: key{"a.org.", dns.TypeA}, answer: []dns.RR{dns.MustParseRR("a.org. 300 A 192.0.2.1")}, zone: "org.", security: Insecure, ttl: 3e11, stored: time.Now()})
	for _, c := range []struct {
		order string
		want  string
		fails bool
	}{
		{"stats", "Entries         1", false},
		{"dump", "a.org.\t300\tIN\tA\t192.0.2.1", false},
		{"query localhost A", "NOERROR, insecure", false},
		{"query localhost", "want stats", true},
		{"query localhost NOSUCHTYPE", "no name and type", true},
		{"flush a.org", "1 answers forgotten", false},
		{"stats", "Entries         0", false},
		{"format disk", "want stats", true},
	} {
		have, err := order(strings.Fields(c.order)...)
		if (err != nil) != c.fails || err == nil && !strings.Contains(have, c.want) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q %v", c.order, have, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := order("stats"); err == nil {
		t.Error("an order was taken after the end")
	}
}
