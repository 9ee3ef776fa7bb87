package check

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"stagecoach/rfc/dns"
)

// An Env is the world as a check reaches it. Names is needed; the rest has defaults.
type Env struct {
	// Names resolves; it should be a validating resolver that asks nobody else, as block
	// lists answer no public ones.
	Names dns.Exchanger
	// Chain says whether the answer to a question can be trusted; nil leaves DNSSEC out.
	Chain func(ctx context.Context, q *dns.Msg) (Verdict, error)
	// Server asks one name server, over TCP or UDP; nil asks port 53.
	Server func(ip netip.Addr, tcp bool) dns.Exchanger
	// Dial connects to "IP:port"; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are the certification authorities that are trusted; nil is the system's.
	Roots *x509.CertPool
	// Now is the time; nil is time.Now.
	Now func() time.Time
	// Local returns the addresses of this machine; nil asks the system.
	Local func() ([]netip.Addr, error)
	// Disk returns the free and all octets of the file system that holds a path, and its free
	// and all files; nil asks the system.
	Disk func(path string) (Space, error)

	Ports Ports
	// Private says that addresses which the world cannot reach are no mistake: in a lab.
	Private bool
	// Patience is for one try to connect, or one answer; 0 is 8 s.
	Patience time.Duration
}

// Space is the room on a file system.
type Space struct{ Free, Total, FreeFiles, Files uint64 }

// Ports say where servers listen; 0 is the well-known port.
type Ports struct{ DNS, SMTP, Submissions, Submission, HTTPS uint16 }

// A Verdict is what DNSSEC validation says of an answer.
type Verdict struct {
	State string   // "secure", "insecure", "bogus" or "indeterminate" (RFC 4035 section 4.3)
	Steps []string // how that was found, the last ones telling why
}

// A Target is the domain and what is known of its service. Only Domain is needed.
type Target struct {
	Domain    string // canonical
	Name      string // the host name of the service, "" for unknown
	Addresses []netip.Addr
	// Addresses are those that mail is sent from; nil are those of Name, else of the MX hosts.

	Here bool // this machine is the domain's mail server, whatever its addresses are

	Keys      []Key // that mail is signed with
	KeysErr   error // why they cannot be read
	Selectors []string
	// Selectors are looked at without knowing the key behind them.

	CA string // the domain by which CAA records name the authority of our certificates, as "letsencrypt.org"; "" for unknown

	ConfigFile string // "" for none
	ConfigErr  error  // what is wrong with it
	State      string // folder of the service, "" for unknown
	Private    []string
	// Private are more files that nobody else may read.

	Clock     string   // "https://HOST/" or "ntp:HOST", to compare the clock with; "" for none
	Receivers []string // domains whose mail servers are tried on port 25; nil: none
	Lists     []List   // block lists; nil: none
}

// A Key is a key that mail is signed with.
type Key struct {
	Selector string
	Public   crypto.PublicKey
}

func (e *Env) withDefaults() *Env {
	out := *e
	if out.Dial == nil {
		out.Dial = new(net.Dialer).DialContext
	}
	if out.Now == nil {
		out.Now = time.Now
	}
	if out.Local == nil {
		out.Local = localAddresses
	}
	if out.Disk == nil {
		out.Disk = diskSpace
	}
	if out.Patience == 0 {
		out.Patience = 8 * time.Second
	}
	p := &out.Ports
	for _, port := range []struct {
		to    *uint16
		usual uint16
	}{{&p.DNS, 53}, {&p.SMTP, 25}, {&p.Submissions, 465}, {&p.Submission, 587}, {&p.HTTPS, 443}} {
		if *port.to == 0 {
			*port.to = port.usual
		}
	}
	if out.Server == nil {
		out.Server = func(ip netip.Addr, tcp bool) dns.Exchanger {
			n := dns.Nameserver{Transport: dns.UDP, Addr: netip.AddrPortFrom(ip, p.DNS)}
			if tcp {
				n.Transport = dns.TCP
			}
			return &dns.Client{Servers: []dns.Nameserver{n}}
		}
	}
	return &out
}

// dial connects to a port of an address, and tries a second time where nobody answered.
func (e *Env) dial(ctx context.Context, ip netip.Addr, port uint16) (net.Conn, error) {
	var conn net.Conn
	var err error
	for range 2 {
		one, cancel := context.WithTimeout(ctx, e.Patience)
		conn, err = e.Dial(one, "tcp", netip.AddrPortFrom(ip, port).String())
		cancel()
		if err == nil || !isSilence(err) || ctx.Err() != nil {
			break
		}
	}
	return conn, inTime(ctx, err)
}

// tlsConfig checks nothing: whoever shakes hands looks at the certificate afterwards, to say
// all that is wrong with it.
func (e *Env) tlsConfig(host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, Time: e.Now} //nolint:gosec // see above
}

func localAddresses() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, err
}
