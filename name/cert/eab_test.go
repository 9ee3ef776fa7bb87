package cert

import (
	"context"
	"strings"
	"testing"
)

// An account that has to be bound to another one gets nothing without, and certificates with.
func TestPebbleExternalAccount(t *testing.T) {
	t.Parallel()
	at, _ := startAuthority(t)
	const secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	p := startPebble(t, at, map[string]any{
		"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{"kid-1": secret},
	}, "PEBBLE_WFE_NONCEREJECT=0")
	k := newKeeper(t, at, "smtp.x.example")
	background(t, func(ctx context.Context) { k.Run(ctx) })
	bare := newIssuer(t, at, p)
	stop := background(t, func(ctx context.Context) { bare.Run(ctx) })
	until(t, "an error", func() bool {
		s := bare.Status()
		return len(s) == 1 && strings.Contains(s[0].Error, "externalAccountRequired") && s[0].Failures == 1
	})
	stop()
	bound := newIssuer(t, at, p)
	bound.Account.KeyID, bound.Account.MACKey = "kid-1", secret
	background(t, func(ctx context.Context) { bound.Run(ctx) })
	until(t, "a certificate", signed(k))
}
