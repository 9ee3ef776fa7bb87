package authority

import (
	"context"
	"errors"
	"fmt"

	"stagecoach/rfc/dns"
)

// RollKSK begins to replace the key of a zone that the parent knows, and signs with the new one
// too; see Signing.RollKSK.
func (a *Authority) RollKSK(ctx context.Context, zone string) error {
	return a.rolling(ctx, zone, func(z *Zone) error { return a.Signing.RollKSK(z.Name, a.clock()) })
}

// SeenDS goes on with the roll-over of a zone, as the parent has the DS of the new key alone; see
// Signing.SeenDS.
func (a *Authority) SeenDS(ctx context.Context, zone string) error {
	return a.rolling(ctx, zone, func(z *Zone) error { return a.Signing.SeenDS(z, a.clock()) })
}

func (a *Authority) rolling(ctx context.Context, zone string, change func(*Zone) error) error {
	zone = dns.Canonical(zone)
	a.write.Lock()
	err := func() error {
		defer a.write.Unlock()
		f := a.now.Load().files[zone]
		switch {
		case f == nil || f.zone == nil:
			return fmt.Errorf("%s is no zone that is served here", dns.Host(zone))
		case a.Signing == nil || f.epoch < 0:
			return errors.New(dns.Host(zone) + " is not signed")
		}
		return change(f.zone)
	}()
	if err != nil {
		return err
	}
	a.renew(ctx, zone)
	return nil
}

// DS returns the DS record for the registrar, as zone text; none for a zone that is not signed.
func (a *Authority) DS(zone string) ([]string, error) {
	if a.Signing == nil {
		return nil, nil
	}
	return a.Signing.DS(zone, a.clock())
}
