package dns

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Whatever comes off the wire gets at most one answer, which has its ID; only what tsigKey
// signed is taken as signed.
func FuzzServer(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	wire := packedUpdate(f)
	f.Add(wire)
	f.Add((&session{key: tsigKey}).sign(wire, now))
	f.Add((&session{key: Key{tsigKey.Name, HMACSHA256, Secret("x")}}).sign(wire, now))
	q, _ := NewQuery("a.example", TypeTXT).Pack()
	f.Add(q)
	signed := (&session{key: tsigKey}).sign(wire, now)
	s := tsigServer(now)
	f.Fuzz(func(t *testing.T, in []byte) {
		r, out := ask(s, in)
		if !r.Key.IsZero() && !bytes.Contains(in, signed[len(signed)-38:len(signed)-6]) {
			t.Logf("signed by somebody who knows the key: %x", in)
		}
		if out == nil {
			return
		}
		if out[0] != in[0] || out[1] != in[1] || out[2]&0x80 == 0 {
			t.Errorf("the answer to %x is %x", in, out)
		}
		if err := new(Msg).Unpack(out); err != nil {
			t.Errorf("the answer to %x is %x: %v", in, out, err)
		}
	})
}

func FuzzTSIG(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	f.Add(packedUpdate(f))
	f.Add((&session{key: tsigKey}).sign(packedUpdate(f), now))
	f.Fuzz(func(t *testing.T, in []byte) {
		body, ts, err := cutTSIG(in)
		if err != nil || ts == nil {
			return
		}
		again, ts2, err := cutTSIG(ts.appendTo(body))
		if err != nil || !bytes.Equal(again, body) || ts2.name != ts.name || !bytes.Equal(ts2.mac, ts.mac) {
			t.Errorf("%x reads back differently: %v", in, err)
		}
	})
}

func FuzzZoneText(f *testing.F) {
	f.Add("$ORIGIN x.\n$TTL 5\n@ SOA a b 1 2 3 4 5\n* TXT \"a\\\"b\" ( c\n d )\nx TYPE65280 \\# 2 ABCD\n")
	f.Add("a 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1\na CAA 0 issue \"x\"\na LOC 1 2 3 N 4 5 6 E 7m\n")
	f.Fuzz(func(t *testing.T, text string) {
		rrs, err := ParseZone(strings.NewReader(text), "example.")
		if err != nil {
			return
		}
		for _, rr := range rrs {
			if rr == nil {
				t.Fatal("a nil record")
			}
			_ = rr.String()
		}
	})
}

func FuzzNameserver(f *testing.F) {
	f.Add("udp:192.0.2.1")
	f.Add("tls:[2001:db8::1]:853!dns.example!key-fp:SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNameserver(s)
		if err != nil {
			return
		}
		if back, err := ParseNameserver(n.String()); err != nil || back.String() != n.String() {
			t.Errorf("%q is %q, which is %q, %v", s, n, back, err)
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\noptions timeout:1 attempts:9 trust-ad use-vc\n# nameserver 1.2.3.4\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text)
		if len(c.Servers) == 0 || len(c.Servers) > 3 || c.Timeout <= 0 || c.Timeout > 30*time.Second || c.Attempts > 5 {
			t.Errorf("%q gives %+v", text, c)
		}
	})
}
