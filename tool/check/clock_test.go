package check

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"
)

// timeServer answers by SNTP with a clock that goes wrong by off, and returns where.
func timeServer(t *testing.T, off time.Duration) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if n != 48 {
				continue
			}
			r := make([]byte, 48)
			r[0], r[1] = 4<<3|4, 2
			copy(r[24:32], b[40:48])
			now := time.Now().Add(off)
			binary.BigEndian.PutUint32(r[40:], uint32(now.Unix()+ntpEpoch))
			binary.BigEndian.PutUint32(r[44:], uint32(uint64(now.Nanosecond())<<32/1_000_000_000))
			conn.WriteTo(r, from) //nolint:errcheck // the client asks again
		}
	}()
	return conn.LocalAddr().String()
}

func TestTimeServer(t *testing.T) {
	for off, want := range map[time.Duration]Status{0: OK, 20 * time.Second: Note, -10 * time.Minute: Wrong} {
		w := newWorld(t)
		at := timeServer(t, off)
		w.target.Clock = "ntp:192.0.2.123"
		w.options.Only = []string{"clock"}
		w.run() // fills env
		w.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.123:123" {
				t.Errorf("dials %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, at)
		}
		r, err := Run(t.Context(), &w.env, w.target, w.options)
		if err != nil {
			t.Fatal(err)
		}
		if l := r.Lines[0]; l.Status != want || off < 0 && !strings.Contains(l.Text, " ahead") {
			t.Errorf("off by %v: %+v", off, l)
		}
	}
}

// The timestamps of NTP begin anew in 2036 (RFC 4330 section 3).
func TestEraOfTime(t *testing.T) {
	for _, at := range []string{"2026-11-21T00:00:00Z", "2036-02-07T06:28:16Z", "2040-01-01T00:00:00Z"} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		var b [8]byte
		binary.BigEndian.PutUint32(b[:], uint32(now.Unix()+ntpEpoch))
		if got := ntpTime(b[:], now.Add(time.Hour)); !got.Equal(now) {
			t.Errorf("%s reads %s", at, got)
		}
	}
}
