package dns_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"

	"encoding/base64"
	"os/exec"
)

// sender answers transfers with the records it is given.
type sender []dns.RR

func (s sender) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	if r.Key.IsZero() {
		return send(dns.NewResponse(r.Msg, dns.RcodeRefused))
	}
	return dns.SendRecords(r, slices.Values(s), send)
}

var _ iter.Seq[dns.RR] = slices.Values(sender(nil))

func soa(serial uint32) string {
	return fmt.Sprintf("example. 300 SOA ns. root. %d 1 1 1 60", serial)
}

func parse(t testing.TB, lines ...string) sender {
	t.Helper()
	rrs, err := dns.ParseZone(strings.NewReader(strings.Join(lines, "\n")+"\n"), "example.")
	if err != nil {
		t.Fatal(err)
	}
	return rrs
}

func keyServer(t testing.TB, h dns.Handler) *dns.Client {
	at := serve(t, &dns.Server{Handler: h, Keys: func(name string) (dns.Key, bool) { return testKey, name == testKey.Name }})
	c := clientOf(dns.TCP, at)
	c.Key = testKey
	return c
}

func TestTransferOfLargeZone(t *testing.T) {
	lines := []string{soa(7)}
	for i := range 20_000 {
		lines = append(lines, fmt.Sprintf("n%d 300 TXT %q", i, strings.Repeat("x", i%200)))
	}
	c := keyServer(t, parse(t, append(lines, soa(7))...))
	got, err := c.Transfer(t.Context(), "example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Whole() || len(got.Records) != 20_001 || got.SOA.Serial != 7 {
		t.Errorf("%d records, serial %d", len(got.Records), got.SOA.Serial)
	}
	c.Key = dns.Key{}
	var code dns.RcodeError
	if _, err := c.Transfer(t.Context(), "example", nil); !errors.As(err, &code) || int(code) != dns.RcodeRefused {
		t.Errorf("without a key: %v", err)
	}
}

func TestDigTransfers(t *testing.T) {
	dig := peer.Need(t, "dig")[0]
	lines := []string{soa(7)}
	for i := range 5_000 {
		lines = append(lines, fmt.Sprintf("n%d 300 TXT %q", i, strings.Repeat("x", 100)))
	}
	c := keyServer(t, parse(t, append(lines, soa(7))...))
	out, err := exec.CommandContext(t.Context(), dig, "@127.0.0.1", "-p", fmt.Sprint(c.Servers[0].Addr.Port()), "AXFR", "example",
		"-y", "hmac-sha256:"+testKey.Name+":"+base64.StdEncoding.EncodeToString(testKey.Secret)).CombinedOutput()
	if err != nil || strings.Count(string(out), "IN\tTXT") != 5_000 || strings.Contains(string(out), "verify") {
		t.Errorf("%v: %.2000s", err, out)
	}
}

func TestTransferForms(t *testing.T) {
	const a, b, c = "a 300 A 192.0.2.1", "b 300 A 192.0.2.2", "c 300 A 192.0.2.3"
	for name, s := range map[string]struct {
		have uint32
		send []string
		want string
	}{
		"whole":              {0, []string{soa(9), a, b, soa(9)}, "whole 9: 3"},
		"whole for IXFR":     {7, []string{soa(9), a, b, soa(9)}, "whole 9: 3"},
		"empty zone":         {7, []string{soa(9), soa(9)}, "whole 9: 1"},
		"up to date":         {9, []string{soa(9)}, "nothing 9"},
		"we are newer":       {10, []string{soa(9)}, "nothing 9"},
		"one change":         {8, []string{soa(9), soa(8), a, soa(9), b, soa(9)}, "changes 9: 8-1+1=9"},
		"two changes":        {7, []string{soa(9), soa(7), soa(8), a, c, soa(8), a, soa(9), b, soa(9)}, "changes 9: 7-0+2=8 8-1+1=9"},
		"wrap of the serial": {4294967295, []string{soa(1), soa(4294967295), soa(1), a, soa(1)}, "changes 1: 4294967295-0+1=1"},
		"of another serial":  {6, []string{soa(9), soa(8), a, soa(9), b, soa(9)}, "error"},
		"a gap":              {7, []string{soa(9), soa(7), soa(8), soa(9), soa(9), soa(9)}, "error"},
		"no SOA":             {0, []string{a, soa(9)}, "error"},
		"foreign SOA":        {0, []string{"x 300 SOA ns. root. 9 1 1 1 60", a, "x 300 SOA ns. root. 9 1 1 1 60"}, "error"},
		"foreign record":     {0, []string{soa(9), "a.other. 300 A 192.0.2.1", soa(9)}, "error"},
		"more behind":        {0, []string{soa(9), a, soa(9), b}, "error"},
	} {
		cl := keyServer(t, parse(t, s.send...))
		var have *dns.SOARecord
		if s.have != 0 {
			have = dns.MustParseRR(soa(s.have)).(*dns.SOARecord)
		}
		got, err := cl.Transfer(t.Context(), "example", have)
		text := "error"
		if err == nil {
			text = describe(got)
		}
		if d := cmp.Diff(s.want, text); d != "" {
			t.Errorf("%s: %s (%v)", name, d, err)
		}
	}
}

func describe(t *dns.Transfer) string {
	switch {
	case t.Whole():
		return fmt.Sprintf("whole %d: %d", t.SOA.Serial, len(t.Records))
	case t.Changes == nil:
		return fmt.Sprintf("nothing %d", t.SOA.Serial)
	}
	s := fmt.Sprintf("changes %d:", t.SOA.Serial)
	for _, c := range t.Changes {
		s += fmt.Sprintf(" %d-%d+%d=%d", c.From.Serial, len(c.Gone), len(c.Come), c.To.Serial)
	}
	return s
}
