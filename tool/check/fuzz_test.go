package check

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns/dnstest"
)

// A server can say what it wants: no reply breaks a line of the report.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"220 mx.example ESMTP\r\n", "250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "250-a\r\n", "99 x\r\n", "abc\r\n", "250\r\n",
		"250_x\r\n", "\r\n", "250 \x1b[31m\r\n", strings.Repeat("250-x\r\n", 200),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ours, theirs := net.Pipe()
		go func() {
			theirs.Write([]byte(s)) //nolint:errcheck // the reader may have gone
			theirs.Close()
		}()
		defer ours.Close()
		r, err := newTalk(ours, time.Second).read()
		if err != nil {
			return
		}
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 {
			t.Fatalf("%q reads %+v", s, r)
		}
		if strings.ContainsAny(clean(r.String()+r.name()), "\r\n\x1b") {
			t.Fatalf("%q breaks the line", s)
		}
		r.extension("AUTH")
	})
}

func FuzzSTSPolicy(f *testing.F) {
	for _, s := range []string{
		"version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n", "version: STSv1\r\nmode: none\r\nmax_age: 1\r\n",
		"mode: enforce", "version: STSv1\nmode: testing\nmx: a\nmax_age: 99999999999999999999\n", ":", "mx:\nmx:",
	} {
		f.Add(s, "mx.example.org")
	}
	f.Fuzz(func(t *testing.T, s, host string) {
		var p stsPolicy
		if err := p.read(s); err != nil {
			return
		}
		if p.maxAge < 1 || p.maxAge > maxAge || p.mode != "none" && len(p.mx) == 0 {
			t.Fatalf("%q reads %+v", s, p)
		}
		p.covers(host)
	})
}

// A record can include itself in any way: the count ends.
func FuzzTermCount(f *testing.F) {
	for _, s := range []string{
		"v=spf1 mx a ptr exists:%{i}.x -all", "v=spf1 include:b.example redirect=a.example", "v=spf1 include:a.example", "v=spf1 ip4:1.2.3.4/8 A/24 MX:x//64",
	} {
		f.Add(s)
	}
	names, err := dnstest.New("a.example. TXT \"v=spf1 include:b.example include:b.example a\"\nb.example. TXT \"v=spf1 include:a.example include:a.example mx\"")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isSPF(s) || len(s) > 4096 {
			return
		}
		c := &termCount{ctx: context.Background(), x: names}
		c.record(s, "a.example", 0)
		if c.terms > len(s)+40*maxTerms*maxTerms {
			t.Fatalf("%q has %d terms", s, c.terms)
		}
	})
}

func FuzzNTP(f *testing.F) {
	q := make([]byte, 48)
	good := make([]byte, 48)
	good[0], good[1] = 4<<3|4, 2
	f.Add(good)
	f.Add([]byte{})
	began := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, r []byte) {
		ahead, err := readNTP(q, r, began, began)
		if err == nil && ahead.Abs() > 70*365*24*time.Hour {
			t.Fatalf("the clock is %v off", ahead)
		}
	})
}

func TestCodesOfLists(t *testing.T) {
	for ip, listed := range map[string]bool{
		"127.0.0.2": true, "127.0.0.10": true, "127.0.1.2": true, "127.255.255.252": false, "127.255.255.254": false,
		"127.255.255.255": false, "127.255.255.1": false, "127.0.1.255": false, "127.0.0.1": false, "192.0.2.1": false,
	} {
		if err := codeError(netip.MustParseAddr(ip)); (err == nil) != listed {
			t.Errorf("%s: %v", ip, err)
		}
	}
	if got := listName(netip.MustParseAddr("2001:db8::1"), "list.example"); got !=
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.list.example" {
		t.Error(got)
	}
}
