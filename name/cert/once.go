package cert

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Take returns the certificate that stands in the zone for the request, nil for none. It writes
// nothing, and so needs no key at the name server.
func (k *Keeper) Take(ctx context.Context) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := k.look(ctx, Owner(k.host()))
	if err != nil {
		return nil, err
	}
	k.alarm = ""
	if !k.pickUp(s) {
		return nil, nil
	}
	return k.current.Load().pair, nil
}

// Obtain writes the request and waits, until a certificate stands beside it or ctx ends: what a
// Keeper does that runs, once. A nil error has a certificate.
func (k *Keeper) Obtain(ctx context.Context, every time.Duration) (*tls.Certificate, error) {
	for {
		err := k.Look(ctx)
		if !k.waiting() {
			return k.current.Load().pair, nil
		}
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if !sleep(ctx, every) {
			why := k.Status().Alarm
			if why == "" {
				why = "nobody has answered it"
			}
			return nil, fmt.Errorf("the request stands at %s, but there is no certificate: %s: %w", Owner(k.host()), why, errors.Join(ctx.Err(), err))
		}
	}
}

// RequestPEM returns the request in PEM.
func (k *Keeper) RequestPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: k.request.der})
}

// Fits says why a certificate that was got before will not do at a time, "" if it does: it must
// be for the key and the names of the request.
func (k *Keeper) Fits(c *tls.Certificate, at time.Time) string {
	return k.request.fits(c.Leaf, at)
}
