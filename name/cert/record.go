package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// label is what the names of certificate records begin with.
const label = "_letsencrypt._tcp"

// ttl of the records that we write, in seconds.
const ttl = 3600

// Owner returns the name at which the records of a host stand, with its final dot.
func Owner(host string) string { return dns.Canonical(label + "." + host) }

// hostOf returns the host whose records stand at an owner.
func hostOf(owner string) (host string, ok bool) {
	host, ok = strings.CutPrefix(dns.Canonical(owner), label+".")
	return dns.Host(host), ok && dns.Host(host) != ""
}

// A kind is what a TLSA record holds, by its first three numbers.
type kind struct{ usage, selector, matching uint8 }

var (
	kindRequest = kind{3, 255, 0}
	kindLeaf    = kind{3, 0, 0}
	kindChain   = kind{0, 0, 0}
	kindPin     = kind{3, 1, 1} // DANE's own
)

func kindOf(rr *dns.TLSARecord) kind { return kind{rr.Usage, rr.Selector, rr.MatchingType} }

// record returns the TLSA record that holds der.
func record(owner string, k kind, der []byte) *dns.TLSARecord {
	return &dns.TLSARecord{
		Hdr:   dns.Header{Name: dns.Canonical(owner), Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: ttl},
		Usage: k.usage, Selector: k.selector, MatchingType: k.matching, Certificate: hex.EncodeToString(der),
	}
}

// A shelf is what stands at one owner. What cannot be read is not on it, but its record is.
type shelf struct {
	owner    string
	records  []*dns.TLSARecord // all of them
	requests []*request
	leaves   []*x509.Certificate
	chain    []*x509.Certificate
	broken   []*dns.TLSARecord // of a kind of ours, and cannot be read
}

// maxRecord bounds what is parsed: no certificate of a host is larger.
const maxRecord = 16 << 10

// readShelf sorts the records at an owner.
func readShelf(owner string, records []*dns.TLSARecord) *shelf {
	s := &shelf{owner: dns.Canonical(owner), records: records}
	for _, rr := range records {
		k := kindOf(rr)
		if k != kindRequest && k != kindLeaf && k != kindChain {
			continue
		}
		der, err := hex.DecodeString(rr.Certificate)
		if err != nil || len(der) > maxRecord {
			s.broken = append(s.broken, rr)
			continue
		}
		if !s.put(k, der) {
			s.broken = append(s.broken, rr)
		}
	}
	return s
}

func (s *shelf) put(k kind, der []byte) bool {
	if k == kindRequest {
		r, err := parseRequest(der)
		if err == nil {
			s.requests = append(s.requests, r)
		}
		return err == nil
	}
	c, err := x509.ParseCertificate(der)
	switch {
	case err != nil:
		return false
	case k == kindLeaf:
		s.leaves = append(s.leaves, c)
	default:
		s.chain = append(s.chain, c)
	}
	return true
}

// unchanged makes it a condition of m that the records are still those that we saw.
func (s *shelf) unchanged(m *dns.Msg) {
	if len(s.records) == 0 {
		m.RRsetNotUsed([]dns.RR{record(s.owner, kindRequest, nil)})
		return
	}
	copies := make([]dns.RR, len(s.records))
	for i, rr := range s.records {
		copies[i] = dns.Copy(rr) // the library sets their TTL to 0
	}
	m.Used(copies)
}

// best returns the certificate that answers r and is good now, the one issued last, with the
// certificates above it. why says what is wrong where there is none, "" when nothing is there.
func (s *shelf) best(r *request, now time.Time) (chain []*x509.Certificate, why string) {
	var best *x509.Certificate
	for _, c := range s.leaves {
		if problem := r.fits(c, now); problem != "" {
			why = problem
			continue
		}
		if best == nil || c.NotBefore.After(best.NotBefore) {
			best = c
		}
	}
	if best == nil {
		if why == "" && len(s.broken) > 0 {
			why = "a record cannot be read"
		}
		return nil, why
	}
	chain = climb(best, s.chain)
	if len(chain) == 1 && len(s.chain) > 0 {
		return nil, "no certificate beside it has signed it"
	}
	return chain, ""
}

// climb returns c with those of above that lead from it towards a root, each followed by the
// one that signed it, as a TLS server sends them (RFC 8446 section 4.4.2).
func climb(c *x509.Certificate, above []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{c}
	for len(chain) <= len(above) {
		last := chain[len(chain)-1]
		next := issuerOf(last, above)
		if next == nil || next == last {
			break
		}
		chain = append(chain, next)
	}
	return chain
}

func issuerOf(c *x509.Certificate, above []*x509.Certificate) *x509.Certificate {
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return nil
	}
	for _, a := range above {
		if bytes.Equal(a.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(a) == nil {
			return a
		}
	}
	return nil
}
