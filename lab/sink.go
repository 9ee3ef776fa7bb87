package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Moment is a place in an SMTP conversation where a sink may misbehave.
type Moment string

// The moments. At AtBody some of the message has come, at AtEnd all of it.
const (
	AtConnect  Moment = "connect"
	AtHello    Moment = "hello"
	AtSTARTTLS Moment = "starttls"
	AtMail     Moment = "mail"
	AtRcpt     Moment = "rcpt"
	AtData     Moment = "data" // DATA, or the first BDAT
	AtBody     Moment = "body"
	AtEnd      Moment = "end"
)

// An Act is what a sink does at a moment, in the order of its fields. The zero Act is what a
// good server does.
type Act struct {
	Delay   time.Duration // wait before all else
	Discard bool          // at AtEnd: forget the message, whatever is answered
	Mute    bool          // give no answer
	Reply   string        // answer this instead, raw; a CRLF is added. At AtBody it is sent on top
	Pace    time.Duration // answer one octet at a time, with this pause between them
	Then    Then          // what comes after the answer
}

// Then is how an Act ends.
type Then int

// After Continue the conversation goes on. Drop closes the connection, Reset breaks it (RST),
// Stall says nothing more until the client goes away, Garbage sends octets that are neither
// TLS nor SMTP, and closes.
const (
	Continue Then = iota
	Drop
	Reset
	Stall
	Garbage
)

// A Sink is the mail host of a domain which accepts mail for every user and does as it is
// told. What it has accepted stands in its Inbox, byte for byte as it came.
type Sink struct {
	*Inbox
	Domain string
	MX     string
	Addr   netip.Addr

	mu          sync.Mutex
	next        map[Moment][]Act
	always      map[Moment]Act
	nextFor     map[string][]Act
	alwaysFor   map[string]Act
	greylist    time.Duration
	firstSeen   map[string]time.Time
	cert        *tls.Certificate // nil: no STARTTLS
	extensions  []string
	connections int
	commands    []string
}

// NewSink adds a domain below example. or test., with its zone and its running MX host.
func (l *Lab) NewSink(domain string) (*Sink, error) {
	s := &Sink{
		Inbox: newInbox(), Domain: domain, MX: "mx." + domain,
		next: make(map[Moment][]Act), always: make(map[Moment]Act),
		nextFor: make(map[string][]Act), alwaysFor: make(map[string]Act),
		firstSeen:  make(map[string]time.Time),
		extensions: []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "SIZE 52428800"},
	}
	cert, err := l.CA.Issue(s.MX)
	if err != nil {
		return nil, err
	}
	s.cert = &cert
	if s.Addr, err = l.net.next(); err != nil {
		return nil, err
	}
	if err := l.AddZone(domain, fmt.Sprintf("@ MX 10 mx\nmx A %s\n@ TXT \"v=spf1 ip4:%s -all\"", s.Addr, s.Addr)); err != nil {
		return nil, err
	}
	if err := l.SetPTR(s.Addr, s.MX); err != nil {
		return nil, err
	}
	listener, err := l.net.listenSMTP(l.ctx, s.Addr)
	if err != nil {
		return nil, err
	}
	l.run(s.MX, func(ctx context.Context) error { return s.serve(ctx, listener) })
	return s, nil
}

// At has the sink do these acts at the next occasions of a moment, one each; after the last
// it does what Always said.
func (s *Sink) At(when Moment, acts ...Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[when] = append(s.next[when], acts...)
}

// Always has the sink do an act at every occasion of a moment. The zero Act ends that.
func (s *Sink) Always(when Moment, act Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always[when] = act
}

// For has the sink do these acts at the next RCPTs for one address, one each. They go before
// those of AtRcpt.
func (s *Sink) For(address string, acts ...Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextFor[address] = append(s.nextFor[address], acts...)
}

// AlwaysFor has the sink do an act at every RCPT for one address.
func (s *Sink) AlwaysFor(address string, act Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alwaysFor[address] = act
}

// Greylist answers 450 to each client address, sender and recipient that has not asked
// before, until d has passed since it first did; 0 ends that.
func (s *Sink) Greylist(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greylist = d
	clear(s.firstSeen)
}

// Behave takes back all that At, Always, For, AlwaysFor and Greylist said.
func (s *Sink) Behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.next)
	clear(s.always)
	clear(s.nextFor)
	clear(s.alwaysFor)
	s.greylist = 0
}

// SetCertificate changes the certificate for STARTTLS; nil takes STARTTLS away.
func (s *Sink) SetCertificate(c *tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = c
}

// SetExtensions changes what EHLO offers besides STARTTLS.
func (s *Sink) SetExtensions(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extensions = lines
}

// Connections returns how many connections there were.
func (s *Sink) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Commands returns the command lines of all conversations, the last thousand of them.
func (s *Sink) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

func (s *Sink) heard(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.commands) >= 1000 {
		s.commands = append(s.commands[:0], s.commands[500:]...)
	}
	s.commands = append(s.commands, line)
}

// act returns what to do at this occasion.
func (s *Sink) act(when Moment) Act {
	s.mu.Lock()
	defer s.mu.Unlock()
	if acts := s.next[when]; len(acts) > 0 {
		s.next[when] = acts[1:]
		return acts[0]
	}
	return s.always[when]
}

// actFor returns what to do at this RCPT.
func (s *Sink) actFor(client, from, to string) Act {
	s.mu.Lock()
	if s.greylist > 0 {
		key := client + " " + from + " " + to
		first, ok := s.firstSeen[key]
		if !ok {
			first = time.Now()
			s.firstSeen[key] = first
		}
		if time.Since(first) < s.greylist {
			s.mu.Unlock()
			return Act{Reply: "450 4.7.1 greylisted, please try again later"}
		}
	}
	if acts := s.nextFor[to]; len(acts) > 0 {
		s.nextFor[to] = acts[1:]
		s.mu.Unlock()
		return acts[0]
	}
	if act, ok := s.alwaysFor[to]; ok {
		s.mu.Unlock()
		return act
	}
	s.mu.Unlock()
	return s.act(AtRcpt)
}

func (s *Sink) serve(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.connections++
		s.mu.Unlock()
		all.Go(func() {
			end := context.AfterFunc(ctx, func() { c.Close() })
			defer end()
			newTalk(ctx, s, c).run()
		})
	}
}

func (s *Sink) hello() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(append([]string{s.MX}, s.extensions...), "\n")
}

func (s *Sink) certificate() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert
}
