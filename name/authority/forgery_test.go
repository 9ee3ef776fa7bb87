package authority

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// A wireClient sends packets as they are, and shows what comes back.
type wireClient struct {
	t  *testing.T
	at netip.AddrPort
}

func (w wireClient) ask(over string, wire []byte) *dns.Msg {
	w.t.Helper()
	c, err := net.Dial(over, w.at.String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	return w.askOn(c, over, wire)
}

func (w wireClient) askOn(c net.Conn, over string, wire []byte) *dns.Msg {
	w.t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if over == "tcp" {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
		m, err := readFrom(c)
		if err != nil {
			w.t.Fatal(err)
		}
		return m
	}
	c.Write(wire)
	buf := make([]byte, 65535)
	n, err := c.Read(buf)
	if err != nil {
		w.t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// readFrom reads one message off a connection.
func readFrom(c net.Conn) (*dns.Msg, error) {
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(buf)
}

// signedBy packs and signs a message as of a time.
func signedBy(t *testing.T, m *dns.Msg, key dns.Key, at time.Time) []byte {
	t.Helper()
	wire, err := dns.Sign(m, key, at)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// cutMAC shortens the MAC of a message signed by SHA-256 to n octets.
func cutMAC(wire []byte, n int) []byte {
	const full, behind = 32, 6 // Original ID, error, length of other data
	mac := len(wire) - behind - full
	out := append(bytes.Clone(wire[:mac+n]), wire[mac+full:]...)
	binary.BigEndian.PutUint16(out[mac-2:], uint16(n))
	data := len("hmac-sha256") + 2 + 6 + 2 + 2 + full + behind
	at := len(wire) - data - 2
	binary.BigEndian.PutUint16(out[at:], uint16(data-full+n))
	return out
}

// requests that need a right.
func requestsWithRights(t *testing.T, n int) map[string]*dns.Msg {
	axfr, ixfr, update := dns.NewQuery("example", dns.TypeAXFR), dns.NewQuery("example", dns.TypeIXFR), dns.NewUpdate("example")
	axfr.Extra, ixfr.Extra = nil, nil
	ixfr.Ns = rrs(t, "example. 0 SOA . . 1 0 0 0 0")
	update.Insert(rrs(t, fmt.Sprintf("f%d.example. 300 TXT x", n)))
	return map[string]*dns.Msg{"AXFR": axfr, "IXFR": ixfr, "UPDATE": update}
}

// AXFR, IXFR and UPDATE without the right key are refused in every form, over UDP and TCP: nothing
// of the zone is told, and nothing changes.
func TestForgeriesAreRefused(t *testing.T) {
	a, at, _, bare := start(t, testFiles)
	w := wireClient{t, at}
	now := time.Now()
	good := keyNamed(t, "personal._update.example")
	wrong := good
	wrong.Secret = dns.Secret("not the secret, but as long as it")
	unknown := good
	unknown.Name = "somebody._update.example."
	sha512 := peerKey(t, "personal._update.example", "SHA512")
	n := 0
	for _, c := range []struct {
		name      string
		sign      func(m *dns.Msg) []byte
		rcode     int
		tsigError int // -1: the answer is not signed at all
	}{
		{"no key", func(m *dns.Msg) []byte { b, _ := m.Pack(); return b }, dns.RcodeRefused, -1},
		{"unknown key", func(m *dns.Msg) []byte { return signedBy(t, m, unknown, now) }, dns.RcodeNotAuth, dns.RcodeBadKey},
		{"another algorithm", func(m *dns.Msg) []byte { return signedBy(t, m, sha512, now) }, dns.RcodeNotAuth, dns.RcodeBadKey},
		{"wrong secret", func(m *dns.Msg) []byte { return signedBy(t, m, wrong, now) }, dns.RcodeNotAuth, dns.RcodeBadSig},
		{"31 octets of MAC", func(m *dns.Msg) []byte { return cutMAC(signedBy(t, m, good, now), 31) }, dns.RcodeNotAuth, dns.RcodeBadTrunc},
		{"16 octets of MAC", func(m *dns.Msg) []byte { return cutMAC(signedBy(t, m, good, now), 16) }, dns.RcodeNotAuth, dns.RcodeBadTrunc},
		{"15 octets of MAC", func(m *dns.Msg) []byte { return cutMAC(signedBy(t, m, good, now), 15) }, dns.RcodeFormatError, -1},
		{"no octet of MAC", func(m *dns.Msg) []byte { return cutMAC(signedBy(t, m, good, now), 0) }, dns.RcodeFormatError, -1},
		{"too late", func(m *dns.Msg) []byte { return signedBy(t, m, good, now.Add(-310*time.Second)) }, dns.RcodeNotAuth, dns.RcodeBadTime},
		{"too early", func(m *dns.Msg) []byte { return signedBy(t, m, good, now.Add(400*time.Second)) }, dns.RcodeNotAuth, dns.RcodeBadTime},
		{"changed on the way", func(m *dns.Msg) []byte { b := signedBy(t, m, good, now); b[2] ^= 1; return b }, dns.RcodeNotAuth, dns.RcodeBadSig},
		{"key of another zone", func(m *dns.Msg) []byte { return signedBy(t, m, keyNamed(t, "personal._update.other"), now) }, dns.RcodeNotAuth, 0},
		{"key of a zone below", func(m *dns.Msg) []byte { return signedBy(t, m, keyNamed(t, "sub._update.sub.example"), now) }, dns.RcodeNotAuth, 0},
		{"key for NOTIFY", func(m *dns.Msg) []byte { return signedBy(t, m, keyNamed(t, "hook._notify.example"), now) }, dns.RcodeNotAuth, 0},
		{"key for transfers", func(m *dns.Msg) []byte { return signedBy(t, m, keyNamed(t, "second._transfer.example"), now) }, dns.RcodeNotAuth, 0},
	} {
		for _, over := range []string{"udp", "tcp"} {
			n++
			for kind, m := range requestsWithRights(t, n) {
				if c.name == "key for transfers" && kind != "UPDATE" {
					continue
				}
				m.Id = uint16(n)
				r := w.ask(over, c.sign(m))
				got := -1
				if ts := r.IsTsig(); ts != nil {
					got = int(ts.Error)
				}
				if r.Rcode != c.rcode || got != c.tsigError || len(r.Answer) > 0 || len(r.Ns) > 0 {
					t.Errorf("%s of %s over %s: %s, TSIG error %d: %v", c.name, kind, over, dns.RcodeName(r.Rcode), got, r)
				}
			}
		}
	}
	if z, _ := a.Zone("example"); z.Serial() != 7 || git(t, bare, "rev-list", "--count", "main") != "1" {
		t.Error("the zone has changed")
	}
}

// What was good once is not good when somebody else sends it again, by whatever transport.
func TestReplaysOverTheWireAreRefused(t *testing.T) {
	_, at, _, bare := start(t, testFiles)
	w := wireClient{t, at}
	key := keyNamed(t, "personal._update.example")
	commits := 1
	for n, first := range []string{"tcp", "udp"} {
		for kind, m := range requestsWithRights(t, n) {
			if kind == "AXFR" && first == "udp" {
				continue
			}
			m.Id = uint16(1000 + n)
			wire := signedBy(t, m, key, time.Now())
			c, err := net.Dial(first, at.String())
			if err != nil {
				t.Fatal(err)
			}
			if r := w.askOn(c, first, wire); r.Rcode != dns.RcodeSuccess {
				t.Fatalf("%s: %v", kind, r)
			}
			if first == "udp" { // the answer may have been lost: the same again
				if r := w.askOn(c, first, wire); r.Rcode != dns.RcodeSuccess {
					t.Errorf("%s sent again: %v", kind, r)
				}
			}
			c.Close()
			if kind == "UPDATE" {
				commits++
			}
			for _, over := range []string{"tcp", "udp"} {
				if r := w.ask(over, wire); r.Rcode != dns.RcodeRefused || len(r.Answer) > 0 {
					t.Errorf("%s over %s, replayed over %s: %v", kind, first, over, r)
				}
			}
		}
	}
	if n := git(t, bare, "rev-list", "--count", "main"); n != fmt.Sprint(commits) {
		t.Errorf("%s commits, want %d", n, commits)
	}
}
