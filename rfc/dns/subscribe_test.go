package dns_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// A notifier answers for the SOA and keeps the connections that asked, as our authority does.
type notifier struct {
	mu      sync.Mutex
	serial  string
	streams []*dns.Stream
	refuse  bool
}

func (n *notifier) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := dns.NewResponse(r.Msg, dns.RcodeSuccess)
	if n.refuse || r.Key.IsZero() {
		m.Rcode = dns.RcodeNotAuth
		return send(m)
	}
	m.Answer = []dns.RR{n.soa()}
	r.Stream.Hold()
	n.streams = append(n.streams, r.Stream)
	return send(m)
}

func (n *notifier) soa() *dns.SOARecord {
	return dns.MustParseRR("example. 60 SOA ns.example. h.example. " + n.serial + " 1 1 1 60").(*dns.SOARecord)
}

// push raises the serial and tells everybody.
func (n *notifier) push(t *testing.T, serial string, key dns.Key) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serial = serial
	for _, s := range n.streams {
		if err := s.Push(dns.NewNotify("example", n.soa()), key); err != nil {
			t.Error(err)
		}
	}
}

func (n *notifier) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams = nil
}

func subscribe(t *testing.T, n *notifier, every time.Duration) (heard chan uint32, ended chan error) {
	t.Helper()
	at := serve(t, &dns.Server{Handler: n, Keys: func(name string) (dns.Key, bool) { return testKey, name == testKey.Name }})
	c := clientOf(dns.TCP, at)
	c.Key = testKey
	heard, ended = make(chan uint32, 9), make(chan error, 1)
	go func() {
		ended <- c.Subscribe(t.Context(), "example", every, func(soa *dns.SOARecord) { heard <- soa.Serial })
	}()
	return heard, ended
}

func expect(t *testing.T, heard chan uint32, want uint32) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Errorf("serial %d, want %d", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("heard nothing, want %d", want)
	}
}

func TestSubscribe(t *testing.T) {
	n := &notifier{serial: "7"}
	heard, _ := subscribe(t, n, time.Hour)
	expect(t, heard, 7)
	n.push(t, "8", testKey)
	expect(t, heard, 8)
	n.push(t, "9", dns.Key{}) // not signed, not heard
	forged := testKey
	forged.Secret = []byte("another secret of enough octets.")
	n.push(t, "10", forged)
	n.push(t, "11", testKey)
	expect(t, heard, 11)
}

func TestSubscribeAsksAgain(t *testing.T) {
	n := &notifier{serial: "7"}
	heard, _ := subscribe(t, n, 20*time.Millisecond)
	expect(t, heard, 7)
	n.hangUp()
	n.push(t, "8", testKey)
	expect(t, heard, 8)
}

func TestSubscribeRefused(t *testing.T) {
	_, ended := subscribe(t, &notifier{refuse: true}, time.Hour)
	var code dns.RcodeError
	if err := <-ended; !errors.As(err, &code) || int(code) != dns.RcodeNotAuth {
		t.Errorf("%v", err)
	}
}
