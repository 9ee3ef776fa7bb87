// Package sasl holds the server's side of the SASL mechanisms (RFC 4422) that mail clients
// use: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-256 and
// SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, channel bindings of RFC 5929 and RFC 9266).
package sasl

import "context"

// An Exchange is the server's side of one authentication. It is used once, by one goroutine.
type Exchange interface {
	// Next takes what the client sent, decoded, and returns what to send back. response is
	// nil when the client began without an initial response; a mechanism in which the client
	// speaks first answers that with an empty challenge. When done is true and err is nil the
	// user is logged in; a challenge that comes with done is the mechanism's last word to the
	// client. An error ends the exchange; a *mail.Refusal in it is the reply.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)

	// User returns who logged in, as "local@domain", once Next was done.
	User() string
}
