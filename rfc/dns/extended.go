package dns

import (
	"encoding/hex"

	"github.com/miekg/dns"
)

// An ExtendedError says more about a response than its code does (RFC 8914).
type ExtendedError struct {
	Code uint16
	Text string
}

// Codes of extended errors (RFC 8914 section 4, RFC 9276 section 3.2, RFC 9520).
const (
	ExtendedOther                   = dns.ExtendedErrorCodeOther
	ExtendedAlgorithm               = dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm
	ExtendedDigest                  = dns.ExtendedErrorCodeUnsupportedDSDigestType
	ExtendedStale                   = dns.ExtendedErrorCodeStaleAnswer
	ExtendedIndeterminate           = dns.ExtendedErrorCodeDNSSECIndeterminate
	ExtendedBogus                   = dns.ExtendedErrorCodeDNSBogus
	ExtendedExpired                 = dns.ExtendedErrorCodeSignatureExpired
	ExtendedNotYetValid             = dns.ExtendedErrorCodeSignatureNotYetValid
	ExtendedNoDNSKEY                = dns.ExtendedErrorCodeDNSKEYMissing
	ExtendedNoRRSIG                 = dns.ExtendedErrorCodeRRSIGsMissing
	ExtendedNoZoneKey               = dns.ExtendedErrorCodeNoZoneKeyBitSet
	ExtendedNoNSEC                  = dns.ExtendedErrorCodeNSECMissing
	ExtendedCachedError             = dns.ExtendedErrorCodeCachedError
	ExtendedNotReady                = dns.ExtendedErrorCodeNotReady
	ExtendedProhibited              = dns.ExtendedErrorCodeProhibited
	ExtendedStaleNXDOMAIN           = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
	ExtendedNotAuthoritative        = dns.ExtendedErrorCodeNotAuthoritative
	ExtendedNotSupported            = dns.ExtendedErrorCodeNotSupported
	ExtendedNoAuthority             = dns.ExtendedErrorCodeNoReachableAuthority
	ExtendedNetwork                 = dns.ExtendedErrorCodeNetworkError
	ExtendedIterations       uint16 = 27
	ExtendedSynthesized      uint16 = 29
)

// Extend adds an extended error to a response, which gets EDNS where it has none.
func Extend(m *Msg, e ExtendedError) {
	opt := m.IsEdns0()
	if opt == nil {
		m.SetEdns0(UDPSize, false)
		opt = m.IsEdns0()
	}
	opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: e.Code, ExtraText: e.Text})
}

// ExtendedErrors returns the extended errors of a response, their text made printable.
func ExtendedErrors(m *Msg) []ExtendedError {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	var out []ExtendedError
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			out = append(out, ExtendedError{e.InfoCode, printable(e.ExtraText)})
		}
	}
	return out
}

// Name returns what RFC 8914 calls the error.
func (e ExtendedError) Name() string { return extended(&dns.EDNS0_EDE{InfoCode: e.Code}) }

// SetCookie puts a cookie into a query that has EDNS: 8 octets of the client's and none, or 8
// to 32, of the server's (RFC 7873 section 4).
func SetCookie(m *Msg, cookie []byte) {
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(cookie)})
	}
}

// CookieOf returns the cookie in a message, nil where there is none of a proper length.
func CookieOf(m *Msg) []byte {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		c, ok := o.(*dns.EDNS0_COOKIE)
		if !ok {
			continue
		}
		b, err := hex.DecodeString(c.Cookie)
		if err == nil && (len(b) == 8 || len(b) >= 16 && len(b) <= 40) {
			return b
		}
	}
	return nil
}
