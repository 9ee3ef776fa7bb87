package scenario

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"

	"stagecoach/rfc/dns"
)

// failures are the ways in which names fail for now (R13): a section each that makes the zone
// example.org fail, which otherwise has whatever is asked for.
var failures = map[string]string{
	"silence":   "match *\n  timeout\n",
	"SERVFAIL":  "match *\n  clear\n  rcode SERVFAIL\n",
	"REFUSED":   "match *\n  clear\n  rcode REFUSED\n",
	"lame":      "match *\n  clear\n  noaa\n",
	"bogus":     "match *\n  spoil MX\n  spoil TXT\n  spoil A\n  spoil AAAA\n  spoil TLSA\n  spoil PTR\n  spoil CAA\n  spoil NSEC\n",
	"stripped":  "match *\n  strip NSEC\n  strip RRSIG\n",
	"forged no": "match *\n  clear\n  rcode NXDOMAIN\n  authority example.org. 300 SOA a. b. 1 2 3 4 300\n",
	"truncated": "match * udp\n  tc\nmatch * tcp\n  timeout\n",
}

// users are what the mail service asks for: of names that exist, and of names that do not.
var users = map[string]func(ctx context.Context, x dns.Exchanger) error{
	"MX": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.MX(ctx, x, "example.org")
		return err
	},
	"SPF": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.TXT(ctx, x, "example.org")
		return err
	},
	"DKIM": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.TXT(ctx, x, "s1._domainkey.example.org")
		return err
	},
	"DMARC": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.TXT(ctx, x, "_dmarc.example.org")
		return err
	},
	"address": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.Addrs(ctx, x, "mail.example.org")
		return err
	},
	"DANE": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.TLSA(ctx, x, "_25._tcp.mail.example.org")
		return err
	},
	"MTA-STS": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.TXT(ctx, x, "_mta-sts.example.org")
		return err
	},
	"CAA": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.CAA(ctx, x, "example.org")
		return err
	},
	"block list": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.Addrs(ctx, x, "2.0.0.127.list.example.org")
		return err
	},
	"PTR": func(ctx context.Context, x dns.Exchanger) error {
		_, err := dns.PTR(ctx, x, netip.MustParseAddr("8.8.4.4"))
		return err
	},
}

const matrixZones = `-- zone org. 1.0.1.1 sign=nsec --
-- zone 4.8.8.in-addr.arpa. 1.0.2.1 sign=nsec --
4 PTR mail.example.org.
-- zone example.org. 1.0.2.1 sign=nsec --
@ MX 10 mail
@ TXT "v=spf1 -all"
mail A 192.0.2.1
_dmarc TXT "v=DMARC1; p=reject"
_25._tcp.mail TLSA 3 1 1 0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10
`

// TestMatrix holds R13: whoever asks, and whatever fails, nothing that fails for now looks like
// a negative answer, at once or when it is asked again.
func TestMatrix(t *testing.T) {
	for failure, script := range failures {
		for user, ask := range users {
			t.Run(failure+"/"+user, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, err := load([]byte(matrixZones + "-- script 1.0.2.1 --\n" + script + "-- steps --\n"))
					if err != nil {
						t.Fatal(err)
					}
					for range 3 {
						if err := ask(t.Context(), p.resolver); err == nil || dns.IsNegative(err) {
							t.Errorf("it is %v", err)
						}
					}
					drain(p)
				})
			})
		}
	}
}

// TestMatrixHealed is the same without the failures: what exists is found, what does not is
// denied.
func TestMatrixHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := load([]byte(matrixZones + "-- steps --\n"))
		if err != nil {
			t.Fatal(err)
		}
		for user, ask := range users {
			if err := ask(t.Context(), p.resolver); err != nil && !dns.IsNegative(err) {
				t.Errorf("%s: %v", user, err)
			}
		}
		drain(p)
	})
}
