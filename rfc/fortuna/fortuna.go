// Package fortuna derives private keys from a short seed: the generator Fortuna (Ferguson and
// Schneier, Practical Cryptography, 2003, chapter 10) as the mirage-crypto library has it,
// seeded once and never again, and that library's way to draw RSA and Ed25519 keys. The same
// seed gives the same key for ever; whoever knows the seed knows the key.
//
// It is here for seeds that exist. New keys come from crypto/rand.
package fortuna

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
)

// A Generator is a deterministic stream of octets. How it is read matters: every Read of up to
// 64 KiB is one request, after which the generator changes its key.
type Generator struct {
	key     [sha256.Size]byte
	counter [aes.BlockSize]byte // big-endian
}

// New returns a generator with this seed.
func New(seed []byte) *Generator {
	g := new(Generator)
	inner := sha256.Sum256(append(g.key[:], seed...))
	g.key = sha256.Sum256(inner[:])
	g.advance(1)
	return g
}

// maxRequest is what one key encrypts at most.
const maxRequest = 64 << 10

// Read fills p. It does not fail.
func (g *Generator) Read(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxRequest)
		g.request(rest[:n])
		rest = rest[n:]
	}
	return len(p), nil
}

// request fills p with the key stream of AES-256 in counter mode, and takes the last two of the
// blocks, of which p holds nothing, as the next key.
func (g *Generator) request(p []byte) {
	blocks := (len(p)+aes.BlockSize-1)/aes.BlockSize + 2
	stream := make([]byte, blocks*aes.BlockSize)
	c, err := aes.NewCipher(g.key[:])
	if err != nil {
		panic(err) // the key has the length of an AES key
	}
	cipher.NewCTR(c, g.counter[:]).XORKeyStream(stream, stream)
	copy(p, stream)
	copy(g.key[:], stream[len(stream)-len(g.key):])
	g.advance(uint64(blocks))
}

func (g *Generator) advance(n uint64) {
	low := binary.BigEndian.Uint64(g.counter[8:])
	binary.BigEndian.PutUint64(g.counter[8:], low+n)
	if low+n < low {
		high := binary.BigEndian.Uint64(g.counter[:8])
		binary.BigEndian.PutUint64(g.counter[:8], high+1)
	}
}
