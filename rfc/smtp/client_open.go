package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"stagecoach/mail"
)

// errHandshake marks failures of TLS after which clear text may be tried.
var errHandshake = errors.New("TLS failed")

// take returns a connection that is ready for a mail, and whether it was used before. The
// error is a Refusal.
func (h *NextHop) take(ctx context.Context, fresh bool) (l *link, used bool, err error) {
	if err := h.pool.enter(ctx, h.maxConns()); err != nil {
		return nil, false, h.trouble(ctx, "connect", err)
	}
	if !fresh {
		if l := h.pool.pop(); l != nil {
			return l, true, nil
		}
	}
	l, err = h.open(ctx)
	if err != nil {
		h.pool.leave()
		return nil, false, err
	}
	return l, false, nil
}

// give takes a connection back.
func (h *NextHop) give(l *link) {
	defer h.pool.leave()
	if l.broken {
		l.close()
		return
	}
	most := h.MaxIdle
	if most == 0 {
		most = h.maxConns()
	}
	mails := h.maxMessages()
	if n := l.announced("MAILMAX"); n > 0 {
		mails = min(mails, n)
	}
	if l.mails >= mails || !h.pool.push(l, most, h.idleTimeout()) {
		l.quit()
	}
}

// open makes a new connection. The fall-back to clear text is a new one too: what a failed
// handshake leaves behind is no SMTP.
func (h *NextHop) open(ctx context.Context) (*link, error) {
	l, err := h.openWith(ctx, h.Security)
	if h.Security == TLSOpportunistic && h.ClearFallback && errors.Is(err, errHandshake) && ctx.Err() == nil {
		return h.openWith(ctx, TLSNone)
	}
	return l, err
}

func (h *NextHop) openWith(ctx context.Context, s Security) (*link, error) {
	wait := h.Timeouts.withDefaults()
	dialling, cancel := context.WithTimeout(ctx, wait.Connect)
	c, err := h.Dial(dialling)
	cancel()
	if err != nil {
		return nil, h.trouble(ctx, "connect", err)
	}
	l := newLink(h, c)
	release := l.guard(ctx)
	err = l.begin(ctx, s)
	if !release() && err == nil {
		err = h.trouble(ctx, "connect", errors.New("given up"))
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// begin leads a new connection to where MAIL may follow.
func (l *link) begin(ctx context.Context, s Security) error {
	if s == TLSImplicit {
		if err := l.handshake(ctx, s); err != nil {
			return err
		}
	}
	r, err := l.read(l.wait.Greeting)
	if err != nil {
		return l.hop.trouble(ctx, "greeting", err)
	}
	if r.code != 220 {
		return l.hop.said("greeting", r.refusal(), true)
	}
	if err := l.hello(ctx); err != nil {
		return err
	}
	if s == TLSOpportunistic && l.has("STARTTLS") || s == TLSRequired {
		if err := l.startTLS(ctx, s); err != nil {
			return err
		}
	}
	return l.login(ctx)
}

// hello says EHLO, and HELO to a server that does not know it (RFC 5321 section 3.2). What
// was offered before is forgotten.
func (l *link) hello(ctx context.Context) error {
	l.offers = map[string]string{}
	name := l.name()
	r, err := l.ask(l.wait.Command, "EHLO ", name)
	if err != nil {
		return l.hop.trouble(ctx, "EHLO", err)
	}
	if r.ok() {
		for _, line := range r.lines[1:] {
			keyword, params, _ := strings.Cut(line, " ")
			l.offers[strings.ToUpper(keyword)] = strings.TrimSpace(params)
		}
		return nil
	}
	if r.code/100 != 5 || l.hop.Inner {
		return l.hop.said("EHLO", r.refusal(), true)
	}
	if r, err = l.ask(l.wait.Command, "HELO ", name); err != nil {
		return l.hop.trouble(ctx, "HELO", err)
	}
	if !r.ok() {
		return l.hop.said("HELO", r.refusal(), true)
	}
	return nil
}

// name returns our name for EHLO, which is an address literal where there is none (RFC 5321
// section 4.1.4).
func (l *link) name() string {
	if l.hop.Name != "" {
		return l.hop.Name
	}
	a, ok := l.raw.LocalAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case a.IP.To4() != nil:
		return "[" + a.IP.String() + "]"
	default:
		return "[IPv6:" + a.IP.String() + "]"
	}
}

// startTLS upgrades the connection (RFC 3207). Whatever the server sent behind its 220 came
// in clear from who knows whom: it is an error, and never read as a reply.
func (l *link) startTLS(ctx context.Context, s Security) error {
	h := l.hop
	if !l.has("STARTTLS") {
		return h.cannot("TLS", mail.Defer(451, "4.7.4", "the receiving server does not offer TLS"),
			"STARTTLS is not offered")
	}
	r, err := l.ask(l.wait.Command, "STARTTLS")
	if err != nil {
		return h.trouble(ctx, "STARTTLS", err)
	}
	if r.code != 220 {
		if s == TLSOpportunistic && h.ClearFallback && !l.broken {
			return nil
		}
		return h.cannot("TLS", mail.Defer(451, "4.7.4", "the receiving server does not do TLS now"),
			"STARTTLS was answered "+r.refusal().Error())
	}
	if l.r.Buffered() > 0 {
		l.broken = true
		return h.trouble(ctx, "STARTTLS", errors.New("the server sent replies in clear behind the one to STARTTLS"))
	}
	if err := l.handshake(ctx, s); err != nil {
		return err
	}
	return l.hello(ctx)
}

// handshake puts TLS on the connection.
func (l *link) handshake(ctx context.Context, s Security) error {
	config, verifies := l.hop.tlsConfig(s)
	c := tls.Client(l.raw, config)
	limited, cancel := context.WithTimeout(ctx, l.wait.TLS)
	defer cancel()
	if err := c.HandshakeContext(limited); err != nil {
		l.broken = true
		return l.hop.trouble(ctx, "TLS", fmt.Errorf("%w: %w", errHandshake, err))
	}
	state := c.ConnectionState()
	l.state, l.verified = &state, verifies
	l.use(c)
	return nil
}

// tlsConfig returns the settings of a handshake, and whether it proves who the server is.
func (h *NextHop) tlsConfig(s Security) (*tls.Config, bool) {
	config := &tls.Config{}
	if h.TLS != nil {
		config = h.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = strings.TrimSuffix(h.Host, ".")
	}
	if s == TLSOpportunistic {
		config.InsecureSkipVerify = true
		return config, false
	}
	return config, !config.InsecureSkipVerify || config.VerifyConnection != nil
}
