package setup

import (
	"fmt"
	"strings"

	"stagecoach/rfc/dns"
)

// A Paste is what somebody else has to enter, who knows the domain or the machine.
type Paste struct {
	Who   string   // at whom
	Why   string   // what it is good for
	Lines []string // what to enter
	Note  string
}

// Pastes returns what the registrar and the hoster have to know. ds are the DS records as zone
// text, as authority.Signing.DS returns them; none where the zone is not signed.
func (d Domain) Pastes(ds []string) []Paste {
	servers := Paste{
		Who:  "At the registrar of " + d.Name,
		Why:  "Name servers (NS), with their addresses (glue, also called host records):",
		Note: "Enter them when the service runs: some registries look first. From then on the old name servers of the domain are asked no more.",
	}
	width := 0
	for _, s := range d.NameServers {
		width = max(width, len(s.Host))
	}
	for _, s := range d.NameServers {
		line := s.Host
		if d.holds(s.Host) {
			line = fmt.Sprintf("%-*s   %s", width, s.Host, strings.Join(texts(s.Addresses), "   "))
		}
		servers.Lines = append(servers.Lines, line)
	}
	out := []Paste{servers}
	for _, record := range ds {
		out = append(out, signed(record))
	}
	names := Paste{
		Who: "At the hoster of this machine",
		Why: "Reverse names (PTR, also called reverse DNS), without which the large receivers take no mail:",
	}
	for _, a := range d.Addresses {
		names.Lines = append(names.Lines, fmt.Sprintf("%s   %s", a, d.MX))
	}
	for _, a := range d.Addresses {
		names.Lines = append(names.Lines, fmt.Sprintf("%s PTR %s.", dns.ReverseName(a), d.MX))
	}
	names.Note = "The second form is for those who keep the reverse zone themselves."
	return append(out, names)
}

// signed explains a DS record.
func signed(record string) Paste {
	p := Paste{
		Who:   "At the registrar as well",
		Why:   "DNSSEC (DS): the world can then tell our answers from forged ones.",
		Lines: []string{record},
		Note:  "Enter it last, when the new name servers answer. A DS of an older provider has to go before the name servers change.",
	}
	words := strings.Fields(record)
	if len(words) == 7 {
		p.Lines = append(p.Lines, fmt.Sprintf("or in its parts: key tag %s, algorithm %s (ECDSA P-256), digest type %s (SHA-256), digest %s", words[3], words[4], words[5], words[6]))
	}
	return p
}
