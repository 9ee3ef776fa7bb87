package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"stagecoach/name/cert"
	"stagecoach/rfc/dns"
)

type certifyCmd struct {
	Server      string   `arg:"" help:"The primary name server of the zone: IP." placeholder:"SERVER"`
	Host        string   `arg:"" help:"The host that the certificate is for." placeholder:"HOST"`
	Port        int      `help:"Port of SERVER." default:"53"`
	DNSKey      Secret   `name:"dns-key" help:"Key that may write the request into the zone: NAME:ALGORITHM:BASE64, or @FILE with that in it. Without it a certificate is taken that is there." placeholder:"SECRET"`
	Additional  []string `help:"More names for the certificate, in the same zone." placeholder:"HOST"`
	CSR         string   `name:"csr" help:"Where to write the request (default: HOST.req)." placeholder:"FILE"`
	Key         string   `help:"Private key in PEM, mode 0600; made where there is none (default: HOST.key)." placeholder:"FILE"`
	Seed        Secret   `help:"Make the key from this seed; for other types than rsa it is the private key itself in base64." placeholder:"SECRET"`
	Type        string   `help:"What the seed is for: ${enum}." enum:"rsa,ed25519,p256,p384,p521" default:"rsa"`
	Bits        int      `help:"Size of an RSA key from a seed." default:"4096"`
	Certificate string   `help:"Where to write the certificate and those above it (default: HOST.pem)." placeholder:"FILE"`
	Force       bool     `help:"Ask also where the file has a certificate that is good until tomorrow."`
	Wait        Duration `help:"How long to wait for the certificate." default:"2m"`
}

// Help shows examples.
func (certifyCmd) Help() string {
	return `Writes a certificate request for HOST into its zone, waits until "stagecoach letsencrypt" (or the issuer of the
articles) has put the certificate beside it, and writes that into a file. It can be run again at any time: while
the file is good until tomorrow nothing happens.

Example:

  stagecoach certify 10.0.0.3 www.example.org --dns-key @dns.key --key www.key --certificate www.pem`
}

// lookEvery is how often the zone is looked at for the certificate, as the reference does.
const lookEvery = 2 * time.Second

// Run gets the certificate.
func (c certifyCmd) Run(ctx context.Context) error {
	warnLiteral(c.DNSKey, "--dns-key")
	warnLiteral(c.Seed, "--seed")
	host := dns.Host(c.Host)
	c.CSR, c.Key, c.Certificate = cmp.Or(c.CSR, host+".req"), cmp.Or(c.Key, host+".key"), cmp.Or(c.Certificate, host+".pem")
	key, err := c.key()
	if err != nil {
		return err
	}
	k := &cert.Keeper{Names: append([]string{host}, c.Additional...), Key: key, Plain: !c.Seed.IsZero(), Zone: "."}
	if err := c.ask(k); err != nil {
		return err
	}
	if err := k.Load(); err != nil {
		return err
	}
	if old, err := tls.LoadX509KeyPair(c.Certificate, c.Key); err == nil && !c.Force &&
		k.Fits(&old, time.Now()) == "" && k.Fits(&old, time.Now().Add(24*time.Hour)) == "" {
		fmt.Println("valid certificate with matching key already present")
		return nil
	}
	if err := writeFile(c.CSR, k.RequestPEM(), 0o644); err != nil {
		return err
	}
	pair, err := c.get(ctx, k)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, der := range pair.Certificate {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) //nolint:errcheck // into memory
	}
	if err := writeFile(c.Certificate, text.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("success! your certificate is stored in %s (private key %s, csr %s)\n", c.Certificate, c.Key, c.CSR)
	return nil
}

// ask says where the zone is.
func (c certifyCmd) ask(k *cert.Keeper) error {
	if !c.DNSKey.IsZero() {
		server, zone, err := primary(c.Server, c.Port, c.DNSKey)
		k.Primary, k.Zone = server, zone
		return err
	}
	if c.Port < 1 || c.Port > 65535 {
		return fmt.Errorf("port %d: no port", c.Port)
	}
	at, err := dns.ParseAddrPort(c.Server, uint16(c.Port))
	if err != nil {
		return fmt.Errorf("%q is no name server: %w", c.Server, err)
	}
	k.Primary = cert.NewPrimary(at, dns.Key{})
	return nil
}

func (c certifyCmd) get(ctx context.Context, k *cert.Keeper) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Wait))
	defer cancel()
	pair, err := k.Take(ctx)
	if err != nil {
		return nil, err
	}
	if pair != nil {
		fmt.Println("found cached certificate in DNS")
		return pair, nil
	}
	if c.DNSKey.IsZero() {
		return nil, errors.New("there is no certificate for this key in the zone, and no --dns-key to ask for one")
	}
	return k.Obtain(ctx, lookEvery)
}

// key reads the private key, or makes it.
func (c certifyCmd) key() (crypto.Signer, error) {
	if c.Seed.IsZero() {
		k, err := cert.FileKey(c.Key)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		return k, nil
	}
	k, err := cert.AccountKey(c.Type, c.Seed.Text(), c.Bits)
	if err != nil {
		return nil, fmt.Errorf("--seed: %w", err)
	}
	if _, err := os.Stat(c.Key); errors.Is(err, fs.ErrNotExist) {
		return k, writeKey(c.Key, k)
	}
	there, err := cert.FileKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	if own, ok := k.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(there.Public()) {
		return nil, fmt.Errorf("%s holds another key than the one that follows from --seed: move it away", c.Key)
	}
	return k, nil
}

// writeFile replaces a file, whole and synced.
func writeFile(name string, text []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}
