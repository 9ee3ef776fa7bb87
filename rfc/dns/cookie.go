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
func (s *CookieSecret) server(client []byte, ip netip.Addr, at uint32) []byte {
	return s.hash(client, binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, at), ip)
}

func (s *CookieSecret) hash(client, head []byte, ip netip.Addr) []byte {
	in := append(append(append(make([]byte, 0, 32), client...), head...), ip.Unmap().AsSlice()...)
	return binary.LittleEndian.AppendUint64(head[:8:8], siphash((*[16]byte)(s), in))
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
	client, server := raw[:8], raw[8:]
	at := uint32(now.Unix())
	state := newCookie
	if len(server) == 16 {
		made := binary.BigEndian.Uint32(server[4:])
		old := time.Duration(int32(at-made)) * time.Second // serial arithmetic, RFC 9018 section 4.3
		if server[0] == 1 && subtle.ConstantTimeCompare(s.hash(client, server[:8], ip), server) == 1 && old <= cookieLife && old >= -cookieFuture {
			state = goodCookie
			if old < cookieRenew {
				at = made
			}
		}
	}
	answer := append(append([]byte(nil), client...), s.server(client, ip, at)...)
	return state, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(answer)}
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
