package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Parts of the end of a Server, and of its wish to live.
const (
	defaultGrace   = 5 * time.Second
	defaultTimeout = 5 * time.Minute
	lastWords      = time.Second      // for sessions that were cut off, to say so
	pressedCommand = 30 * time.Second // wait for a command when connections are scarce
	acceptPause    = 100 * time.Millisecond
	acceptSilence  = time.Minute // between two words on it in the log
)

// A service is one listener of a Server and its sessions.
type service struct {
	*Server
	limits   Limits
	stopping <-chan struct{}
	tls      *tls.Config     // for STARTTLS, nil when it is not offered
	ctx      context.Context // of the handlers; it ends after the grace

	mu       sync.Mutex
	sessions map[*session]struct{}
	squeezed time.Time
	wg       sync.WaitGroup
}

// Serve takes connections from l until ctx ends, and closes l. A *tls.Conn from l is served
// with implicit TLS (RFC 8314 section 3). When ctx ends, a session is told 421 at its next
// command; one that is sending a message has Grace to finish, after which the context of
// Next ends too. Serve returns when all sessions have ended: nil, or what l failed with.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.state.once.Do(func() { s.state.gauge = newGauge(s.Limits.withDefaults(s.Inner)) })
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	v := &service{Server: s, limits: s.Limits.withDefaults(s.Inner), ctx: base, stopping: ctx.Done(), sessions: map[*session]struct{}{}}
	if s.TLS != nil {
		v.tls = ServerTLS(s.TLS)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err := v.accept(ctx, l)
	l.Close()
	if e := v.drain(cancel); err == nil {
		err = e
	}
	return err
}

// accept runs until ctx ends or the listener fails for good.
func (v *service) accept(ctx context.Context, l net.Listener) error {
	var said time.Time
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			v.start(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of files, most likely: wait until some are closed
			if time.Since(said) >= acceptSilence {
				said = time.Now()
				v.log().Warn("accepting a connection", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(acceptPause):
			}
		}
	}
}

// start begins a session, unless there are too many.
func (v *service) start(conn net.Conn) {
	pressed, ok := v.state.gauge.enter()
	if !ok {
		v.count(TurnedAway, 0)
		if _, secure := conn.(*tls.Conn); !secure && !v.Proxy {
			// The buffers of a new connection are empty: this does not block.
			conn.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // it is closed next
			conn.Write(appendReply(nil, 421, "4.3.2", v.Name+" has too many connections, please try again later"))
		}
		conn.Close()
		return
	}
	if pressed {
		v.squeeze()
	}
	c := newSession(v, conn)
	v.mu.Lock()
	v.sessions[c] = struct{}{}
	v.mu.Unlock()
	v.wg.Go(func() {
		defer v.end(c)
		c.serve()
	})
}

func (v *service) end(c *session) {
	v.mu.Lock()
	delete(v.sessions, c)
	v.mu.Unlock()
	v.state.gauge.exit()
}

// squeeze shortens the patience with sessions that wait for a command.
func (v *service) squeeze() {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.squeezed) < time.Second {
		return
	}
	v.squeezed = now
	for c := range v.sessions {
		c.hurry(pressedCommand)
	}
}

// drain ends all sessions.
func (v *service) drain(cancel context.CancelFunc) error {
	v.each(func(c *session) { c.drain(false) })
	done := make(chan struct{})
	go func() {
		v.wg.Wait()
		close(done)
	}()
	grace := v.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	if waits(done, grace) {
		return nil
	}
	cancel()
	v.each(func(c *session) { c.drain(true) })
	if waits(done, lastWords) {
		return nil
	}
	v.each(func(c *session) { c.raw.Close() })
	if waits(done, lastWords) {
		return nil
	}
	return errors.New("smtp: sessions did not end in time")
}

func (v *service) each(do func(*session)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.sessions {
		do(c)
	}
}

// waits reports whether done was closed in time.
func waits(done <-chan struct{}, d time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

func (v *service) count(kind EventKind, code int) {
	if v.Stats != nil {
		v.Stats(Event{kind, code})
	}
}

func (v *service) log() *slog.Logger {
	if v.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return v.Log
}
