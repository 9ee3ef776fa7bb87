package check

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

func checkDANE(ctx context.Context, l *look, f *findings) {
	x := l.mx()
	if len(x.hosts) == 0 {
		f.rest("mx", "", "no MX host is known")
		return
	}
	for _, h := range x.hosts {
		name := fmt.Sprintf("_25._tcp.%s", h.name)
		a, err := dns.Lookup(ctx, l.env.Names, name, dns.TypeTLSA)
		switch {
		case dns.IsNegative(err):
			l.noTLSA(ctx, f, h.name)
		case err != nil:
			f.unknown(name, "the TLSA records could not be looked up: %v; senders with DANE put their mail off", err)
		case !a.Secure:
			f.note(name, "Have the zone of the host signed, with its DS record.", "the TLSA records count for nothing, as their zone is not signed")
		default:
			l.checkTLSA(f, h.name, name, dns.Records[*dns.TLSARecord](a))
		}
	}
}

func (l *look) noTLSA(ctx context.Context, f *findings, host string) {
	a, err := dns.LookupAddrs(ctx, l.env.Names, host)
	if err == nil && a.Secure {
		f.note(host, "", "there are no TLSA records, though the zone is signed")
		return
	}
	f.skip(host, "the zone of the host is not signed, so DANE does not apply")
}

func (l *look) checkTLSA(f *findings, host, name string, records []*dns.TLSARecord) {
	usable := slices.DeleteFunc(slices.Clone(records), func(r *dns.TLSARecord) bool { return !isUsable(r) })
	if len(usable) == 0 {
		f.wrong(name, "", "no TLSA record is of a kind that mail servers use: 3 1 1, or another with usage 2 or 3 (RFC 7672 section 3.1)")
		return
	}
	seen := 0
	for _, d := range l.doors() {
		if d.host != host || d.err != nil || d.state == nil {
			continue
		}
		seen++
		if !slices.ContainsFunc(usable, func(r *dns.TLSARecord) bool { return matches(r, d.state.PeerCertificates) }) {
			f.wrong(d.String(), "", "no TLSA record matches the certificate: senders with DANE will not deliver")
		} else {
			f.ok(d.String(), "a TLSA record matches the certificate")
		}
	}
	if seen == 0 {
		f.rest("port-25-in", name, "no certificate was seen to compare with")
	}
}

func isUsable(r *dns.TLSARecord) bool {
	size, err := hex.DecodeString(r.Certificate)
	return err == nil && (r.Usage == 2 || r.Usage == 3) && r.Selector <= 1 &&
		(r.MatchingType == 0 || r.MatchingType == 1 && len(size) == sha256.Size || r.MatchingType == 2 && len(size) == sha512.Size)
}

// matches compares a record with the server's certificate (usage 3) or with those that it
// shows above it (usage 2), see RFC 6698 section 2.1.
func matches(r *dns.TLSARecord, chain []*x509.Certificate) bool {
	if r.Usage == 3 {
		chain = chain[:min(1, len(chain))]
	} else {
		chain = chain[min(1, len(chain)):]
	}
	return slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		data := c.Raw
		if r.Selector == 1 {
			data = c.RawSubjectPublicKeyInfo
		}
		switch r.MatchingType {
		case 1:
			sum := sha256.Sum256(data)
			data = sum[:]
		case 2:
			sum := sha512.Sum512(data)
			data = sum[:]
		}
		return strings.EqualFold(hex.EncodeToString(data), r.Certificate)
	})
}
