package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// The profile of RFC 5891 section 5 (look-up), strict about what may stand in a label.
var profile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.StrictDomainName(true),
	idna.VerifyDNSLength(true),
)

// CanonicalDomain returns a domain as an Address holds it: lower-case A-labels without a
// final dot, or an address literal in its shortest form. U-labels are converted; an A-label
// that is not what its own U-label converts to is refused (RFC 5891 section 4.2.1), so that
// no label can decode to something else in another parser.
func CanonicalDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return canonicalLiteral(s)
	}
	if len(s) > 4*MaxDomain {
		return "", errors.New("the domain is too long")
	}
	if isPlainDomain(s) { // the common case: lower-case LDH, no A-label
		return s, nil
	}
	a, err := profile.ToASCII(s)
	if err != nil {
		return "", errors.New("the domain is no host name")
	}
	if !isHostName(a) {
		return "", errors.New("the domain is no host name")
	}
	if err := checkALabels(a); err != nil {
		return "", err
	}
	return a, nil
}

func checkALabels(domain string) error {
	for label := range strings.SplitSeq(domain, ".") {
		if !strings.HasPrefix(label, "xn--") {
			continue
		}
		u, err := profile.ToUnicode(label)
		if err != nil {
			return fmt.Errorf("label %q is no valid A-label", label)
		}
		if back, err := profile.ToASCII(u); err != nil || back != label || u == label {
			return fmt.Errorf("label %q is no valid A-label", label)
		}
	}
	return nil
}

// isPlainDomain reports whether s is canonical as it stands.
func isPlainDomain(s string) bool {
	return isHostName(s) && !strings.Contains(s, "xn--") && s == strings.ToLower(s)
}

// isHostName checks letters, digits, hyphens and lengths (RFC 1035 section 2.3.4, RFC 1123
// section 2.1). Underscores are refused: no mail domain has one.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}

// canonicalLiteral reads an address literal (RFC 5321 section 4.1.3).
func canonicalLiteral(s string) (string, error) {
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", errors.New("the address literal does not end")
	}
	if len(in) > 5 && strings.EqualFold(in[:5], "IPv6:") {
		ip, err := netip.ParseAddr(in[5:])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", errors.New("no IPv6 address in the address literal")
		}
		return "[IPv6:" + ip.String() + "]", nil
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || !ip.Is4() {
		return "", errors.New("no IP address in the address literal")
	}
	return "[" + ip.String() + "]", nil
}
