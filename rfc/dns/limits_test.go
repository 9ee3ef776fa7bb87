package dns_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// recalling answers plain queries as a server's memory does.
type recalling struct{ x dns.Exchanger }

func (r recalling) Quick(q *dns.Request) *dns.Msg {
	m, err := r.x.Exchange(context.Background(), q.Msg)
	if err != nil {
		return nil
	}
	return m
}

func (r recalling) Serve(_ context.Context, q *dns.Request, send func(*dns.Msg) error) error {
	return send(r.Quick(q))
}

func (r recalling) Recall(q *dns.Plain, out []byte) []byte {
	return append(out, dns.PackPlain(r.Quick(&dns.Request{Msg: q.Query()}))...)
}

// A server that listens on every address answers from the one that was asked, at once and later:
// a client with a connected socket takes no other.
func TestServerAnswersFromWhereItWasAsked(t *testing.T) {
	world := dnstest.Zone(t, wireWorld)
	for i, listen := range []string{"0.0.0.0:0", "[::]:0", "0.0.0.0:0", "[::]:0"} {
		conns, err := dns.ListenUDP(t.Context(), listen, 2)
		if err != nil {
			t.Skip(err)
		}
		s := &dns.Server{Handler: dns.Serving(world)}
		if i >= 2 {
			s.Handler = recalling{world}
		}
		go s.ServePacket(t.Context(), conns...)
		port := conns[0].LocalAddr().(*net.UDPAddr).Port
		for _, host := range []string{"127.0.0.1", "127.0.0.77"} {
			at := netip.MustParseAddrPort(fmt.Sprintf("%s:%d", host, port))
			if _, err := dns.TXT(t.Context(), clientOf(dns.UDP, at), "a.example"); err != nil {
				t.Errorf("%s asked at %s: %v", listen, at, err)
			}
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	at := serve(t, &dns.Server{Handler: dns.Serving(dnstest.Zone(t, wireWorld)), Limits: dns.Limits{PerAddr: 3, Idle: 200 * time.Millisecond}})
	var held []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte{0}) // half a length, and no more
		held = append(held, c)
	}
	if _, err := dns.TXT(t.Context(), clientOf(dns.TCP, at), "a.example"); err == nil {
		t.Error("a fourth connection is served")
	}
	for _, c := range held {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("an idle connection stays open: %v", err)
		}
	}
	for range 50 {
		if _, err := dns.TXT(t.Context(), clientOf(dns.TCP, at), "a.example"); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("no connection is served after the others have gone")
}

// A flood from one network gets no more octets than it sends, beyond the limit; a client that
// has a cookie, or comes over TCP, is served all the same.
func TestFloodIsNotAmplified(t *testing.T) {
	at := serve(t, &dns.Server{Handler: dns.Serving(dnstest.Zone(t, wireWorld)), Rate: &dns.RateLimit{Same: 5}})
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := dns.NewQuery("a.example", dns.TypeTXT)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	const queries = 300
	go func() {
		for range queries {
			c.Write(wire)
			time.Sleep(100 * time.Microsecond)
		}
	}()
	full, slips, octets := 0, 0, 0
	buf := make([]byte, 1500)
	for {
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		octets += n
		if m := new(dns.Msg); m.Unpack(buf[:n]) == nil && m.Truncated && len(m.Answer) == 0 {
			slips++
		} else {
			full++
		}
	}
	// A machine that is busy loses some of the queries before they are read.
	if full == 0 || full > 12 || slips < queries/10 || octets > queries*len(wire) {
		t.Errorf("%d answers, %d slips, %d octets for %d", full, slips, octets, queries*len(wire))
	}
	if _, err := dns.TXT(t.Context(), clientOf(dns.UDP, at), "a.example"); err != nil {
		t.Errorf("a client that comes again over TCP: %v", err)
	}
}

// What was begun is answered before a server ends.
func TestServerEndsGracefully(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		close(begun)
		<-finish
		return dns.NewResponse(q, dns.RcodeSuccess), ctx.Err()
	})
	conns, l, err := dns.Listen(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	conns[0].Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&dns.Server{Handler: dns.Serving(slow)}).Serve(ctx, l) }()
	answer := make(chan error, 1)
	go func() {
		_, err := clientOf(dns.TCP, l.Addr().(*net.TCPAddr).AddrPort()).Exchange(t.Context(), dns.NewQuery("a.example", dns.TypeA))
		answer <- err
	}()
	<-begun
	cancel()
	close(finish)
	if err := <-answer; err != nil {
		t.Errorf("the answer in work: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
