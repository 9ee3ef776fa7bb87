package fortuna

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What mirage-crypto gives for the seed "foo=" of base64.
func TestGenerator(t *testing.T) {
	got := make([]byte, 16)
	New(decode(t, "foo=")).Read(got)
	if want := "D2siqCh23fV8x4fA9xm1Nw=="; base64.StdEncoding.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

// A request of more than 64 KiB is several, with a new key each.
func TestGeneratorLongRead(t *testing.T) {
	long := make([]byte, maxRequest+100)
	New([]byte("seed")).Read(long)
	g := New([]byte("seed"))
	parts := make([]byte, len(long))
	g.Read(parts[:maxRequest])
	g.Read(parts[maxRequest:])
	if string(long) != string(parts) {
		t.Error("a long read differs from its pieces")
	}
}

func TestGeneratorCounterCarries(t *testing.T) {
	g := New(nil)
	for i := range g.counter {
		g.counter[i] = 0xff
	}
	g.counter[0] = 0
	g.advance(1)
	if want := "01000000000000000000000000000000"; hex.EncodeToString(g.counter[:]) != want {
		t.Errorf("counter is %x", g.counter)
	}
}

func spkiHash(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(der))
}

// Keys that mirage-crypto made of these seeds: of blaze dkim gen (its own test), of the article's signer, and
// two that awa_gen_key published.
func TestRSA(t *testing.T) {
	for _, c := range []struct {
		name, spki, modulus string
		seed                []byte
		bits                int
	}{
		{"blaze", "056763be925f6cdb9bdd1d4f675ba258607e5f77d924217f5aea7dcbfdb2f6fe", "", decode(t, "D2siqCh23fV8x4fA9xm1Nw=="), 4096},
		{"article", "e634e597605d211b6b91efa3023d78655f8cfc483c8dd57f1f0738f1dc03175a", "",
			decode(t, "iI9jJBB/XLd6r0C1cNobumjKRyMfnGKKb6nYFJ5dD48="), 2048},
		{"awa 2048", "", "a689df80195b749ab5608041642c0552eab816", []byte("M0XGwihC6RtGCzYptLcHuO+SV38TqBUbCMiCf898"), 2048},
		{"awa 4096", "", "ddc2f249e59fc668a5a844971fe63ad8f79d9e", []byte("pUxPne3bfhuihCPH3VhJtjm2/NIM5ooQndXUc5Ey"), 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, err := RSA(c.seed, c.bits)
			if err != nil {
				t.Fatal(err)
			}
			if got := spkiHash(t, key); c.spki != "" && got != c.spki {
				t.Errorf("sha256 of the public key is %s, want %s", got, c.spki)
			}
			if got := key.N.Text(16); !strings.HasPrefix(got, c.modulus) {
				t.Errorf("the modulus begins %.38s, want %s", got, c.modulus)
			}
		})
	}
}

func TestRSARefusesSizes(t *testing.T) {
	for _, bits := range []int{0, -16, 512, 1032, 2047, 8192} {
		if _, err := RSA([]byte("seed"), bits); err == nil {
			t.Errorf("a key of %d bits was made", bits)
		}
	}
}

func TestEd25519(t *testing.T) {
	want := make([]byte, 32)
	New([]byte("seed")).Read(want)
	if got := Ed25519([]byte("seed")); string(got.Seed()) != string(want) {
		t.Errorf("the private key is %x, want the generator's first 32 octets %x", got.Seed(), want)
	}
}

func TestNextPrime(t *testing.T) {
	n, _ := new(big.Int).SetString("1"+strings.Repeat("0", 40), 16)
	for range 20 {
		got := nextPrime(n)
		want := new(big.Int).Set(n)
		for want.Add(want, big.NewInt(1)); !want.ProbablyPrime(20); {
			want.Add(want, big.NewInt(1))
		}
		if got.Cmp(want) != 0 {
			t.Fatalf("the prime above %v is %v, want %v", n, got, want)
		}
		n = got
	}
}

func BenchmarkRSA2048(b *testing.B) {
	for b.Loop() {
		if _, err := RSA([]byte("seed"), 2048); err != nil {
			b.Fatal(err)
		}
	}
}
