package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/smtp"
)

func startSink(t *testing.T) (*Lab, *Sink, func() error) {
	t.Helper()
	l := start(t)
	s, err := l.NewSink("sink.example")
	if err != nil {
		t.Fatal(err)
	}
	send := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"a@sink.example"}, Unsigned: true, Subject: "x", Text: ".x\n"})
	}
	return l, s, send
}

// Each kind of trouble reaches the client as what it is, and the next mail gets through.
func TestSinkMisbehaves(t *testing.T) {
	_, s, send := startSink(t)
	for _, c := range []struct {
		name string
		when Moment
		act  Act
		code int  // of the refusal
		kept bool // the sink has the mail although the client does not know
	}{
		{"421 as greeting", AtConnect, Act{Reply: "421 4.3.2 busy"}, 421, false},
		{"dropped at once", AtConnect, Act{Mute: true, Then: Drop}, 451, false},
		{"4xx at EHLO", AtHello, Act{Reply: "451 4.3.0 no"}, 451, false},
		{"4xx at MAIL", AtMail, Act{Reply: "451 4.7.1 later"}, 451, false},
		{"5xx at MAIL", AtMail, Act{Reply: "550 5.7.1 never"}, 550, false},
		{"4xx at RCPT", AtRcpt, Act{Reply: "450 4.2.0 later"}, 450, false},
		{"5xx at RCPT", AtRcpt, Act{Reply: "550 5.1.1 never"}, 550, false},
		{"4xx at DATA", AtData, Act{Reply: "451 4.3.0 later"}, 451, false},
		{"5xx at the end", AtEnd, Act{Reply: "554 5.6.0 never"}, 554, false},
		{"4xx at the end", AtEnd, Act{Reply: "452 4.3.1 full"}, 452, false},
		{"421 in mid-stream", AtBody, Act{Reply: "421 4.3.2 shutting down", Then: Drop}, 0, false},
		{"reset in mid-stream", AtBody, Act{Mute: true, Then: Reset}, 451, false},
		{"dropped after the final dot, kept", AtEnd, Act{Mute: true, Then: Drop}, 451, true},
		{"dropped after the final dot, lost", AtEnd, Act{Mute: true, Then: Drop, Discard: true}, 451, false},
		{"a huge greeting", AtConnect, Act{Reply: strings.Repeat("220-"+strings.Repeat("x", 400)+"\r\n", 2000) + "220 end"}, 0, false},
		{"garbage after STARTTLS", AtSTARTTLS, Act{Then: Garbage}, 451, false},
		{"octet by octet", AtConnect, Act{Pace: time.Millisecond}, -1, true},
		{"250, then a reset", AtEnd, Act{Then: Reset}, -1, true},
	} {
		before := len(s.Mails())
		s.At(c.when, c.act)
		err := send()
		switch {
		case c.code == -1 && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.code >= 0 && err == nil:
			t.Errorf("%s: the mail was accepted", c.name)
		case c.code > 0 && refusal(t, err).Code != c.code:
			t.Errorf("%s: %v, want %d", c.name, err, c.code)
		}
		if got := len(s.Mails())-before == 1; got != c.kept {
			t.Errorf("%s: kept %t, want %t", c.name, got, c.kept)
		}
		if err := send(); err != nil {
			t.Errorf("after %q: %v", c.name, err)
		}
	}
	if raw := string(s.Mails()[0].Raw); !strings.HasSuffix(raw, "\r\n\r\n.x\r\n") {
		t.Errorf("not byte for byte: %q", raw)
	}
}

func TestSinkStalls(t *testing.T) {
	l, s, _ := startSink(t)
	for _, when := range []Moment{AtConnect, AtMail, AtEnd} {
		s.At(when, Act{Mute: true, Then: Stall})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"a@sink.example"}, Unsigned: true})
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v after %v", when, err, time.Since(began))
		}
	}
}

func TestSinkPerRecipient(t *testing.T) {
	l, s, _ := startSink(t)
	s.For("b@sink.example", Act{Reply: "450 4.2.1 later"})
	s.AlwaysFor("c@sink.example", Act{Reply: "550 5.1.1 never"})
	o := Outgoing{From: "bob@correspondent.example", To: []string{"a@sink.example", "b@sink.example", "c@sink.example"}, Unsigned: true}
	err := l.Correspondent.Send(within(t, 10*time.Second), o)
	if err == nil || !strings.Contains(err.Error(), "450") || !strings.Contains(err.Error(), "550") {
		t.Errorf("%v", err)
	}
	if m := s.Mails(); len(m) != 1 || len(m[0].Envelope.To) != 1 || m[0].Envelope.To[0].String() != "a@sink.example" {
		t.Fatalf("%d mails", len(m))
	}
	o.To = []string{"b@sink.example"}
	if err := l.Correspondent.Send(within(t, 10*time.Second), o); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestSinkGreylists(t *testing.T) {
	_, s, send := startSink(t)
	s.Greylist(200 * time.Millisecond)
	for range 2 {
		if r := refusal(t, send()); r.Code != 450 || r.Status != "4.7.1" {
			t.Errorf("%v", r)
		}
	}
	time.Sleep(250 * time.Millisecond)
	if err := send(); err != nil {
		t.Errorf("after the time: %v", err)
	}
}

func TestSinkCertificatesAndExtensions(t *testing.T) {
	l, s, send := startSink(t)
	wrong, err := l.CA.Issue("mx.elsewhere.example")
	if err != nil {
		t.Fatal(err)
	}
	s.SetCertificate(&wrong)
	if err := send(); err != nil {
		t.Errorf("opportunistic TLS minds the name: %v", err)
	}
	strict := &smtp.NextHop{Name: "x.example", Host: s.MX, Security: smtp.TLSRequired, MaxIdle: -1, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(s.Addr, l.SMTPPort()).String())
	}}
	m, err := l.Correspondent.write(Outgoing{From: "bob@correspondent.example", To: []string{"a@sink.example"}, Unsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.Handle(t.Context(), m); err == nil {
		t.Error("required TLS does not mind the name")
	}
	s.SetCertificate(nil)
	s.SetExtensions("PIPELINING")
	before := len(s.Mails())
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if r := s.Mails()[before]; r.Peer.TLS != nil || slices.ContainsFunc(s.Commands()[len(s.Commands())-4:], func(c string) bool { return strings.HasPrefix(c, "BDAT") }) {
		t.Errorf("TLS %v, %q", r.Peer.TLS != nil, s.Commands())
	}
	s.Behave()
	if s.Connections() != 3 {
		t.Errorf("%d connections", s.Connections())
	}
}
