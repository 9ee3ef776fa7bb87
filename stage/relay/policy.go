package relay

import (
	"context"
	"crypto/tls"

	"stagecoach/rfc/smtp"
)

// A Policy says how the way to a host must be protected, as MTA-STS (RFC 8461) and DANE (RFC
// 7672) do.
type Policy interface {
	// For is asked before mail for domain goes to one of its hosts. nil means that there is
	// no policy: TLS where it is offered. An error rules the host out for this attempt; it is
	// temporary unless it is a Refusal that is permanent.
	For(ctx context.Context, domain string, h Host) (*Protection, error)
}

// A Host is one that takes mail for a domain.
type Host struct {
	Name       string // without a final dot
	Preference uint16
	Secure     bool // DNSSEC vouches for the way from the domain to this name
}

// A Protection is what a Policy demands.
type Protection struct {
	// ID names it: connections are shared by mails whose protections have one ID.
	ID string

	// Security is smtp.TLSRequired, or smtp.TLSOpportunistic for a policy that only watches.
	Security smtp.Security

	// TLS is used as smtp.Security says; nil is the TLS of the Relay.
	TLS *tls.Config
}
