// Package dmarc tells whether what SPF and DKIM vouch for is the domain that a message shows
// as its author's, and what that domain asks for if not.
//
// It implements RFC 9989 (DMARC), which replaced RFC 7489: the DNS tree walk, the tags np, psd
// and t; the tags pct, rf and ri are gone. Reports (RFC 9990, RFC 9991) are not its business.
package dmarc

import (
	"context"
	"errors"
	"strings"

	"stagecoach/rfc/dns"
)

// Value is the result for Authentication-Results (RFC 8601 section 2.7, RFC 9989 section 9).
type Value string

// The values.
const (
	None      Value = "none"      // no record applies
	Pass      Value = "pass"      // an aligned identifier passed
	Fail      Value = "fail"      // none did
	TempError Value = "temperror" // DNS failed; another try may tell
	PermError Value = "permerror" // the record is broken
)

// An Identifier is a domain that SPF or DKIM looked at.
type Identifier struct {
	Domain    string
	Pass      bool
	Temporary bool // it neither passed nor failed, because DNS failed
}

// Evidence is what the underlying mechanisms found.
type Evidence struct {
	SPF  Identifier   // of the MAIL FROM identity (RFC 9989 section 4.4.2); zero for none
	DKIM []Identifier // the d= of each signature
}

// Options change what is done where the standard leaves it open.
type Options struct {
	// PublicSuffixes asks the list of publicsuffix.org where the tree walk says nothing: for
	// the Organizational Domain of a name without any record, and to recognise the record of a
	// registry that forgot psd=y.
	PublicSuffixes bool
}

// A Result is what DMARC says of a message.
type Result struct {
	Value        Value
	Domain       string      // the Author Domain
	Organization string      // its Organizational Domain; "" if it was not needed
	PolicyDomain string      // where the record was found; "" for none
	Record       *Record     // nil for none
	Tag          string      // which tag of the record applies: "p", "sp" or "np"
	Policy       Disposition // what that tag says; "" without a record
	Disposition  Disposition // what is asked for this message: NoAction unless Value is Fail
	SPFAligned   bool        // SPF passed for an aligned domain; also without a valid record
	DKIMAligned  bool        // a signature passed for an aligned domain; also without a valid record
	Problem      error       // of TempError and PermError, and of None when DNS stood in the way of Aligned
}

// Aligned reports whether anything vouches for the Author Domain, record or not.
func (r Result) Aligned() bool { return r.SPFAligned || r.DKIMAligned }

// maxIdentifiers bounds the domains that are compared, each of which may cost a tree walk.
const maxIdentifiers = 12

// Check evaluates a message whose From field has an address in the domain from (A-labels).
// A failure of DNS gives TempError wherever the outcome hangs on it, never None or Fail.
func Check(ctx context.Context, x dns.Exchanger, from string, ev Evidence, opts Options) Result {
	from = canonical(from)
	res := Result{Value: None, Domain: from, Disposition: NoAction}
	if !isName(from) {
		return res
	}
	w := &walker{x: x, suffixes: opts.PublicSuffixes, known: map[string]answer{}}
	err := w.discover(ctx, &res)
	if err != nil && !errors.Is(err, ErrBroken) {
		res.Value, res.Problem = TempError, err
		return res
	}
	doubt := w.align(ctx, &res, ev)
	switch {
	case err != nil:
		res.Value, res.Problem = PermError, err
	case res.Record == nil: // RFC 9989 section 4.10.1: DMARC does not apply
		if doubt != nil && !res.Aligned() {
			res.Problem = doubt
		}
	case res.Aligned():
		res.Value = Pass
	case doubt != nil:
		res.Value, res.Problem = TempError, doubt
	default:
		res.Value = Fail
		res.Disposition = res.Policy
		if res.Record.Testing {
			res.Disposition = res.Policy.lower()
		}
	}
	return res
}

// discover finds the record that applies (RFC 9989 section 4.10.1).
func (w *walker) discover(ctx context.Context, res *Result) error {
	own, err := w.record(ctx, res.Domain)
	if err != nil {
		return err
	}
	if own != nil {
		return res.apply(level{res.Domain, own}, "p", own.Policy)
	}
	levels, err := w.walk(ctx, res.Domain)
	if err != nil {
		return err
	}
	res.Organization = w.organization(res.Domain, levels)
	for _, l := range levels {
		if l.domain != res.Organization && l.record.PSD != PSDYes {
			continue
		}
		if l.record.NonExistent == l.record.Subdomain {
			return res.apply(l, "sp", l.record.Subdomain)
		}
		exists, err := w.exists(ctx, res.Domain)
		if err != nil {
			return err
		}
		if exists {
			return res.apply(l, "sp", l.record.Subdomain)
		}
		return res.apply(l, "np", l.record.NonExistent)
	}
	return nil
}

func (res *Result) apply(l level, tag string, d Disposition) error {
	res.PolicyDomain, res.Record, res.Tag, res.Policy = l.domain, l.record, tag, d
	if l.record.broken {
		return ErrBroken
	}
	return nil
}

// exists tells a name from one that DNS denies (RFC 9989 section 3.2.13, RFC 8020).
func (w *walker) exists(ctx context.Context, domain string) (bool, error) {
	_, err := dns.Lookup(ctx, w.x, domain, dns.TypeA)
	switch {
	case err == nil || errors.Is(err, dns.ErrNoData):
		return true, nil
	case errors.Is(err, dns.ErrNotExist):
		return false, nil
	}
	return false, err
}

// align compares the identifiers with the Author Domain. The error is what stood in the way
// of an answer that could have been yes.
func (w *walker) align(ctx context.Context, res *Result, ev Evidence) error {
	var doubt error
	strictSPF, strictDKIM := false, false
	if res.Record != nil {
		strictSPF, strictDKIM = res.Record.StrictSPF, res.Record.StrictDKIM
	}
	compare := func(id Identifier, strict bool, aligned *bool) {
		if !id.Pass && !id.Temporary || *aligned {
			return
		}
		same, err := w.same(ctx, res, canonical(id.Domain), strict)
		switch {
		case err != nil:
			doubt = err
		case same && id.Pass:
			*aligned = true
		case same:
			doubt = errors.New("the check of " + canonical(id.Domain) + " had no result yet")
		}
	}
	for _, id := range ev.DKIM[:min(len(ev.DKIM), maxIdentifiers)] {
		compare(id, strictDKIM, &res.DKIMAligned)
	}
	compare(ev.SPF, strictSPF, &res.SPFAligned)
	return doubt
}

// same reports whether domain is aligned with the Author Domain (RFC 9989 section 4.10.2).
func (w *walker) same(ctx context.Context, res *Result, domain string, strict bool) (bool, error) {
	if domain == res.Domain {
		return true, nil
	}
	if strict || !isName(domain) {
		return false, nil
	}
	if res.Organization == "" {
		levels, err := w.walk(ctx, res.Domain)
		if err != nil {
			return false, err
		}
		res.Organization = w.organization(res.Domain, levels)
	}
	// An Organizational Domain stands above both, so most strangers need no walk.
	if domain != res.Organization && !strings.HasSuffix(domain, "."+res.Organization) {
		return false, nil
	}
	levels, err := w.walk(ctx, domain)
	if err != nil {
		return false, err
	}
	return w.organization(domain, levels) == res.Organization, nil
}

func canonical(domain string) string {
	return strings.ToLower(strings.TrimSuffix(domain, "."))
}

// isName reports whether a domain can be looked up: no address literal, nothing odd.
func isName(domain string) bool {
	if domain == "" || len(domain) > 240 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
