package trace

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	our "stagecoach/mail"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParse(t *testing.T) {
	ip := netip.MustParseAddr
	for in, want := range map[string]Hop{
		"from mail-lf1-f52.google.com (mail-lf1-f52.google.com [209.85.167.52]) by mx.example.org (Postfix) with ESMTPS id 4Xk; for <ann@example.org>; Thu, 30 Mar 2017 15:00:00 +0200 (CEST)": {
			From: "mail-lf1-f52.google.com", Info: "mail-lf1-f52.google.com [209.85.167.52]", IP: ip("209.85.167.52"), By: "mx.example.org",
			With: "ESMTPS", ID: "4Xk", Time: at("2017-03-30T15:00:00+02:00"),
		},
		"from x25519 by x25519.net via tcp with esmtp id <00000000@x25519.net> for <romain.calascibetta@gmail.com>; Tue, 20 Dec 2022 14:03:56 GMT": {
			From: "x25519", By: "x25519.net", With: "esmtp", ID: "00000000@x25519.net", For: "romain.calascibetta@gmail.com", Time: at("2022-12-20T14:03:56Z"),
		},
		"by 2002:a05:6402 with SMTP id k18; Mon, 1 Jan 2024 00:00:00 -0800 (PST)": {
			By: "2002:a05:6402", With: "SMTP", ID: "k18", Time: at("2024-01-01T00:00:00-08:00"),
		},
		"from [IPv6:2001:db8::1] (unknown) by b; 1 Jan 2024 00:00:00 +0000": {
			From: "[IPv6:2001:db8::1]", Info: "unknown", IP: ip("2001:db8::1"), By: "b", Time: at("2024-01-01T00:00:00Z"),
		},
		"from a (HELO a; b) (192.0.2.7) by c; Mon, 1 Jan 2024 00:00:00 +0000": {
			From: "a", Info: "HELO a; b 192.0.2.7", IP: ip("192.0.2.7"), By: "c", Time: at("2024-01-01T00:00:00Z"),
		},
	} {
		if diff := cmp.Diff(want, Parse(in), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("%s\n%s", in, diff)
		}
	}
	for _, in := range []string{"", "from a by b", "from a by b; yesterday", "from (((", "from; ; ;"} {
		if h := Parse(in); !h.Time.IsZero() || h.Err == nil {
			t.Errorf("%q has the time %v", in, h.Time)
		}
	}
}

func TestPath(t *testing.T) {
	m := our.NewMessage([]byte("Received: by c\r\nReceived: by b\r\nReceived: by a\r\n\r\n"))
	var by string
	for _, h := range Path(&m.Header) {
		by += h.By
	}
	if by != "abc" {
		t.Errorf("the path is %s", by)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("from a ([192.0.2.1]) by b with c id d for <e>; Mon, 1 Jan 2024 00:00:00 +0000 (x)")
	f.Add("from (\\")
	f.Fuzz(func(t *testing.T, s string) {
		h := Parse(s)
		if h.Time.IsZero() != (h.Err != nil) && h.Err != nil {
			t.Fatalf("%q: %v %v", s, h.Time, h.Err)
		}
	})
}
