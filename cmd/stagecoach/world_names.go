package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/name/publish"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
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
	keys, grants, err := w.zoneKeys()
	if err != nil {
		return err
	}
	err = repo.Create(ctx, w.own.zones, repo.Change{
		Files: map[string][]byte{w.domain: w.zoneText(), w.domain + "._keys": keys, w.domain + "._grants": grants},
		Name:  "operator", Email: "hostmaster@" + w.domain, When: time.Now(), Message: "the zone of " + w.domain + ", by hand\n",
	})
	if err != nil {
		return err
	}
	w.own.config = w.ownConfig()
	return w.Delegate(w.domain, "ns1."+w.domain, w.address)
}

// zoneText is the zone as a person writes it.
func (w *world) zoneText() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `; The zone of %[1]s. People edit it with git, the service by signed updates.
$TTL 60
@    SOA   ns1 hostmaster 1 3600 600 86400 5
@    NS    ns1
ns1  A     %[2]s
mx   A     %[2]s
@    MX    10 mx
@    CAA   0 issue "%[3]s"
`, w.domain, w.address, lab.CAAIdentity)
	return []byte(b.String())
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

// naming publishes our policies, waits for the certificate, and shows what became of the zone.
func (w *world) naming(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	start := time.Now()
	if err := w.policies(ctx); err != nil {
		return err
	}
	issuer, err := w.certified(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "It answers for its zone, signed its keys into it, and after %v had a certificate from %q, by ACME over that zone.\nThe zone lies in git:\n\n",
		time.Since(start).Round(10*time.Millisecond), issuer)
	return w.showLog(ctx, out)
}

// policies publishes SPF and DMARC, as "spf publish" and "zone set" do.
func (w *world) policies(ctx context.Context) error {
	spf, err1 := publish.SPF(w.domain, "v=spf1 mx -all")
	dmarc, err2 := publish.DMARC(w.domain, "v=DMARC1; p=reject")
	text, err3 := os.ReadFile(w.path("operator.key"))
	key, err4 := dns.ParseKey(strings.TrimSpace(string(text)))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	operator := publish.Writer{Server: publish.Server(netip.AddrPortFrom(w.address, w.DNSPort()), key), Key: key.Name}
	for _, want := range []publish.Want{spf, dmarc} {
		if _, _, err := operator.Put(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// certified waits until the service shows a certificate that is trusted, and returns its issuer.
func (w *world) certified(ctx context.Context) (string, error) {
	for {
		c, err := w.dial(ctx)
		if err == nil {
			return c.ConnectionState().PeerCertificates[0].Issuer.CommonName, c.Close()
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no certificate came: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// showLog prints the log of the zone repository.
func (w *world) showLog(ctx context.Context, out io.Writer) error {
	r, err := repo.Open(w.own.zones, repo.Options{})
	if err != nil {
		return err
	}
	s, err := r.Fetch(ctx)
	if err != nil {
		return err
	}
	entries, err := r.Log(ctx, s, 20)
	for _, e := range entries {
		fmt.Fprintf(out, "     | %s %s, by %s\n", e.ID[:7], e.Subject, e.Author)
	}
	return err
}
