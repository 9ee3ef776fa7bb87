package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

// A Gate decides at each RCPT, while the client is on the line, whether its mail may go to
// one more recipient. m has Peer and Envelope with the recipients so far, and no message. A
// nil error admits; the reply to any other is that of mail.RefusalOf.
type Gate interface {
	Admit(ctx context.Context, m *mail.Mail, to mail.Address) error
}

// An Authenticator logs users in (RFC 4954). It is asked only on connections with TLS.
type Authenticator interface {
	// Mechanisms returns the SASL mechanisms for this client, in upper case.
	Mechanisms(p mail.Peer) []string

	// Start begins an exchange by one of them.
	Start(ctx context.Context, p mail.Peer, mechanism string) (sasl.Exchange, error)
}

// A Server turns conversations into mails. Its fields are set before Serve and not changed
// after. One Server may serve several listeners of the same kind.
type Server struct {
	Name   string // our host name: greeting, EHLO, "by" in Received
	Domain string // of <Postmaster> (RFC 5321 section 4.5.1); "" is Name

	TLS *tls.Config // for STARTTLS; nil: not offered. See ServerTLS for listeners with implicit TLS

	Auth        Authenticator // nil: AUTH is not offered
	RequireAuth bool          // MAIL needs a login (RFC 6409 section 4.3)

	Gate Gate         // nil: whoever reaches the listener is trusted, AUTH= is believed
	Next mail.Handler // takes the mails; the reply to a message is its verdict

	Inner      bool           // between our own stages: only From may connect, and DATA is refused
	AcceptData bool           // DATA is accepted although Inner is set
	From       []netip.Prefix // who may connect to an Inner server besides loopback and unix sockets

	Proxy     bool           // connections begin with a PROXY header, version 1 or 2
	ProxyFrom []netip.Prefix // who may send one; empty: loopback and unix sockets

	GreetDelay time.Duration // wait so long for clients that talk before the greeting, 0: do not wait
	Grace      time.Duration // at the end: for messages on their way; default 5 s
	Timeout    time.Duration // of Next for one mail; default 5 min
	HideClient bool          // name no address or host of the client in Received

	Limits Limits
	Spool  string // folder for large bodies; "": the system's folder for temporary files

	Log   *slog.Logger     // what never becomes a mail: causes of refusals, bad talk; nil: silence
	Stats func(Event)      // counts; nil: nobody counts. It is called by many goroutines and must be quick
	Now   func() time.Time // the time for Received; nil: time.Now

	state serverState
}

// An Event is something to count.
type Event struct {
	Kind EventKind
	Code int // the reply code of a Refused
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	Connected  EventKind = "connected"   // a connection was let in
	TurnedAway EventKind = "turned_away" // a connection was over a limit, or not from where it may come
	Secured    EventKind = "secured"     // a TLS handshake was done
	LoggedIn   EventKind = "logged_in"   // a user logged in
	LoginError EventKind = "login_error" // a login failed
	Refused    EventKind = "refused"     // a reply of 4yz or 5yz
	BadTalk    EventKind = "bad_talk"    // a connection was ended because the client broke the rules
	Accepted   EventKind = "accepted"    // a mail was taken by Next
)

// serverState is what the listeners of a Server share.
type serverState struct {
	once    sync.Once
	gauge   *gauge
	buffers sync.Pool // of *[bufferSize]byte
}

// ServerTLS returns a copy of c for a mail server: TLS 1.2 or later, forward secrecy and
// AEAD only, and no client that asks by ALPN for another protocol than SMTP (RFC 9325
// sections 3 and 4, RFC 7301 section 3.2). What c sets itself stays, but for a lower
// version; a config from c.GetConfigForClient is used as it is. Serve does this to
// Server.TLS; a listener with implicit TLS needs it done.
func ServerTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	if c.CipherSuites == nil {
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	if c.NextProtos == nil {
		c.NextProtos = []string{"smtp"}
	}
	return c
}
