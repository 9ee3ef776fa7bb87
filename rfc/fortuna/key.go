package fortuna

import (
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"math/big"
)

// exponent is the public exponent of every key.
const exponent = 65537

// The sizes of RSA keys that RSA makes.
const (
	MinBits = 1024
	MaxBits = 4096
)

// Ed25519 returns the key of a seed.
func Ed25519(seed []byte) ed25519.PrivateKey {
	private := make([]byte, ed25519.SeedSize)
	New(seed).Read(private) //nolint:errcheck // it does not fail
	return ed25519.NewKeyFromSeed(private)
}

// RSA returns the key of a seed. bits is a multiple of 16 from MinBits to MaxBits. It takes in
// the order of a second for 4096 bits.
func RSA(seed []byte, bits int) (*rsa.PrivateKey, error) {
	if bits < MinBits || bits > MaxBits || bits%16 != 0 {
		return nil, fmt.Errorf("fortuna: no RSA keys of %d bits", bits)
	}
	g := New(seed)
	for {
		p, q := prime(g, bits/2), prime(g, bits/2)
		if p.Cmp(q) < 0 {
			p, q = q, p
		}
		if key := fromPrimes(p, q); key != nil {
			return key, key.Validate()
		}
	}
}

// prime draws a number with its two top bits set and returns the next prime above it; it draws
// again when that is longer than bits.
func prime(g *Generator, bits int) *big.Int {
	buf := make([]byte, bits/8)
	for {
		g.Read(buf) //nolint:errcheck // it does not fail
		buf[0] |= 0xC0
		if p := nextPrime(new(big.Int).SetBytes(buf)); p.BitLen() == bits {
			return p
		}
	}
}

// fromPrimes returns the key with p > q, nil when they make none.
func fromPrimes(p, q *big.Int) *rsa.PrivateKey {
	one := big.NewInt(1)
	e := big.NewInt(exponent)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	lcm := new(big.Int).Mul(p1, q1)
	lcm.Quo(lcm, new(big.Int).GCD(nil, nil, p1, q1))
	d := new(big.Int).ModInverse(e, lcm)
	if d == nil || p.Cmp(q) == 0 {
		return nil
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: exponent},
		D:         d,
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	return key
}
