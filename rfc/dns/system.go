package dns

import (
	"context"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ResolvConf is where System finds the machine's name servers.
const ResolvConf = "/etc/resolv.conf"

// recheck is how long System believes that the file is unchanged.
const recheck = 5 * time.Second

// System returns an Exchanger that asks the name servers of the machine, as /etc/resolv.conf
// names them, and reads the file again when it changes. Without the file, or without a server
// in it, 127.0.0.1 is asked. The AD bit is believed where the file says "options trust-ad".
func System() Exchanger { return &system{path: ResolvConf, now: time.Now} }

// SystemFrom is System with another file.
func SystemFrom(path string) Exchanger { return &system{path: path, now: time.Now} }

type system struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	client  *Client
	checked time.Time
	stamp   fileStamp
}

type fileStamp struct {
	mod  time.Time
	size int64
	ok   bool
}

func (s *system) Exchange(ctx context.Context, q *Msg) (*Msg, error) {
	return s.current().Exchange(ctx, q)
}

// current returns the client for the file as it is. A file that cannot be read for the moment
// leaves the last one in force.
func (s *system) current() *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.client != nil && now.Sub(s.checked) < recheck {
		return s.client
	}
	s.checked = now
	stamp := stampOf(s.path)
	if s.client != nil && stamp == s.stamp {
		return s.client
	}
	text, err := os.ReadFile(s.path)
	if err == nil || s.client == nil {
		s.client, s.stamp = parseResolvConf(string(text)), stamp
	}
	return s.client
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info.ModTime(), info.Size(), true}
}

// parseResolvConf reads what resolv.conf(5) describes, as far as it concerns us: nameserver,
// and timeout, attempts, trust-ad and use-vc among the options. At most three servers count.
func parseResolvConf(text string) *Client {
	c := &Client{Timeout: 5 * time.Second, Attempts: 2}
	transport := UDP
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == "nameserver" && len(c.Servers) < 3:
			if ip, err := netip.ParseAddr(f[1]); err == nil {
				c.Servers = append(c.Servers, Nameserver{Transport: UDP, Addr: netip.AddrPortFrom(ip.Unmap(), 53)})
			}
		case len(f) >= 2 && f[0] == "options":
			for _, o := range f[1:] {
				if o == "use-vc" {
					transport = TCP
				}
				c.option(o)
			}
		}
	}
	if len(c.Servers) == 0 {
		c.Servers = []Nameserver{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}
	}
	for i := range c.Servers {
		c.Servers[i].Transport = transport
	}
	return c
}

// option applies one word of an options line; numbers are capped as glibc caps them.
func (c *Client) option(o string) {
	key, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	switch {
	case key == "trust-ad":
		c.Trust = true
	case key == "timeout" && err == nil && n > 0:
		c.Timeout = time.Duration(min(n, 30)) * time.Second
	case key == "attempts" && err == nil && n > 0:
		c.Attempts = min(n, 5)
	}
}
