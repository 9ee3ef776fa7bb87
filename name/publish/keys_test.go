package publish

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
)

var rsaKey = sync.OnceValue(func() *rsa.PublicKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &k.PublicKey
})

func edKey(n byte) ed25519.PublicKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// keys publishes under the signer's narrow key.
func (z *zone) keys(file string, public map[string]crypto.PublicKey) *Keys {
	z.t.Helper()
	k := &Keys{Writer: z.as(signerKey), Zone: "x.example", File: file}
	for selector, key := range public {
		k.Keys = append(k.Keys, Key{selector, "x.example", key})
	}
	if err := k.Load(); err != nil {
		z.t.Fatal(err)
	}
	return k
}

func (z *zone) run(k *Keys) (stop func()) {
	return background(z.t, func(ctx context.Context) { k.Run(ctx) })
}

func wait(t *testing.T, k *Keys) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := k.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// Keys of both kinds are published, each as one record in strings of at most 255 octets; the next
// start finds them and writes nothing.
func TestKeys(t *testing.T) {
	z := newZone(t, "")
	public := map[string]crypto.PublicKey{"rsa1": rsaKey(), "ed1": edKey(1)}
	k := z.keys("", public)
	for selector := range public {
		if k.Ready(selector, "x.example") {
			t.Errorf("%s is ready before it is published", selector)
		}
	}
	if !k.Ready("s9", "y.example") {
		t.Error("a key that is not ours to publish is not ready")
	}
	stop := z.run(k)
	wait(t, k)
	stop()
	for selector, key := range public {
		texts := z.texts(selector + "._domainkey.x.example")
		if len(texts) != 1 || !strings.HasPrefix(texts[0], "v=DKIM1; ") || !dkim.Holds(texts[0], key) || !k.Ready(selector, "x.example") {
			t.Errorf("%s: %q", selector, texts)
		}
		a, err := dns.Lookup(t.Context(), z.a, selector+"._domainkey.x.example", dns.TypeTXT)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range a.RRs[0].(*dns.TXTRecord).Txt {
			if len(s) > 255 {
				t.Errorf("%s: a string of %d octets", selector, len(s))
			}
		}
	}
	if n := z.updates(); n != 2 {
		t.Errorf("%d updates", n)
	}
	k = z.keys("", public)
	stop = z.run(k)
	wait(t, k)
	stop()
	if n := z.updates(); n != 2 {
		t.Errorf("%d updates after the second start", n)
	}
}

// What stands in the place of a key goes with the same update, and what differs only in the order of its
// tags stays.
func TestOldKeys(t *testing.T) {
	p := base64.StdEncoding.EncodeToString(edKey(1))
	z := newZone(t, fmt.Sprintf("s1._domainkey TXT \"v=DKIM1; k=ed25519; p=%s\"\ns1._domainkey TXT \"v=DKIM1; p=\"\ns2._domainkey TXT \"h=sha256; p=%s; k=ed25519\"\n",
		base64.StdEncoding.EncodeToString(edKey(9)), p))
	k := z.keys("", map[string]crypto.PublicKey{"s1": edKey(1), "s2": edKey(1)})
	z.run(k)
	wait(t, k)
	if texts := z.texts("s1._domainkey.x.example"); len(texts) != 1 || !dkim.Holds(texts[0], edKey(1)) {
		t.Errorf("s1: %q", texts)
	}
	if texts := z.texts("s2._domainkey.x.example"); len(texts) != 1 || !strings.HasPrefix(texts[0], "h=sha256") || z.updates() != 1 {
		t.Errorf("s2: %q, %d updates", texts, z.updates())
	}
}

// While the name server is away, or refuses, the key is not ready, and as soon as that is over it is.
// A restart remembers what was published.
func TestTroubleAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "")
		file := filepath.Join(t.TempDir(), "state", "published.json")
		public := map[string]crypto.PublicKey{"s1": edKey(1)}
		z.down.Store(true)
		k := z.keys(file, public)
		stop := z.run(k)
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Wait(ctx); !errors.Is(err, errDown) || k.Ready("s1", "x.example") {
			t.Errorf("down: %v", err)
		}
		z.down.Store(false)
		time.Sleep(maxPause + time.Second)
		if !k.Ready("s1", "x.example") || k.Status()[0].Err != nil {
			t.Errorf("up: %+v", k.Status())
		}
		stop()
		z.down.Store(true)
		k = z.keys(file, public)
		if !k.Ready("s1", "x.example") {
			t.Error("after a restart the key is not ready")
		}
		if k := z.keys(file, map[string]crypto.PublicKey{"s1": edKey(2)}); k.Ready("s1", "x.example") {
			t.Error("another key is ready by what is remembered of the old one")
		}
		if err := os.WriteFile(file, []byte("{damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if k := z.keys(file, public); k.Ready("s1", "x.example") {
			t.Error("ready by a damaged file")
		}
	})
}

// Two signers with different keys for one selector write once each, and then complain.
func TestSameSelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "")
		a, b := z.keys("", map[string]crypto.PublicKey{"s1": edKey(1)}), z.keys("", map[string]crypto.PublicKey{"s1": edKey(2)})
		z.run(a)
		time.Sleep(time.Minute)
		stop := z.run(b)
		time.Sleep(7 * 24 * time.Hour)
		if n := z.updates(); n > 16 {
			t.Errorf("%d updates in a week", n)
		}
		if all := fmt.Sprint(a.Status()[0].Err, b.Status()[0].Err); !strings.Contains(all, "another signer") {
			t.Errorf("nobody complains: %s", all)
		}
		stop()
	})
}

func TestKeysRefuseNonsense(t *testing.T) {
	for name, keys := range map[string][]Key{
		"no key":            {{"s1", "x.example", nil}},
		"a selector twice":  {{"s1", "x.example", edKey(1)}, {"s1", "x.example", edKey(2)}},
		"no selector":       {{"", "x.example", edKey(1)}},
		"a selector a..b":   {{"a..b", "x.example", edKey(1)}},
		"a selector of 300": {{strings.Repeat("a", 300), "x.example", edKey(1)}},
	} {
		k := &Keys{Zone: "x.example", Keys: keys}
		if err := k.Load(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
