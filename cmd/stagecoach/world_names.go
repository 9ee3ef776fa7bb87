package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/repo"
)

// ownNames is what a world has besides when the service is the name server of its domain: a zone
// repository, a key for each stage that writes to the zone, and an authority for certificates.
type ownNames struct {
	zones  string // the repository
	acme   *lab.ACME
	config string
}

// ownZone lays out the zone repository, as "init" does, and has the world ask us for our names.
func (w *world) ownZone(ctx context.Context) (err error) {
	if w.address, err = w.Address(); err != nil {
		return err
	}
	if err := w.SetPTR(w.address, w.host); err != nil {
		return err
	}
	w.own = &ownNames{zones: w.path("zones.git")}
	if w.own.acme, err = w.StartACME(); err != nil {
		return err
	}
	if err := os.WriteFile(w.path("acme.pem"), w.CA.PEM(), 0o644); err != nil {
		return err
	}
	zone, err := w.zoneText()
	if err != nil {
		return err
	}
	keys, grants, err := w.zoneKeys()
	if err != nil {
		return err
	}
	err = repo.Create(ctx, w.own.zones, repo.Change{
		Files: map[string][]byte{w.domain: zone, w.domain + "._keys": keys, w.domain + "._grants": grants},
		Name:  "operator", Email: "hostmaster@" + w.domain, When: time.Now(), Message: "the zone of " + w.domain + ", by hand\n",
	})
	if err != nil {
		return err
	}
	w.own.config = w.ownConfig()
	return w.Delegate(w.domain, "ns1."+w.domain, w.address)
}

// zoneText is the zone as a person writes it.
func (w *world) zoneText() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `; The zone of %[1]s. People edit it with git, the service by signed updates.
$TTL 60
@    SOA   ns1 hostmaster 1 3600 600 86400 5
@    NS    ns1
ns1  A     %[2]s
mx   A     %[2]s
@    MX    10 mx
@    CAA   0 issue "%[3]s"
@    TXT   "v=spf1 mx -all"
_dmarc TXT "v=DMARC1; p=reject"
`, w.domain, w.address, lab.CAAIdentity)
	for _, k := range w.keys {
		record, err := recordOf(k, w.domain)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(&b, record)
	}
	return []byte(b.String()), nil
}

// zoneKeys makes a key for each stage, and says what each may write.
func (w *world) zoneKeys() (keys, grants []byte, err error) {
	var records, allowed strings.Builder
	for _, stage := range []struct{ name, may string }{
		{"operator", ""},
		{"cert", "TLSA _letsencrypt._tcp.mx,_25._tcp.mx"},
		{"issuer", "TLSA,TXT _letsencrypt._tcp.mx,_acme-challenge.mx"},
		{"signer", "TXT *._domainkey"},
	} {
		secret := make([]byte, 32)
		rand.Read(secret)
		name, text := stage.name+"._update."+w.domain, base64.StdEncoding.EncodeToString(secret)
		fmt.Fprintf(&records, "%s. DNSKEY 0 3 163 %s\n", name, text)
		if stage.may != "" {
			fmt.Fprintf(&allowed, "%s. %s\n", name, stage.may)
		}
		if err := os.WriteFile(w.path(stage.name+".key"), []byte(name+":SHA256:"+text+"\n"), 0o600); err != nil {
			return nil, nil, err
		}
	}
	return []byte(records.String()), []byte(allowed.String()), nil
}

func (w *world) ownConfig() string {
	return fmt.Sprintf(`[zones]
remote = %q
listen = [%q]
notify_port = %d
control = ""
poll = "2s"
[cert]
dns_key = "@%s"
[issuer]
dns_key = "@%s"
directory = %q
ca_file = %q
zone_port = %d
email = "postmaster@%s"`, w.own.zones, netip.AddrPortFrom(w.address, w.DNSPort()), w.DNSPort(), w.path("cert.key"), w.path("issuer.key"),
		w.own.acme.Directory, w.path("acme.pem"), w.DNSPort(), w.domain)
}

// naming waits for the certificate, and shows what became of the zone.
func (w *world) naming(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	start := time.Now()
	for {
		c, err := w.dial(ctx)
		if err == nil {
			fmt.Fprintf(out, "It answers for its zone, and had its certificate after %v, by ACME over that zone: %s, from %q.\n",
				time.Since(start).Round(10*time.Millisecond), w.host, c.ConnectionState().PeerCertificates[0].Issuer.CommonName)
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no certificate came: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
