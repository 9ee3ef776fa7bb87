package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stagecoach/rfc/dns"
)

// An stsPolicy is what a domain says by MTA-STS (RFC 8461).
type stsPolicy struct {
	lookErr error // of the record
	absent  bool
	broken  string // what is wrong with the record

	fetchErr error // no answer
	wrong    error // an answer, and no policy
	mode     string
	maxAge   int
	mx       []string
}

// Limits of RFC 8461 sections 3.2 and 3.3.
const (
	maxPolicy = 64 << 10
	maxAge    = 31557600
	shortAge  = 86400
)

func (l *look) findSTS(ctx context.Context) *stsPolicy {
	p := &stsPolicy{}
	texts, err := dns.TXT(ctx, l.env.Names, "_mta-sts."+l.target.Domain)
	if err != nil && !dns.IsNegative(err) {
		p.lookErr = err
		return p
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return !strings.HasPrefix(t, "v=STSv1") })
	switch {
	case len(texts) == 0:
		p.absent = true
		return p
	case len(texts) > 1:
		p.broken = fmt.Sprintf("there are %d records, which count as none", len(texts))
	case !hasSTSID(texts[0]):
		p.broken = "the record has no id= of 1 to 32 letters and digits"
	}
	p.fetch(ctx, l)
	return p
}

// hasSTSID checks the record of RFC 8461 section 3.1.
func hasSTSID(text string) bool {
	for field := range strings.SplitSeq(text, ";") {
		id, ok := strings.CutPrefix(strings.TrimSpace(field), "id=")
		if ok && id != "" && len(id) <= 32 && strings.Trim(strings.ToLower(id), "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
			return true
		}
	}
	return false
}

func (p *stsPolicy) fetch(ctx context.Context, l *look) {
	host := "mta-sts." + l.target.Domain
	url := "https://" + host + "/.well-known/mta-sts.txt"
	client := l.httpClient()
	defer client.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		p.wrong = err
		return
	}
	r, err := client.Do(q)
	if err != nil {
		var certificate *tls.CertificateVerificationError
		switch {
		case dns.IsNegative(err):
			p.wrong = fmt.Errorf("%s has no address", host)
		case errors.As(err, &certificate), isRefused(err):
			p.wrong = err
		default:
			p.fetchErr = err
		}
		return
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode >= 500:
		p.fetchErr = fmt.Errorf("%s: %s", url, r.Status)
		return
	case r.StatusCode != http.StatusOK: // a redirect must not be followed: section 3.3
		p.wrong = fmt.Errorf("%s: %s", url, r.Status)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPolicy+1))
	if err != nil {
		p.fetchErr = err
		return
	}
	p.wrong = p.read(string(body))
}

// httpClient resolves by our own resolver, trusts our roots, and follows nothing.
func (l *look) httpClient() *http.Client {
	return &http.Client{
		Timeout:       2 * l.env.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: l.env.Roots, Time: l.env.Now, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				ips, err := dns.Addrs(ctx, l.env.Names, host)
				if err != nil {
					return nil, err
				}
				var last error
				for _, ip := range ips[:min(len(ips), 2*maxAddresses)] {
					var conn net.Conn
					if conn, last = l.env.dial(ctx, ip, l.env.Ports.HTTPS); last == nil {
						return conn, nil
					}
				}
				return nil, last
			},
		},
	}
}

// read reads the text of a policy (RFC 8461 section 3.2). What is unknown is passed over.
func (p *stsPolicy) read(text string) error {
	if len(text) > maxPolicy {
		return errors.New("the policy is longer than 64 KiB")
	}
	version := false
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "version":
			version = value == "STSv1"
		case "mode":
			p.mode = value
		case "max_age":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > maxAge {
				return fmt.Errorf("max_age is %q", clean(value))
			}
			p.maxAge = n
		case "mx":
			if len(p.mx) < 100 {
				p.mx = append(p.mx, strings.ToLower(value))
			}
		}
	}
	switch {
	case !version:
		return errors.New("the policy has no \"version: STSv1\"")
	case p.mode != "enforce" && p.mode != "testing" && p.mode != "none":
		return fmt.Errorf("mode is %q", clean(p.mode))
	case p.maxAge == 0:
		return errors.New("the policy has no max_age")
	case len(p.mx) == 0 && p.mode != "none":
		return errors.New("the policy names no mx")
	}
	return nil
}

// covers reports whether a pattern of the policy matches a host (RFC 8461 section 4.1).
func (p *stsPolicy) covers(host string) bool {
	for _, pattern := range p.mx {
		if rest, ok := strings.CutPrefix(pattern, "*."); ok {
			if _, above, _ := strings.Cut(host, "."); above == rest {
				return true
			}
		} else if pattern == host {
			return true
		}
	}
	return false
}

func checkSTS(_ context.Context, l *look, f *findings) {
	p, d := l.sts(), l.target.Domain
	switch {
	case p.lookErr != nil:
		f.unknown(d, "the record could not be looked up: %v", p.lookErr)
		return
	case p.absent:
		f.note(d, "", "there is no MTA-STS record: whoever sits on the wire can take TLS away")
		return
	case p.broken != "":
		f.wrong(d, "", "%s", p.broken)
	}
	switch {
	case p.fetchErr != nil:
		f.unknown(d, "the policy could not be fetched: %v", p.fetchErr)
		return
	case p.wrong != nil:
		f.wrong(d, "", "the policy cannot be used: %v", p.wrong)
		return
	}
	if p.mode != "none" {
		for _, h := range l.mx().hosts {
			if !p.covers(h.name) {
				f.wrong(h.name, "Add \"mx: "+h.name+"\" to the policy, and change the id of the record.", "the policy does not name this MX host: senders will not use it")
			}
		}
	}
	switch {
	case p.mode != "enforce":
		f.note(d, "When reports show no trouble, write mode: enforce, and change the id of the record.", "mode is %s: senders insist on nothing", p.mode)
	case p.maxAge < shortAge:
		f.note(d, "Write some weeks: max_age: 1209600.", "max_age is %d s: senders forget the policy within a day", p.maxAge)
	}
	if !f.bad() {
		f.ok(d, "mode %s, for %s", p.mode, list(p.mx))
	}
}

func checkReports(ctx context.Context, l *look, f *findings) {
	name := "_smtp._tls." + l.target.Domain
	texts, err := dns.TXT(ctx, l.env.Names, name)
	texts = slices.DeleteFunc(texts, func(t string) bool { return !strings.HasPrefix(t, "v=TLSRPTv1") })
	switch {
	case err != nil && !dns.IsNegative(err):
		f.unknown(name, "the record could not be looked up: %v", err)
	case len(texts) == 0:
		f.note(name, "", "there is no record: nobody tells us of trouble with TLS")
	case len(texts) > 1:
		f.wrong(name, "Leave one.", "there are %d records, which count as none (RFC 8460 section 3)", len(texts))
	case !hasReportURI(texts[0]):
		f.wrong(name, "", "the record has no rua= with a mailto: or https: address")
	default:
		f.ok(name, "%s", texts[0])
	}
}

func hasReportURI(text string) bool {
	for field := range strings.SplitSeq(text, ";") {
		uris, ok := strings.CutPrefix(strings.TrimSpace(field), "rua=")
		for uri := range strings.SplitSeq(uris, ",") {
			uri = strings.TrimSpace(uri)
			if ok && (strings.HasPrefix(uri, "mailto:") && strings.Contains(uri, "@") || strings.HasPrefix(uri, "https://")) {
				return true
			}
		}
	}
	return false
}
