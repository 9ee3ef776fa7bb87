package dns

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// TXT returns the texts at name, the strings of each record joined without a space between
// (as RFC 7208 section 3.3 and RFC 6376 section 3.6.2.2 want it). Octets are as on the wire.
func TXT(ctx context.Context, x Exchanger, name string) ([]string, error) {
	a, err := Lookup(ctx, x, name, TypeTXT)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range Records[*TXTRecord](a) {
		out = append(out, Text(rr))
	}
	return out, nil
}

// Text returns the strings of one TXT record joined, unescaped.
func Text(rr *TXTRecord) string {
	return unescape(strings.Join(rr.Txt, ""))
}

// A MailServer is one MX record.
type MailServer struct {
	Preference uint16
	Host       string // without a final dot; "" is the null MX of RFC 7505
}

// MX returns the mail servers of a domain, the most preferred first. It does not fall back on
// the address of the domain (RFC 5321 section 5.1): ErrNoData is the caller's sign to do so.
func MX(ctx context.Context, x Exchanger, name string) ([]MailServer, error) {
	a, err := Lookup(ctx, x, name, TypeMX)
	if err != nil {
		return nil, err
	}
	return MailServers(a), nil
}

// MailServers returns the MX records of an answer, the most preferred first.
func MailServers(a *Answer) []MailServer {
	var out []MailServer
	for _, rr := range Records[*MXRecord](a) {
		out = append(out, MailServer{rr.Preference, Host(rr.Mx)})
	}
	slices.SortStableFunc(out, func(a, b MailServer) int { return cmp.Compare(a.Preference, b.Preference) })
	return out
}

// Addrs returns the IPv4 and IPv6 addresses of name. See LookupAddrs.
func Addrs(ctx context.Context, x Exchanger, name string) ([]netip.Addr, error) {
	a, err := LookupAddrs(ctx, x, name)
	if err != nil {
		return nil, err
	}
	return Addresses(a), nil
}

// Addresses returns the addresses in the A and AAAA records of an answer.
func Addresses(a *Answer) []netip.Addr {
	var out []netip.Addr
	for _, rr := range a.RRs {
		var ip netip.Addr
		switch rr := rr.(type) {
		case *ARecord:
			ip, _ = netip.AddrFromSlice(rr.A)
		case *AAAARecord:
			ip, _ = netip.AddrFromSlice(rr.AAAA)
		}
		if ip.IsValid() {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// LookupAddrs asks for A and AAAA at once and joins the answers, AAAA first. Where one of the
// two fails for now and the other has records, these are the answer, not secure; where one
// fails and the other has none, the failure is.
func LookupAddrs(ctx context.Context, x Exchanger, name string) (*Answer, error) {
	var answers [2]*Answer
	var errs [2]error
	var wg sync.WaitGroup
	for i, t := range []uint16{TypeAAAA, TypeA} {
		wg.Go(func() { answers[i], errs[i] = Lookup(ctx, x, name, t) })
	}
	wg.Wait()
	switch {
	case errs[0] == nil && errs[1] == nil:
		six, four := answers[0], answers[1]
		six.RRs = append(six.RRs, four.RRs...)
		six.TTL = min(six.TTL, four.TTL)
		six.Secure = six.Secure && four.Secure
		return six, nil
	case errs[0] == nil:
		return half(answers[0], errs[1]), nil
	case errs[1] == nil:
		return half(answers[1], errs[0]), nil
	}
	return nil, worse(errs[0], errs[1])
}

// half is an answer of one family whose other family has none.
func half(a *Answer, other error) *Answer {
	var e *Error
	a.Secure = a.Secure && errors.As(other, &e) && e.Secure
	return a
}

// worse picks the error that promises less: a temporary one, then no data, then no name.
func worse(a, b error) error {
	for _, err := range []error{a, b} {
		if !IsNegative(err) {
			return err
		}
	}
	if errors.Is(b, ErrNoData) {
		return b
	}
	return a
}

// PTR returns the names that an address maps back to, without final dots.
func PTR(ctx context.Context, x Exchanger, ip netip.Addr) ([]string, error) {
	a, err := Lookup(ctx, x, ReverseName(ip), TypePTR)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range Records[*PTRRecord](a) {
		out = append(out, Host(rr.Ptr))
	}
	return out, nil
}

// ReverseName returns the name below in-addr.arpa (RFC 1035 section 3.5) or ip6.arpa (RFC
// 3596 section 2.5) that stands for ip.
func ReverseName(ip netip.Addr) string {
	name, err := reverseName(ip.Unmap().WithZone("").String())
	if err != nil { // only for the zero Addr
		return "invalid."
	}
	return name
}

// NS returns the name servers of a zone, without final dots.
func NS(ctx context.Context, x Exchanger, name string) ([]string, error) {
	a, err := Lookup(ctx, x, name, TypeNS)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range Records[*NSRecord](a) {
		out = append(out, Host(rr.Ns))
	}
	return out, nil
}

// TLSA returns the TLSA records at name (RFC 6698), as "_25._tcp.mx.example". They say
// something only where they are secure: DANE wants Lookup and Answer.Secure.
func TLSA(ctx context.Context, x Exchanger, name string) ([]*TLSARecord, error) {
	return records[*TLSARecord](ctx, x, name, TypeTLSA)
}

// CAA returns the CAA records at name itself (RFC 8659); climbing is the caller's.
func CAA(ctx context.Context, x Exchanger, name string) ([]*CAARecord, error) {
	return records[*CAARecord](ctx, x, name, TypeCAA)
}

// SRV returns the SRV records at name (RFC 2782).
func SRV(ctx context.Context, x Exchanger, name string) ([]*SRVRecord, error) {
	return records[*SRVRecord](ctx, x, name, TypeSRV)
}

// SOA returns the SOA record of a zone.
func SOA(ctx context.Context, x Exchanger, zone string) (*SOARecord, error) {
	soas, err := records[*SOARecord](ctx, x, zone, TypeSOA)
	if err != nil {
		return nil, err
	}
	return soas[0], nil
}

func records[T RR](ctx context.Context, x Exchanger, name string, t uint16) ([]T, error) {
	a, err := Lookup(ctx, x, name, t)
	if err != nil {
		return nil, err
	}
	out := Records[T](a)
	if len(out) == 0 {
		return nil, &Error{Name: Host(name), Type: t, Cause: errors.New("the records have another form")}
	}
	return out, nil
}

// unescape undoes the \DDD and \X of zone text (RFC 1035 section 5.1), which the wire library
// puts into strings.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) && isDigits(s[i+1:i+4]) {
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
			continue
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
