package authority

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// An ear takes NOTIFYs and tells of them.
type ear struct {
	heard chan string
	deaf  atomic.Int32 // so many are not answered
}

func (e *ear) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	if e.deaf.Add(-1) >= 0 {
		return send(dns.NewResponse(r.Msg, dns.RcodeServerFailure))
	}
	e.heard <- fmt.Sprintf("%s %d %s", dns.Host(r.Msg.Question[0].Name), r.Msg.Answer[0].(*dns.SOARecord).Serial, r.Key.Name)
	return send(dns.NewResponse(r.Msg, dns.RcodeSuccess))
}

func (e *ear) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e.heard:
		if got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("heard nothing, want %q", want)
	}
}

func listenAt(t *testing.T, address string, h dns.Handler, keys func(string) (dns.Key, bool)) uint16 {
	t.Helper()
	conns, l, err := dns.Listen(t.Context(), address, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Handler: h, Keys: keys}
	go s.ServePacket(t.Context(), conns...)
	go s.Serve(t.Context(), l)
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func TestNotifiesSecondaries(t *testing.T) {
	name := "127.0.0.1.127.0.0.2._transfer.one."
	key := keyNamed(t, name)
	signed, plain := &ear{heard: make(chan string, 9)}, &ear{heard: make(chan string, 9)}
	signed.deaf.Store(1)
	keys := func(n string) (dns.Key, bool) { return key, n == name }
	port := listenAt(t, "127.0.0.2:0", signed, keys)
	listenAt(t, fmt.Sprintf("127.0.0.3:%d", port), plain, nil)
	files := map[string]string{
		"one":       "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\n@ 60 NS ns2\nns 60 A 127.0.0.9\nns2 60 A 127.0.0.3\n",
		"one._keys": name + " DNSKEY 0 3 165 " + secret + "\npersonal._update.one. DNSKEY 0 3 163 " + secret + "\n",
	}
	_, at, _, _ := start(t, files, func(a *Authority) { a.NotifyPort = port })
	signed.expect(t, "one 7 "+name)
	plain.expect(t, "one 7 ")
	m := dns.NewUpdate("one")
	m.Insert(rrs(t, "x.one. 60 TXT x"))
	if err := dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "personal._update.one")), m); err != nil {
		t.Fatal(err)
	}
	soa, err := dns.SOA(t.Context(), client(at, dns.UDP, dns.Key{}), "one")
	if err != nil {
		t.Fatal(err)
	}
	signed.expect(t, fmt.Sprintf("one %d %s", soa.Serial, name))
	plain.expect(t, fmt.Sprintf("one %d ", soa.Serial))
}

// A secondary whose address cannot be looked up when a zone changes is told once it can (R13).
func TestNotifiesAfterFailureOfNames(t *testing.T) {
	plain := &ear{heard: make(chan string, 9)}
	port := listenAt(t, "127.0.0.3:0", plain, nil)
	names := dnstest.Zone(t, "ns.elsewhere.example. 60 A 127.0.0.3\n")
	var asked atomic.Int32
	failing := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		if asked.Add(1) <= 2 {
			return dns.NewResponse(q, dns.RcodeServerFailure), nil
		}
		return names.Exchange(ctx, q)
	})
	files := map[string]string{"one": "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\n@ 60 NS ns.elsewhere.example.\nns 60 A 127.0.0.9\n"}
	start(t, files, func(a *Authority) { a.NotifyPort, a.Resolver = port, failing })
	plain.expect(t, "one 7 ")
}

// A client that asks for the SOA, signed, over a connection that it keeps is told over that, as
// the reference's issuer expects.
func TestSubscription(t *testing.T) {
	files := maps.Clone(testFiles)
	_, at, work, _ := start(t, files)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	key := keyNamed(t, "personal._update.example")
	q := dns.NewQuery("example", dns.TypeSOA)
	q.Extra = nil
	wire, err := dns.Sign(q, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
	read := func() *dns.Msg {
		var n [2]byte
		if _, err := io.ReadFull(c, n[:]); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := read(); len(m.Answer) != 1 || m.IsTsig() == nil {
		t.Fatalf("%v", m)
	}
	push(t, work, map[string]string{"example": exampleText[:len("$TTL 300\n@	SOA	ns1 hostmaster ")] + "8" + exampleText[len("$TTL 300\n@	SOA	ns1 hostmaster 7"):]})
	if err := dns.Do(t.Context(), client(at, dns.TCP, key), dns.NewNotify("example", nil)); err != nil {
		t.Fatal(err)
	}
	m := read()
	for m.Opcode == dns.OpcodeNotify && m.Answer[0].(*dns.SOARecord).Serial == 7 { // a slow machine announces the first version now
		m = read()
	}
	if m.Opcode != dns.OpcodeNotify || m.Response || m.IsTsig() == nil || m.Answer[0].(*dns.SOARecord).Serial != 8 {
		t.Errorf("%v", m)
	}
}
