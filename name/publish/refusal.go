package publish

import (
	"errors"
	"fmt"

	"stagecoach/rfc/dns"
)

// A Refusal is a change that the name server does not let the key make, so that somebody has to
// do something about it: to try the same again will not help before that.
type Refusal struct {
	Key, Zone  string // the zone is "" where the server did not get to tell
	Name, Type string // of the record
	Cause      error
}

// Error says which key may not write which record, and what is missing.
func (e *Refusal) Error() string {
	return fmt.Sprintf("the name server does not let the key %s write %s %s: %v; %s", e.Key, e.Name, e.Type, e.Cause, e.advice())
}

// Unwrap returns what the server said.
func (e *Refusal) Unwrap() error { return e.Cause }

func (e *Refusal) advice() string {
	zone := e.Zone
	if zone == "" {
		zone = "the zone"
	}
	var said dns.TSIGError
	if errors.As(e.Cause, &said) {
		switch int(said) {
		case dns.RcodeBadKey:
			return "a line with it is missing in " + zone + "._keys, or it has another algorithm there"
		case dns.RcodeBadSig:
			return "it has another secret in " + zone + "._keys"
		case dns.RcodeBadTime:
			return "set the clocks of both machines"
		}
		return "compare it with the line in " + zone + "._keys"
	}
	var code dns.RcodeError
	if errors.As(e.Cause, &code) && int(code) == dns.RcodeRefused {
		return fmt.Sprintf("where %s._grants narrows the key it needs the line \"%s %s %s.\"; or else the zone would be broken with the record", zone, e.Key, e.Type, e.Name)
	}
	return fmt.Sprintf("the key's name must be ANYTHING._update.%s, and the server the zone's primary", zone)
}

// explain makes a Refusal of an error that is one.
func (w Writer) explain(err error, zone string, want Want) error {
	var said dns.TSIGError
	var code dns.RcodeError
	refused := errors.As(err, &said)
	if errors.As(err, &code) {
		switch int(code) {
		case dns.RcodeRefused, dns.RcodeNotAuth, dns.RcodeNotZone, dns.RcodeNotImplemented, dns.RcodeFormatError:
			refused = true
		}
	}
	name, t := dns.Host(want.name()), dns.TypeName(want.rrtype())
	if refused {
		return &Refusal{Key: dns.Host(w.Key), Zone: dns.Host(zone), Name: name, Type: t, Cause: err}
	}
	return fmt.Errorf("writing %s %s: %w", name, t, err)
}
