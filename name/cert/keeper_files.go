package cert

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The files of a Keeper, in its folder: HOST.pem has the key and the chain that were last
// shown, HOST.csr the request, HOST.json the note. Each of them may be missing.

// A note is what a Keeper has to remember.
type note struct {
	Asked   map[string]asking    `json:"asked,omitempty"`   // by owner, the request that was written last
	Pinned  map[string]time.Time `json:"pinned,omitempty"`  // by name and pin, when the key may be used
	Held    time.Duration        `json:"held,omitempty"`    // how long caches hold pins, in nanoseconds
	Retired map[string]time.Time `json:"retired,omitempty"` // by pin, when the record may go
}

// An asking is a request by its id, and when it was written.
type asking struct {
	At      time.Time `json:"at"`
	Request string    `json:"request"`
}

// pin notes the longest time that a cache holds records of a pin, and from when on its key may be
// used: counted from when it was published, or seen first where a crash has kept us from noting
// that. It reports whether anything is new.
func (n *note) pin(at string, held time.Duration, from time.Time, fresh bool) bool {
	_, known := n.Pinned[at]
	if known && !fresh && held <= n.Held {
		return false
	}
	n.Held = max(n.Held, held)
	if !known || fresh {
		if n.Pinned == nil {
			n.Pinned = map[string]time.Time{}
		}
		n.Pinned[at] = from
	}
	return true
}

func (k *Keeper) file(suffix string) string { return filepath.Join(k.Dir, k.host()+suffix) }

// restore reads the files. A file that cannot be read is no reason not to start: what it held
// comes back from the zone.
func (k *Keeper) restore() error {
	if k.Dir != "" {
		if err := os.MkdirAll(k.Dir, 0o700); err != nil {
			return err
		}
		if err := k.readNote(); err != nil {
			k.Log.Warn("certificate: a file cannot be read", "file", k.file(".json"), "err", err)
		}
	}
	if err := k.restoreRequest(); err != nil {
		return err
	}
	s, err := k.readPair()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.Log.Warn("certificate: the last one cannot be used", "file", k.file(".pem"), "err", err)
	}
	if s == nil {
		if s, err = selfMade(k.Key, k.request.names, k.now()); err != nil {
			return err
		}
	}
	k.show(s)
	return nil
}

func (k *Keeper) readNote() error {
	text, err := os.ReadFile(k.file(".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &k.note)
}

func (k *Keeper) saveNote() error {
	if k.Dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(k.note, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(k.file(".json"), append(text, '\n'))
}

// restoreRequest takes the request of the file if it still is what we want: that of an ECDSA
// key differs each time it is made.
func (k *Keeper) restoreRequest() error {
	der, err := Request(k.Key, k.Plain, k.Names...)
	if err != nil {
		return err
	}
	if k.request, err = parseRequest(der); err != nil || k.Dir == "" {
		return err
	}
	text, err := os.ReadFile(k.file(".csr"))
	if b, _ := pem.Decode(text); err == nil && b != nil {
		if r, err := parseRequest(b.Bytes); err == nil && r.same(k.request) {
			k.request = r
			return nil
		}
	}
	return replaceFile(k.file(".csr"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// keep writes a certificate and its key.
func (k *Keeper) keep(pair *tls.Certificate) error {
	if k.Dir == "" {
		return nil
	}
	text, err := keyPEM(pair.PrivateKey.(crypto.Signer))
	if err != nil {
		return err
	}
	for _, der := range pair.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return replaceFile(k.file(".pem"), text)
}

// readPair reads what keep wrote. It may have another key than ours, which was changed since;
// it is shown until there is one for the new key.
func (k *Keeper) readPair() (*shown, error) {
	if k.Dir == "" {
		return nil, fs.ErrNotExist
	}
	text, err := os.ReadFile(k.file(".pem"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	then := &request{key: leaf.RawSubjectPublicKeyInfo, names: k.request.names}
	if problem := then.fits(leaf, k.now()); problem != "" {
		return nil, errors.New(problem)
	}
	pair.Leaf = leaf
	return &shown{pair: &pair, leaf: leaf}, nil
}

// selfMade returns a certificate that its own key has signed.
func selfMade(key crypto.Signer, names []string, now time.Time) (*shown, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, err
	}
	return &shown{pair: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, leaf: leaf, selfMade: true}, nil
}
