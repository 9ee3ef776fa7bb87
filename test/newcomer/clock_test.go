package newcomer

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// A clock is a time server (RFC 4330), which may go wrong: to check, that is as if our clock did.
type clock struct{ ahead atomic.Int64 }

func startClock(t *testing.T, at netip.Addr) *clock {
	t.Helper()
	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(at, 123).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &clock{}
	go c.serve(conn)
	return c
}

func (c *clock) serve(conn net.PacketConn) {
	q := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(q)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		const to1970 = 2208988800
		now := time.Now().Add(time.Duration(c.ahead.Load()))
		r := make([]byte, 48)
		r[0], r[1] = 4<<3|4, 1
		copy(r[24:32], q[40:48])
		binary.BigEndian.PutUint32(r[40:], uint32(now.Unix()+to1970))
		conn.WriteTo(r, from) //nolint:errcheck // it asks again
	}
}
