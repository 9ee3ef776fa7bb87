package smtp

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

// receivedForm is a Received field whatever the client said: three lines, and no character
// that could end a comment or begin a field.
var receivedForm = regexp.MustCompile(`^Received: from [A-Za-z0-9.:\[\]-]+( \([A-Za-z0-9.?:\[\] _-]+\))?\r\n` +
	`\tby mx\.example with [A-Z0-9]+\r\n\tid [A-Z0-9]+( for <[^\r\n]+>)?;\r\n\t[A-Za-z0-9, :+]+\r\n$`)

func receivedFrom(hello string, addr netip.Addr, hide bool) string {
	v := &service{Server: &Server{Name: "mx.example", HideClient: hide, Now: func() time.Time { return time.Unix(0, 0) }}}
	s := &session{service: v, peer: mail.Peer{Hello: hello, Addr: addr, ESMTP: true}}
	s.now.id = "ID"
	return s.received().Raw()
}

func TestReceivedFrom(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	for _, test := range []struct {
		hello string
		addr  netip.Addr
		hide  bool
		want  string
	}{
		{"client.example", four, false, "from client.example ([192.0.2.7])"},
		{"Client.Example", six, false, "from client.example ([IPv6:2001:db8::7])"},
		{"[192.0.2.7]", four, false, "from [192.0.2.7] ([192.0.2.7])"},
		{"client.example", netip.Addr{}, false, "from client.example"},
		{"my_pc", four, false, "from unknown (HELO my_pc [192.0.2.7])"},
		{"x)(y;by<z>", netip.Addr{}, false, "from unknown (HELO x??y?by?z?)"},
		{"client.example", four, true, "from unknown"},
	} {
		got := receivedFrom(test.hello, test.addr, test.hide)
		if !strings.HasPrefix(got, "Received: "+test.want+"\r\n\tby ") || !receivedForm.MatchString(got) {
			t.Errorf("%q: got %q", test.hello, got)
		}
	}
}

func FuzzReceived(f *testing.F) {
	f.Add("client.example")
	f.Add("a\r\nb\x00\x1b[2J)(;<>\\\"é")
	f.Fuzz(func(t *testing.T, hello string) {
		if got := receivedFrom(hello, netip.MustParseAddr("192.0.2.7"), false); !receivedForm.MatchString(got) {
			t.Errorf("%q: got %q", hello, got)
		}
	})
}
