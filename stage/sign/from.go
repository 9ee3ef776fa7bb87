package sign

import (
	netmail "net/mail"
	"strings"

	"stagecoach/mail"
)

// maxFrom bounds the work on one From field.
const maxFrom = 16 << 10

// fromDomains returns the domains of the From field in its order, canonical. It is empty when
// there is not exactly one such field, or when any part of it makes no sense.
func fromDomains(h *mail.Header) []string {
	value := h.Value("From")
	if h.Count("From") != 1 || len(value) > maxFrom {
		return nil
	}
	list, err := netmail.ParseAddressList(value)
	if err != nil {
		return nil
	}
	domains := make([]string, len(list))
	for i, a := range list {
		domains[i], err = mail.CanonicalDomain(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
		if err != nil {
			return nil
		}
	}
	return domains
}
