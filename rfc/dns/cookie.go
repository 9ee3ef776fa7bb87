package dns

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// How long a server cookie is good, and when a new one is handed out (RFC 9018 section 4.3).
const (
	cookieLife   = time.Hour
	cookieRenew  = 30 * time.Minute
	cookieFuture = 5 * time.Minute
)

// A CookieSecret makes and checks the server cookies of RFC 9018. Servers that answer at one
// address share it.
type CookieSecret [16]byte

// NewCookieSecret returns a random secret.
func NewCookieSecret() CookieSecret {
	var s CookieSecret
	rand.Read(s[:]) //nolint:errcheck // never fails since Go 1.24
	return s
}

// server returns the cookie for a client: version 1, three octets reserved, the time, a hash.
func (s *CookieSecret) server(client []byte, ip netip.Addr, at uint32) (cookie [16]byte) {
	cookie[0] = 1
	binary.BigEndian.PutUint32(cookie[4:], at)
	hash := s.hash(client, cookie[:8], ip)
	copy(cookie[8:], hash[:])
	return cookie
}

// hash is the end of a server cookie, head its first 8 octets.
func (s *CookieSecret) hash(client, head []byte, ip netip.Addr) (h [8]byte) {
	var buf [32]byte
	in := append(append(buf[:0], client...), head...)
	if ip = ip.Unmap(); ip.Is4() {
		a := ip.As4()
		in = append(in, a[:]...)
	} else {
		a := ip.As16()
		in = append(in, a[:]...)
	}
	binary.LittleEndian.PutUint64(h[:], siphash((*[16]byte)(s), in))
	return h
}

// A cookieState is what a client's COOKIE option is worth.
type cookieState int

const (
	noCookie   cookieState = iota // none sent
	newCookie                     // a client cookie alone, or a server cookie that is not good
	goodCookie                    // the client can be reached at its address
	badCookie                     // malformed: FORMERR (RFC 7873 section 5.2.2)
)

// check looks at the COOKIE option of a query, and returns the option to answer with.
func (s *CookieSecret) check(opt *EDNS, ip netip.Addr, now time.Time) (cookieState, *dns.EDNS0_COOKIE) {
	raw, ok := cookieOf(opt)
	if !ok {
		return noCookie, nil
	}
	if len(raw) != 8 && (len(raw) < 16 || len(raw) > 40) {
		return badCookie, nil
	}
	state, answer := s.answer(raw, ip, now)
	return state, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(answer[:])}
}

// answer looks at a cookie of a proper length, and returns the one to answer with.
func (s *CookieSecret) answer(raw []byte, ip netip.Addr, now time.Time) (state cookieState, answer [24]byte) {
	client, server := raw[:8], raw[8:]
	at := uint32(now.Unix())
	state = newCookie
	if len(server) == 16 {
		made := binary.BigEndian.Uint32(server[4:])
		old := time.Duration(int32(at-made)) * time.Second // serial arithmetic, RFC 9018 section 4.3
		want := s.hash(client, server[:8], ip)
		if server[0] == 1 && subtle.ConstantTimeCompare(want[:], server[8:]) == 1 && old <= cookieLife && old >= -cookieFuture {
			state = goodCookie
			if old < cookieRenew {
				at = made
			}
		}
	}
	fresh := s.server(client, ip, at)
	copy(answer[copy(answer[:], client):], fresh[:])
	return state, answer
}

func cookieOf(opt *EDNS) ([]byte, bool) {
	if opt == nil {
		return nil, false
	}
	for _, o := range opt.Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			raw, err := hex.DecodeString(c.Cookie)
			return raw, err == nil
		}
	}
	return nil, false
}
