package submit

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

// What a client is told of a login that failed (RFC 4954 section 6).
var (
	errCredentials = mail.Reject(535, "5.7.8", "authentication credentials invalid")
	errMalformed   = mail.Reject(501, "5.5.2", "malformed authentication exchange")
	errMechanism   = mail.Reject(504, "5.5.4", "unrecognised authentication type")
	errClear       = mail.Reject(538, "5.7.11", "encryption required for requested authentication mechanism")
	errTooMany     = mail.Defer(454, "4.7.0", "too many failed logins, please try again later")
	errBusy        = mail.Defer(454, "4.7.0", "too many logins at once, please try again later")
)

// Mechanisms returns what this client may log in by: nothing in clear.
func (s *Submitter) Mechanisms(p mail.Peer) []string {
	if p.TLS == nil {
		return nil
	}
	var names []string
	if s.Scram || s.Accounts.Book().AllScram() {
		if len(s.bindings(p)) > 0 {
			names = append(names, sasl.MechanismScramPlus)
		}
		names = append(names, sasl.MechanismScram)
	}
	return append(names, sasl.MechanismPlain, sasl.MechanismLogin)
}

func (s *Submitter) bindings(p mail.Peer) []sasl.Binding {
	var all []sasl.Binding
	if b, ok := sasl.ExporterBinding(p.TLS); ok {
		all = append(all, b)
	}
	if s.Certificate == nil {
		return all
	}
	if c := s.Certificate(p.TLS); c != nil {
		if b, ok := sasl.EndPointBinding(c); ok {
			all = append(all, b)
		}
	}
	return all
}

// Start begins an exchange. Guessing is slowed and stopped here, before any work is done.
func (s *Submitter) Start(ctx context.Context, p mail.Peer, mechanism string) (sasl.Exchange, error) {
	if p.TLS == nil {
		return nil, errClear
	}
	if !slices.Contains(s.Mechanisms(p), mechanism) {
		return nil, errMechanism
	}
	a := &attempt{stage: s, from: p.Addr}
	switch mechanism {
	case sasl.MechanismPlain:
		a.Exchange = sasl.NewPlain(a.password)
	case sasl.MechanismLogin:
		a.Exchange = sasl.NewLogin(a.password)
	default:
		a.Exchange = sasl.NewScram(a.keys, s.bindings(p), mechanism == sasl.MechanismScramPlus)
	}
	return a, nil
}

// An attempt is one exchange under guard: it is counted as failed from the moment that it
// names an account, and taken back when it succeeds.
type attempt struct {
	sasl.Exchange
	stage *Submitter
	from  netip.Addr
	name  string
	slip  *slip // nil until it is counted
}

var _ sasl.Exchange = (*attempt)(nil)

// Next passes on to the mechanism, and turns errors into replies.
func (a *attempt) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	challenge, done, err := a.Exchange.Next(ctx, response)
	if err != nil {
		return nil, true, a.failed(err)
	}
	if done {
		a.stage.guard.succeeded(a.stage.now(), a.slip)
	}
	return challenge, done, nil
}

func (a *attempt) failed(err error) error {
	var refusal *mail.Refusal
	reply := errCredentials
	switch {
	case errors.As(err, &refusal):
		reply = refusal
	case errors.Is(err, account.ErrBusy):
		a.stage.guard.undone(a.slip)
		reply = errBusy
	case errors.Is(err, sasl.ErrSyntax):
		reply = errMalformed
	case !errors.Is(err, sasl.ErrDenied):
		a.stage.guard.undone(a.slip)
		return err
	}
	a.stage.log().Info("login failed", "user", a.name, "addr", a.from.String(), "reply", reply.Code, "error", err)
	if reply.Cause == nil {
		reply = reply.Because(err)
	}
	return reply
}

// begin counts the attempt, and waits or refuses when there were too many.
func (a *attempt) begin(ctx context.Context, name string) error {
	if a.slip != nil {
		return sasl.ErrSyntax
	}
	a.name = name
	key, known := name, false
	if u, ok := a.stage.Accounts.Book().Login(name); ok {
		key, known = u.Address().String(), true
	}
	var err error
	a.slip, err = a.stage.guard.begin(ctx, a.stage.Guesses.withDefaults(), a.stage.now, a.from, key, known)
	return err
}

func (a *attempt) password(ctx context.Context, name, password string) (string, error) {
	if err := a.begin(ctx, name); err != nil {
		return "", err
	}
	u, err := a.stage.Accounts.Authenticate(ctx, name, password)
	if err != nil {
		return "", err
	}
	return u.Address().String(), nil
}

func (a *attempt) keys(ctx context.Context, name string) (sasl.ScramKeys, string, error) {
	if err := a.begin(ctx, name); err != nil {
		return sasl.ScramKeys{}, "", err
	}
	keys, u := a.stage.Accounts.ScramKeys(name)
	if u == nil {
		return keys, "", nil
	}
	return keys, u.Address().String(), nil
}
