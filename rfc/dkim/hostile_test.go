package dkim

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// noHash is what Ed25519 wants of crypto.Signer.
const noHash = crypto.Hash(0)

func sha(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Of a thousand signatures ten are tried, with ten look-ups (reliability.md, S22).
func TestThousandSignatures(t *testing.T) {
	ring := newKeyring(t)
	m := message("From: ann@example.org\nSubject: s\n\nx\n")
	records := map[string]string{}
	signers := make([]Signer, 20)
	for i := range signers {
		signers[i] = ring.signers[0] // RSA, the slower one
		signers[i].Selector = fmt.Sprintf("s%d", i)
		records[RecordName(signers[i].Selector, "example.org")] = ring.records["rsa._domainkey.example.org"]
	}
	fields, err := Sign(m, signers...)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		m.Header.Prepend(fields...)
	}
	names := keys(t, records)
	start := time.Now()
	got := Verify(t.Context(), m, names, Options{})
	if d := time.Since(start); d > 200*time.Millisecond { // it takes about 1 ms
		t.Errorf("it took %v", d)
	}
	if len(got) != 10 || names.Total() != 10 {
		t.Errorf("%d results, %d look-ups", len(got), names.Total())
	}
	for _, r := range got {
		if r.Status != Pass {
			t.Errorf("got %+v", r)
		}
	}
}

// Look-ups run side by side: ten slow ones take as long as one. The end of the context ends
// them, and is a temporary error.
func TestLookupsInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		for i := range 10 {
			forge(t, m, fmt.Sprintf("s=s%d", i))
		}
		var asked atomic.Int32
		slow := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
			asked.Add(1)
			select {
			case <-time.After(3 * time.Second):
				return nil, context.DeadlineExceeded
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		start := time.Now()
		for _, r := range Verify(t.Context(), m, slow, Options{}) {
			if r.Status != TempError {
				t.Errorf("got %+v, want temperror", r)
			}
		}
		if d := time.Since(start); d != 3*time.Second || asked.Load() != 10 {
			t.Errorf("%d look-ups took %v", asked.Load(), d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if r := Verify(ctx, m, slow, Options{})[0]; r.Status != TempError || time.Since(start) != time.Second {
			t.Errorf("after %v: %+v", time.Since(start), r)
		}
	})
}

func TestKeySizes(t *testing.T) {
	for _, bits := range []int{512, 1023, 4097, 16384} {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		key := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
		record, err := RecordText(key)
		if err != nil {
			t.Fatal(err)
		}
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		forge(t, m, "s=s; a=rsa-sha256")
		got := Verify(t.Context(), m, keys(t, map[string]string{"s._domainkey.example.org": record}), Options{})[0]
		if got.Status != PermError || got.Bits != bits {
			t.Errorf("%d bits: got %+v, want permerror", bits, got)
		}
	}
	text, err := os.ReadFile("testdata/rsa4096.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	record, err := RecordText(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	m := message("From: ann@example.org\nSubject: s\n\nx\n")
	fields, err := Sign(m, Signer{Domain: "example.org", Selector: "s", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(fields...)
	got := Verify(t.Context(), m, keys(t, map[string]string{"s._domainkey.example.org": record}), Options{})[0]
	if got.Status != Pass || got.Bits != 4096 {
		t.Errorf("4096 bits: got %+v", got)
	}
}

// Keys with odd numbers in them cost nothing and pass nothing.
func TestOddRSAKeys(t *testing.T) {
	m := message("From: ann@example.org\nSubject: s\n\nx\n")
	forge(t, m, "s=s; a=rsa-sha256")
	for name, der := range map[string]string{
		"n = 0":           "300602010002010 3",
		"e = 1":           "30" + "82010a" + "02820101" + "00" + strings.Repeat("ff", 256) + "020101",
		"e = 2":           "30" + "82010a" + "02820101" + "00" + strings.Repeat("ff", 256) + "020102",
		"e of 33 bits":    "30" + "82010e" + "02820101" + "00" + strings.Repeat("ff", 256) + "02050100000001",
		"negative n":      "30" + "820109" + "02820100" + strings.Repeat("ff", 256) + "020103",
		"even n":          "30" + "82010a" + "02820101" + "00" + strings.Repeat("f0", 256) + "020103",
		"length of 2^31":  "3084ffffffff0284ffffffff",
		"something after": "30" + "82010a" + "02820101" + "00" + strings.Repeat("ff", 256) + "02010300",
	} {
		raw := unhex(t, strings.ReplaceAll(der, " ", ""))
		record := "k=rsa; p=" + encode(raw)
		got := Verify(t.Context(), m, keys(t, map[string]string{"s._domainkey.example.org": record}), Options{})[0]
		if got.Status != PermError && got.Status != Fail {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
