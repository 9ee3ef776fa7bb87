package authority

import (
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// The commands of a running primary take the key that the parent knows through its whole
// roll-over: what is served changes at once, the DS when that is safe, and no step comes early.
func TestRollOverByCommand(t *testing.T) {
	t.Parallel()
	now := clockNow()
	a, _ := startSigned(t, new(Signing), now)
	ctx := t.Context()
	keys := func() (n int) {
		z, _ := a.Zone("example")
		for _, rr := range z.node("example.").set(dns.TypeDNSKEY) {
			if rr.(*dns.DNSKEYRecord).Flags == flagsKSK {
				n++
			}
		}
		return n
	}
	ds := func() string {
		t.Helper()
		out, err := a.DS("example")
		if err != nil || len(out) != 1 {
			t.Fatalf("%v, %v", out, err)
		}
		return out[0]
	}
	first := ds()
	if err := a.SeenDS(ctx, "example"); err == nil {
		t.Error("an end without a beginning")
	}
	if err := a.RollKSK(ctx, "none.example"); err == nil || !strings.Contains(err.Error(), "no zone") {
		t.Errorf("a zone that is not served: %v", err)
	}
	before, _ := a.Zone("example")
	if err := a.RollKSK(ctx, "example."); err != nil {
		t.Fatal(err)
	}
	after, _ := a.Zone("example")
	if keys() != 2 || ds() != first || !dns.SerialNewer(after.Serial(), before.Serial()) {
		t.Errorf("begun: %d keys, DS %s, serial %d", keys(), ds(), after.Serial())
	}
	if err := a.SeenDS(ctx, "example"); err == nil {
		t.Error("the parent is said to have a key that caches may not have yet")
	}
	now.Add(int64((lead + time.Minute) / time.Second))
	a.Renew(ctx)
	if ds() == first {
		t.Error("the DS is still that of the old key")
	}
	if err := a.SeenDS(ctx, "example"); err != nil {
		t.Fatal(err)
	}
	if keys() != 2 {
		t.Error("the old key has gone while caches have its DS")
	}
	now.Add(int64((14 * 24 * time.Hour) / time.Second))
	a.Renew(ctx)
	if keys() != 1 || ds() == first {
		t.Errorf("at the end: %d keys, DS %s", keys(), ds())
	}
	bare, _, _, _ := start(t, signedFiles())
	if err := bare.RollKSK(ctx, "example"); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("a zone that is not signed: %v", err)
	}
}
