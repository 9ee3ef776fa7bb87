package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Serve answers the requests that come over the connections that l accepts; a TLS listener
// makes it RFC 7858. It closes l, and returns when ctx ends, after the answers in work, or when
// l fails for good.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.start()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors, most likely
			wait(ctx, 50*time.Millisecond)
			continue
		}
		peer := addrOf(c)
		if !s.conns.enter(peer.Addr(), s.limits) {
			c.Close()
			continue
		}
		work.Go(func() {
			defer s.conns.leave(peer.Addr())
			s.serveConn(ctx, c, peer)
		})
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func addrOf(c net.Conn) netip.AddrPort {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
}

// A Stream is a connection as the Handler sees it.
type Stream struct {
	conn  net.Conn
	write time.Duration
	now   func() time.Time
	held  atomic.Bool
	done  chan struct{}
	mu    sync.Mutex // one message at a time
}

// Hold lets the connection stay open without requests for Limits.Held.
func (s *Stream) Hold() { s.held.Store(true) }

// Done is closed when the connection is.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Push sends a request of ours over the peer's connection, signed with key unless that is
// zero, as reference secondaries take their NOTIFYs. Its response is not looked at.
func (s *Stream) Push(m *Msg, key Key) error {
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	if !key.IsZero() {
		wire = (&session{key: key}).sign(wire, s.now())
	}
	return s.send(wire)
}

func (s *Stream) send(wire []byte) error {
	if wire == nil {
		return errors.New("the response cannot be packed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.write)); err != nil {
		return err
	}
	err := writeMessage(s.conn, wire)
	if err != nil {
		s.conn.Close() // part of a message may be out
	}
	return err
}

func (s *Server) serveConn(ctx context.Context, c net.Conn, peer netip.AddrPort) {
	st := &Stream{conn: c, write: s.limits.Write, now: s.now, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // closed already
	slots := make(chan struct{}, s.limits.Parallel)
	var work sync.WaitGroup
	defer func() {
		close(st.done)
		if ctx.Err() == nil {
			cancel() // the peer left: nobody waits for the answers
		}
		work.Wait()
		cancel()
		stop()
		c.Close()
	}()
	for {
		wire, err := s.nextRequest(ctx, c, st)
		if err != nil {
			return
		}
		r := &Request{Peer: peer, Transport: TCP, Stream: st}
		t, refusal := s.parse(wire, r)
		if refusal != nil && st.send(refusal) != nil {
			return
		}
		if t == nil {
			continue
		}
		slots <- struct{}{}
		serve := func() {
			defer func() { <-slots }()
			t.run(ctx, func(_ *Msg, out []byte) error { return st.send(out) })
		}
		if s.limits.Parallel == 1 {
			serve()
		} else {
			work.Go(serve)
		}
	}
}

// nextRequest waits for a request as long as an idle connection may, and then for the rest of
// it as long as Limits.Idle.
func (s *Server) nextRequest(ctx context.Context, c net.Conn, st *Stream) ([]byte, error) {
	patience := s.limits.Idle
	if st.held.Load() {
		patience = s.limits.Held
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // its end may have come before our deadline was set
		return nil, ctx.Err()
	}
	return readMessage(c, nil)
}

// A connTable counts connections, so that one network cannot have them all.
type connTable struct {
	mu    sync.Mutex
	open  map[netip.Prefix]int
	total int
}

func networkOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

func (t *connTable) enter(ip netip.Addr, l Limits) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := networkOf(ip)
	if t.total >= l.Conns || t.open[p] >= l.PerAddr {
		return false
	}
	t.open[p]++
	t.total++
	return true
}

func (t *connTable) leave(ip netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := networkOf(ip)
	t.total--
	if t.open[p]--; t.open[p] == 0 {
		delete(t.open, p)
	}
}
