package dmarc

import (
	"errors"
	"net/url"
	"strings"
)

// Disposition is what a domain owner asks for mail that fails: the value of p, sp and np.
type Disposition string

// The dispositions, in their order.
const (
	NoAction   Disposition = "none"
	Quarantine Disposition = "quarantine"
	Reject     Disposition = "reject"
)

// PSD says what kind of domain published a record (the psd tag).
type PSD byte

// The values of psd.
const (
	PSDUnknown PSD = 'u' // the tree walk tells
	PSDYes     PSD = 'y' // a public suffix
	PSDNo      PSD = 'n' // an Organizational Domain
)

// A Record is a DMARC Policy Record (RFC 9989 section 4.7). Tags that are not there have
// their defaults.
type Record struct {
	Policy      Disposition // p
	Subdomain   Disposition // sp; as Policy when absent
	NonExistent Disposition // np; as Subdomain when absent
	PSD         PSD
	Testing     bool // t=y
	StrictDKIM  bool // adkim=s
	StrictSPF   bool // aspf=s
	Reports     []string
	Failures    []string
	FailureOpts string // fo, as written; "0" when absent

	broken bool // p, sp or np has no proper value
}

// errNotRecord says that a text is no DMARC record at all, and is to be passed over.
var errNotRecord = errors.New("not a DMARC record of version 1")

// ErrBroken says that a record has no valid policy and nobody who could be told of it, so
// that DMARC cannot be applied (RFC 9989 section 4.10.1).
var ErrBroken = errors.New("the DMARC record has no valid policy")

// ParseRecord reads a record. Unknown tags are ignored, as are those that RFC 9989 took out
// (pct, rf, ri); a tag with a malformed value is as if absent. It returns ErrBroken for a
// malformed p, sp or np, unless rua has a URI: then the record reads as p=none.
func ParseRecord(text string) (Record, error) {
	r, err := parseRecord(text)
	if err != nil {
		return Record{}, err
	}
	if r.broken {
		return r, ErrBroken
	}
	return r, nil
}

func parseRecord(text string) (Record, error) {
	version, rest, _ := strings.Cut(text, ";")
	name, value, ok := cutTag(version)
	if !ok || name != "v" || value != "DMARC1" {
		return Record{}, errNotRecord
	}
	r := Record{PSD: PSDUnknown, FailureOpts: "0"}
	seen := map[string]bool{}
	for spec := range strings.SplitSeq(rest, ";") {
		name, value, ok := cutTag(spec)
		if !ok || seen[name] {
			continue
		}
		seen[name] = true
		r.set(name, value)
	}
	if r.broken && len(r.Reports) > 0 {
		r.broken = false
		r.Policy, r.Subdomain, r.NonExistent = NoAction, NoAction, NoAction
	}
	if r.Policy == "" {
		r.Policy = NoAction
	}
	if r.Subdomain == "" {
		r.Subdomain = r.Policy
	}
	if r.NonExistent == "" {
		r.NonExistent = r.Subdomain
	}
	return r, nil
}

// cutTag splits a tag and its value, without the blanks round them. The name is lower case.
func cutTag(spec string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(spec, "=")
	name = strings.ToLower(strings.Trim(name, " \t"))
	value = strings.Trim(value, " \t")
	if !ok || name == "" || value == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", "", false
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; (c < ' ' && c != '\t') || c > '~' {
			return name, "", name != "v" // as if malformed
		}
	}
	return name, value, true
}

func (r *Record) set(name, value string) {
	switch name {
	case "p":
		r.Policy = r.disposition(value)
	case "sp":
		r.Subdomain = r.disposition(value)
	case "np":
		r.NonExistent = r.disposition(value)
	case "psd":
		switch strings.ToLower(value) {
		case "y":
			r.PSD = PSDYes
		case "n":
			r.PSD = PSDNo
		}
	case "t":
		r.Testing = strings.EqualFold(value, "y")
	case "adkim":
		r.StrictDKIM = strings.EqualFold(value, "s")
	case "aspf":
		r.StrictSPF = strings.EqualFold(value, "s")
	case "rua":
		r.Reports = parseURIs(value)
	case "ruf":
		r.Failures = parseURIs(value)
	case "fo":
		if isFailureOpts(value) {
			r.FailureOpts = strings.ToLower(value)
		}
	}
}

func (r *Record) disposition(value string) Disposition {
	switch d := Disposition(strings.ToLower(value)); d {
	case NoAction, Quarantine, Reject:
		return d
	}
	r.broken = true
	return ""
}

// maxURIs bounds the report addresses that are kept of one list.
const maxURIs = 10

// parseURIs reads a dmarc-urilist. A size behind "!" is obsolete and dropped.
func parseURIs(value string) []string {
	var out []string
	for s := range strings.SplitSeq(value, ",") {
		s, _, _ = strings.Cut(strings.Trim(s, " \t"), "!")
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" {
			continue
		}
		if out = append(out, s); len(out) == maxURIs {
			break
		}
	}
	return out
}

func isFailureOpts(value string) bool {
	seen := map[string]bool{}
	for o := range strings.SplitSeq(strings.ToLower(value), ":") {
		o = strings.Trim(o, " \t")
		if len(o) != 1 || !strings.Contains("01ds", o) || seen[o] {
			return false
		}
		seen[o] = true
	}
	return !seen["0"] || !seen["1"]
}

// lower is the disposition one level below d, for a domain that tests (the t tag).
func (d Disposition) lower() Disposition {
	if d == Reject {
		return Quarantine
	}
	return NoAction
}
