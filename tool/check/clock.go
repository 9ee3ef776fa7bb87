package check

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// compareClock returns how far our clock is ahead of the one that the target names.
func (l *look) compareClock(ctx context.Context) (time.Duration, error) {
	if host, ok := strings.CutPrefix(l.target.Clock, "ntp:"); ok {
		return l.askNTP(ctx, host)
	}
	client := l.httpClient()
	client.Transport.(*http.Transport).TLSClientConfig.Time = nil // a clock that is wrong must not hide that
	defer client.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, http.MethodHead, l.target.Clock, nil)
	if err != nil {
		return 0, err
	}
	began := l.env.Now()
	r, err := client.Do(q)
	if err != nil {
		return 0, err
	}
	r.Body.Close()
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("the server gives no Date: %w", err)
	}
	// Date is cut to the second, and was written between question and answer.
	ended := l.env.Now()
	middle := began.Add(ended.Sub(began) / 2)
	return middle.Sub(date.Add(500 * time.Millisecond)), nil
}

// askNTP asks once more where no answer comes.
func (l *look) askNTP(ctx context.Context, host string) (time.Duration, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "123"
	}
	ips, err := dns.Addrs(ctx, l.env.Names, name)
	if ip, bad := netip.ParseAddr(name); bad == nil {
		ips, err = []netip.Addr{ip}, nil
	}
	if err != nil {
		return 0, err
	}
	for _, ip := range ips[:min(len(ips), 3)] {
		var ahead time.Duration
		if ahead, err = l.exchangeNTP(ctx, net.JoinHostPort(ip.String(), port)); err == nil {
			return ahead, nil
		}
	}
	return 0, err
}

// ntpEpoch is the beginning of the time of NTP (RFC 5905 section 6), in seconds before 1970.
const ntpEpoch = 2208988800

// exchangeNTP is the client of RFC 4330 section 5.
func (l *look) exchangeNTP(ctx context.Context, address string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, l.env.Patience/2)
	defer cancel()
	conn, err := l.env.Dial(ctx, "udp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	q := make([]byte, 48)
	q[0] = 4<<3 | 3 // version 4, client
	rand.Read(q[40:])
	began := l.env.Now()
	if _, err := conn.Write(q); err != nil {
		return 0, err
	}
	r := make([]byte, 512)
	n, err := conn.Read(r)
	ended := l.env.Now()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, err
	}
	return readNTP(q, r[:n], began, ended)
}

// readNTP checks an answer (RFC 4330 section 5) and returns how far we are ahead.
func readNTP(q, r []byte, began, ended time.Time) (time.Duration, error) {
	switch {
	case len(r) < 48, r[0]&7 != 4, string(r[24:32]) != string(q[40:48]):
		return 0, errors.New("not an answer of a time server")
	case r[0]>>6 == 3, r[1] == 0, r[1] > 15:
		return 0, errors.New("the time server does not know the time")
	}
	server := ntpTime(r[40:48], began)
	return began.Add(ended.Sub(began) / 2).Sub(server), nil
}

// ntpTime reads a timestamp, of the era of about now.
func ntpTime(b []byte, about time.Time) time.Time {
	seconds, fraction := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	seconds -= ntpEpoch
	for seconds < about.Unix()-1<<31 {
		seconds += 1 << 32
	}
	return time.Unix(seconds, fraction*1_000_000_000>>32)
}
