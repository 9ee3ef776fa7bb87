package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"stagecoach/mail"
)

// A BodyHash takes the body of a message in pieces of any size and hashes its canonical form
// with SHA-256 (RFC 6376 sections 3.4.3 and 3.4.4). Its memory is constant.
type BodyHash struct {
	canon Canon
	hash  hash.Hash
	size  int64 // of the canonical form so far

	ends  int64 // CRLFs seen that count only if more follows
	cr    bool  // the last octet was a CR
	blank bool  // relaxed: white space that counts only if more follows in its line
	any   bool  // something was hashed

	out  [2048]byte
	used int
}

// NewBodyHash returns a hash of the empty body.
func NewBodyHash(c Canon) *BodyHash { return &BodyHash{canon: c, hash: sha256.New()} }

// Write takes more of the body; it does not fail.
func (h *BodyHash) Write(p []byte) (int, error) {
	if h.canon == Relaxed {
		h.writeRelaxed(p)
	} else {
		h.writeSimple(p)
	}
	return len(p), nil
}

// Sum ends the body and returns its hash and the length of its canonical form. The BodyHash
// is spent.
func (h *BodyHash) Sum() (digest []byte, size int64) {
	if h.cr {
		h.content('\r')
	}
	if h.any || h.canon == Simple {
		h.put('\r')
		h.put('\n')
	}
	h.flush()
	return h.hash.Sum(nil), h.size
}

// writeSimple passes everything on, except that CRLFs wait until something follows.
func (h *BodyHash) writeSimple(p []byte) {
	solid := len(bytes.TrimRight(p, "\r\n")) // what comes before is followed by content
	if solid > 0 {
		if h.cr {
			h.cr = false
			if p[0] == '\n' {
				h.ends++
				p, solid = p[1:], solid-1
			} else {
				h.content('\r')
			}
		}
		h.lineEnds()
		h.flush()
		h.hash.Write(p[:solid])
		h.size += int64(solid)
		h.any = true
	}
	for _, c := range p[solid:] {
		h.step(c)
	}
}

func (h *BodyHash) writeRelaxed(p []byte) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c > ' ' && !h.cr { // the common case, as a run
			n := i + 1
			for n < len(p) && (p[n] > ' ' || p[n] == ' ' && n+1 < len(p) && p[n+1] > ' ') {
				n++ // single blanks inside of a line stay as they are
			}
			h.run(p[i:n])
			i = n - 1
			continue
		}
		h.step(c)
	}
}

// step takes one octet.
func (h *BodyHash) step(c byte) {
	if h.cr {
		h.cr = false
		if c == '\n' {
			h.ends++
			h.blank = false
			return
		}
		h.content('\r')
	}
	switch {
	case c == '\r':
		h.cr = true
	case h.canon == Relaxed && (c == ' ' || c == '\t'):
		h.blank = true
	default:
		h.content(c)
	}
}

func (h *BodyHash) run(p []byte) {
	h.content(p[0])
	p = p[1:]
	if len(p) > len(h.out)-h.used {
		h.flush()
	}
	if len(p) > len(h.out) {
		h.hash.Write(p)
		h.size += int64(len(p))
		return
	}
	h.used += copy(h.out[h.used:], p)
}

// content hashes an octet together with what waited for it.
func (h *BodyHash) content(c byte) {
	if h.ends > 0 {
		h.lineEnds()
	}
	if h.blank {
		h.blank = false
		h.put(' ')
	}
	h.put(c)
	h.any = true
}

var crlfs = bytes.Repeat([]byte("\r\n"), 512)

func (h *BodyHash) lineEnds() {
	if h.ends > 0 {
		h.flush()
	}
	for h.ends > 0 {
		n := min(h.ends, int64(len(crlfs)/2))
		h.hash.Write(crlfs[:2*n])
		h.size += 2 * n
		h.ends -= n
	}
}

func (h *BodyHash) put(c byte) {
	if h.used == len(h.out) {
		h.flush()
	}
	h.out[h.used] = c
	h.used++
}

func (h *BodyHash) flush() {
	h.hash.Write(h.out[:h.used])
	h.size += int64(h.used)
	h.used = 0
}

// A bodySum is what BodyHash.Sum returned.
type bodySum struct {
	digest []byte
	size   int64
}

// sumBody reads the body of m once and returns the hashes of the canonical forms that are wanted.
func sumBody(m *mail.Message, wanted [2]bool) (sums [2]bodySum, err error) {
	var hashes [2]*BodyHash
	for c := range wanted {
		if wanted[c] {
			hashes[c] = NewBodyHash(Canon(c))
		}
	}
	r := m.NewReader()
	buf := make([]byte, min(32<<10, m.Body.Size()+1))
	for err == nil {
		var n int
		n, err = r.Read(buf)
		for _, h := range hashes {
			if h != nil {
				h.Write(buf[:n]) //nolint:errcheck // it does not fail
			}
		}
	}
	if err != io.EOF {
		return sums, err
	}
	for c, h := range hashes {
		if h != nil {
			sums[c].digest, sums[c].size = h.Sum()
		}
	}
	return sums, nil
}
