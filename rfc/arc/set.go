package arc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
)

// MaxInstance is the longest chain (RFC 8617 section 4.2.1).
const MaxInstance = 50

// The names of the three fields of a set (RFC 8617 section 4.1).
const (
	ResultsName   = "ARC-Authentication-Results"
	SignatureName = "ARC-Message-Signature"
	SealName      = "ARC-Seal"
)

// A set is what one hand added (RFC 8617 section 4.2).
type set struct {
	results   mail.Field
	signature mail.Field
	seal      mail.Field
	sig       sig // of signature
	sealed    sig // of seal
	cv        string
}

// A sig is what an ARC-Message-Signature and an ARC-Seal have in common.
type sig struct {
	algorithm, domain, selector string
	value                       []byte
	tags                        dkim.Tags
}

// collect reads the sets of a header, that of instance 1 first. It fails when the structure of
// the chain is broken (RFC 8617 section 5.2, step 3).
func collect(h *mail.Header) ([]set, error) {
	var results, signatures, seals [MaxInstance + 1]mail.Field
	for f := range h.All() {
		var fields *[MaxInstance + 1]mail.Field
		var at int
		var err error
		switch {
		case f.Is(ResultsName):
			fields = &results
			at, err = resultsInstance(f.Body())
		case f.Is(SignatureName):
			fields = &signatures
			at, err = tagInstance(f.Body())
		case f.Is(SealName):
			fields = &seals
			at, err = tagInstance(f.Body())
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if fields[at].Name() != "" {
			return nil, fmt.Errorf("two fields %s of instance %d", f.Name(), at)
		}
		fields[at] = f
	}
	n := MaxInstance
	for n > 0 && results[n].Name() == "" && signatures[n].Name() == "" && seals[n].Name() == "" {
		n--
	}
	sets := make([]set, n)
	for i := range sets {
		s := &sets[i]
		s.results, s.signature, s.seal = results[i+1], signatures[i+1], seals[i+1]
		if s.results.Name() == "" || s.signature.Name() == "" || s.seal.Name() == "" {
			return nil, fmt.Errorf("instance %d is not complete", i+1)
		}
	}
	return sets, nil
}

// parse reads the tags of the set of instance i.
func (s *set) parse(i int) error {
	var err error
	if s.sig, err = parseSig(s.signature.Body()); err != nil {
		return fmt.Errorf("%s %d: %w", SignatureName, i, err)
	}
	if s.sealed, err = parseSig(s.seal.Body()); err != nil {
		return fmt.Errorf("%s %d: %w", SealName, i, err)
	}
	if _, ok := s.sealed.tags.Get("h"); ok {
		return fmt.Errorf("%s %d: h= has no place in it", SealName, i)
	}
	s.cv, _ = s.sealed.tags.Get("cv")
	if s.cv != "none" && s.cv != "pass" && s.cv != "fail" {
		return fmt.Errorf("%s %d: cv= makes no sense", SealName, i)
	}
	return nil
}

func parseSig(body string) (sig, error) {
	tags, err := dkim.ParseTags(body)
	if err != nil {
		return sig{}, err
	}
	s := sig{tags: tags}
	s.algorithm, _ = tags.Get("a")
	if s.algorithm != "rsa-sha256" && s.algorithm != "ed25519-sha256" {
		return s, errors.New("unknown algorithm")
	}
	d, _ := tags.Get("d")
	if s.domain, err = mail.CanonicalDomain(d); err != nil || strings.HasPrefix(d, "[") {
		return s, errors.New("d= is no domain name")
	}
	sel, _ := tags.Get("s")
	if s.selector, err = dkim.ParseSelector(sel); err != nil {
		return s, err
	}
	if len(dkim.RecordName(s.selector, s.domain)) > 253 {
		return s, errors.New("the name of the key is too long")
	}
	if s.value, err = tags.Base64("b"); err != nil || len(s.value) == 0 {
		return s, errors.New("b= is no signature")
	}
	if t, ok := tags.Get("t"); ok && (t == "" || strings.Trim(t, "0123456789") != "") {
		return s, errors.New("t= is no time")
	}
	return s, nil
}

func tagInstance(body string) (int, error) {
	tags, err := dkim.ParseTags(body)
	if err != nil {
		return 0, err
	}
	v, ok := tags.Get("i")
	if !ok {
		return 0, errors.New("no i= in it")
	}
	return instance(v)
}

// resultsInstance reads the "i=1;" at the beginning (RFC 8617 section 4.1.1).
func resultsInstance(body string) (int, error) {
	first, _, ok := strings.Cut(body, ";")
	name, value, eq := strings.Cut(first, "=")
	if !ok || !eq || strings.Trim(name, " \t\r\n") != "i" {
		return 0, errors.New("it does not begin with i=")
	}
	return instance(strings.Trim(value, " \t\r\n"))
}

func instance(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > MaxInstance || v != strconv.Itoa(n) {
		return 0, errors.New("i= is no instance")
	}
	return n, nil
}
