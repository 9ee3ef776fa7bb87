package publish

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/spf"
)

// text returns the Want of a record that there must be one of among the TXT records at a name:
// ours tells which of those that are there it replaces.
func text(name, text string, ours func(text string) bool) Want {
	return Want{RRs: []dns.RR{TXT(name, text)}, Ours: func(rr dns.RR) bool { return ours(textOf(rr)) }}
}

// versioned tells records that begin with a version, as "v=DMARC1", whatever follows.
func versioned(version string) func(string) bool {
	return func(s string) bool {
		return len(s) >= len(version) && strings.EqualFold(s[:len(version)], version)
	}
}

// SPF wants a domain to have this one SPF record (RFC 7208), in its normal form. How many
// look-ups it takes spf.Lookups tells.
func SPF(domain, record string) (Want, error) {
	normal, err := spf.Normal(record)
	if err != nil {
		return Want{}, fmt.Errorf("SPF: %w", err)
	}
	if len(normal) > 450 { // RFC 7208 section 3.4
		return Want{}, errors.New("SPF: the record has more than 450 octets, and would not fit a datagram")
	}
	return text(domain, normal, spf.IsRecord), nil
}

// A tag is one NAME=VALUE of a record.
type tag struct{ name, value string }

// readTags reads "NAME=VALUE; …", as DMARC, MTA-STS and TLS-RPT have it, strictly: what receivers
// would pass over is most often a mistake.
func readTags(record string) ([]tag, error) {
	var out []tag
	parts := strings.Split(strings.TrimSuffix(strings.TrimSpace(record), ";"), ";")
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		t := tag{strings.TrimSpace(name), strings.TrimSpace(value)}
		if !ok || t.name == "" || t.value == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", strings.TrimSpace(part))
		}
		if slices.ContainsFunc(out, func(o tag) bool { return o.name == t.name }) {
			return nil, fmt.Errorf("%s stands twice", t.name)
		}
		if strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("%s has characters that are not ASCII", t.name)
		}
		out = append(out, t)
	}
	return out, nil
}

// check reads the tags of a record, of which the first is v, with the value of each in order.
func check(record, version string, needed string, values map[string]func(string) error) error {
	tags, err := readTags(record)
	if err != nil {
		return err
	}
	if tags[0] != (tag{"v", version}) {
		return fmt.Errorf("the record does not begin with v=%s;", version)
	}
	found := false
	for _, t := range tags[1:] {
		good, known := values[t.name]
		if !known {
			return fmt.Errorf("%s is no tag of it", t.name)
		}
		if err := good(t.value); err != nil {
			return fmt.Errorf("%s=%s: %w", t.name, t.value, err)
		}
		found = found || t.name == needed
	}
	if !found {
		return fmt.Errorf("%s= is missing", needed)
	}
	return nil
}

func one(of ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(of, strings.ToLower(v)) {
			return errors.New("it is none of " + strings.Join(of, ", "))
		}
		return nil
	}
}

func number(most int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < 0 || n > most {
			return errors.New("it is no number of the range")
		}
		return nil
	}
}

// addresses reads a list of URIs to report to.
func addresses(schemes ...string) func(string) error {
	return func(v string) error {
		for s := range strings.SplitSeq(v, ",") {
			s, _, _ = strings.Cut(strings.TrimSpace(s), "!")
			u, err := url.Parse(s)
			if err != nil || !slices.Contains(schemes, u.Scheme) {
				return fmt.Errorf("%q is no URI of %s", s, strings.Join(schemes, " or "))
			}
			switch u.Scheme {
			case "mailto":
				to, err := url.PathUnescape(u.Opaque)
				if err == nil {
					_, err = mail.ParseAddress(to)
				}
				if err != nil {
					return fmt.Errorf("%q has no mail address", s)
				}
			case "https":
				if u.Host == "" {
					return fmt.Errorf("%q has no host", s)
				}
			}
		}
		return nil
	}
}

func failureOptions(v string) error {
	for s := range strings.SplitSeq(v, ":") {
		if err := one("0", "1", "d", "s")(strings.TrimSpace(s)); err != nil {
			return err
		}
	}
	return nil
}

// DMARC wants a domain to have this one DMARC record (RFC 9989 section 4.7, and the tags of RFC
// 7489 that receivers still know).
func DMARC(domain, record string) (Want, error) {
	policy, alignment := one("none", "quarantine", "reject"), one("r", "s")
	err := check(record, "DMARC1", "p", map[string]func(string) error{
		"p": policy, "sp": policy, "np": policy, "adkim": alignment, "aspf": alignment, "t": one("y", "n"), "psd": one("y", "n", "u"),
		"rua": addresses("mailto", "https"), "ruf": addresses("mailto", "https"), "fo": failureOptions,
		"pct": number(100), "ri": number(1<<31 - 1), "rf": one("afrf"),
	})
	if err != nil {
		return Want{}, fmt.Errorf("DMARC: %w", err)
	}
	return text("_dmarc."+domain, record, versioned("v=DMARC1")), nil
}

// STS wants a domain to announce its MTA-STS policy by this record (RFC 8461 section 3.1).
func STS(domain, record string) (Want, error) {
	err := check(record, "STSv1", "id", map[string]func(string) error{"id": func(v string) error {
		if len(v) > 32 || strings.Trim(v, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return errors.New("want up to 32 letters and digits")
		}
		return nil
	}})
	if err != nil {
		return Want{}, fmt.Errorf("MTA-STS: %w", err)
	}
	return text("_mta-sts."+domain, record, versioned("v=STSv1")), nil
}

// TLSRPT wants a domain to ask for reports on TLS by this record (RFC 8460 section 3).
func TLSRPT(domain, record string) (Want, error) {
	err := check(record, "TLSRPTv1", "rua", map[string]func(string) error{"rua": addresses("mailto", "https")})
	if err != nil {
		return Want{}, fmt.Errorf("TLS-RPT: %w", err)
	}
	return text("_smtp._tls."+domain, record, versioned("v=TLSRPTv1")), nil
}

// MX wants a domain to have these mail servers and no others. Each is "PREFERENCE HOST", or a
// host alone, whose preference is then 10; "." alone is a domain without mail (RFC 7505).
func MX(domain string, servers ...string) (Want, error) {
	w := Want{}
	for _, s := range servers {
		f := strings.Fields(s)
		preference, host := "10", s
		if len(f) == 2 {
			preference, host = f[0], f[1]
		}
		n, err := strconv.ParseUint(preference, 10, 16)
		if err != nil || len(f) < 1 || len(f) > 2 {
			return w, fmt.Errorf("mail server %q: want PREFERENCE HOST", s)
		}
		if host == "." {
			if len(servers) > 1 {
				return w, errors.New("mail server \".\" says that there is none, and stands alone")
			}
			n = 0
		} else if host, err = mail.CanonicalDomain(strings.TrimSuffix(host, ".")); err != nil || isAddress(host) {
			return w, fmt.Errorf("mail server %q: no host name", s)
		}
		w.RRs = append(w.RRs, &dns.MXRecord{
			Hdr:        dns.Header{Name: dns.Canonical(domain), Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: TTL},
			Preference: uint16(n), Mx: dns.Canonical(host),
		})
	}
	if len(w.RRs) == 0 {
		return w, errors.New("no mail server is named")
	}
	return w, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.HasPrefix(host, "[")
}
