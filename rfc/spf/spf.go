// Package spf tells whether a client may send mail for a domain.
//
// It implements the Sender Policy Framework, RFC 7208, for both of its identities. The
// explanation of a failure (exp=, section 6.2) is checked for its syntax and then left
// alone: text of a stranger has no place in our replies.
package spf

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// Result is the outcome of a check (RFC 7208 section 2.6).
type Result string

// The results.
const (
	None      Result = "none"      // no record, or no domain that could have one
	Neutral   Result = "neutral"   // the domain does not say
	Pass      Result = "pass"      // the client may
	Fail      Result = "fail"      // the client may not
	SoftFail  Result = "softfail"  // the client probably may not
	TempError Result = "temperror" // DNS failed; another try may tell
	PermError Result = "permerror" // the record is broken
)

// Identity says which name was checked (RFC 7208 section 2.2).
type Identity string

// The identities.
const (
	HELO     Identity = "helo"
	MailFrom Identity = "mailfrom"
)

// The limits of RFC 7208 section 4.6.4. maxHosts bounds the addresses of MX and PTR names
// over the whole of a check, which is more than the RFC asks (it counts by mechanism): so one
// check never costs more than 1 + maxTerms + maxHosts queries, plus those of CNAMEs.
const (
	maxTerms = 10 // mechanisms and modifiers that look something up
	maxVoid  = 2  // of them, those that find nothing
	maxHosts = 10 // look-ups of the addresses of MX and PTR names
	timeout  = 20 * time.Second
)

// An Outcome is what a check found.
type Outcome struct {
	Result    Result
	Identity  Identity
	Sender    string // the address that was checked; postmaster@helo where there was none
	Domain    string // of Sender: what passes or fails
	IP        netip.Addr
	Hello     string
	Mechanism string // the directive that decided, as "include:example.org"; "default" when none did; "" without a record
	Problem   error  // why the result is an error, for the log
}

// Check checks the MAIL FROM identity. With the null path it is postmaster@helo (RFC 7208
// section 2.4). It takes 20 seconds at most, or less if ctx ends; either gives TempError.
func Check(ctx context.Context, x dns.Exchanger, ip netip.Addr, helo string, from mail.Address) Outcome {
	if from.IsZero() {
		o := CheckHELO(ctx, x, ip, helo)
		o.Identity = MailFrom
		return o
	}
	return check(ctx, x, MailFrom, ip, helo, from.Local(), from.Domain())
}

// CheckHELO checks the HELO identity (RFC 7208 section 2.3): is this client the host that it
// says it is?
func CheckHELO(ctx context.Context, x dns.Exchanger, ip netip.Addr, helo string) Outcome {
	return check(ctx, x, HELO, ip, helo, "postmaster", helo)
}

func check(ctx context.Context, x dns.Exchanger, id Identity, ip netip.Addr, helo, local, domain string) Outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ip = ip.Unmap().WithZone("")
	if local == "" {
		local = "postmaster" // section 4.3
	}
	e := &evaluation{x: x, ip: ip, helo: helo, local: local, domain: strings.TrimSuffix(domain, ".")}
	o := Outcome{Identity: id, Sender: local + "@" + e.domain, Domain: strings.ToLower(e.domain), IP: ip, Hello: helo}
	if !ip.IsValid() {
		o.Result = None // a unix socket has no address that a record could name
		return o
	}
	o.Result, o.Mechanism = e.checkHost(ctx, e.domain)
	o.Problem = e.problem
	return o
}
