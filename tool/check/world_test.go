package check

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A world is all that the checks look at, healthy until a test breaks something. What is in it
// is started by run.
type world struct {
	t       *testing.T
	names   string // what a resolver finds, in zone text
	fail    map[string]dnstest.Failure
	parent  parent
	servers map[string]*nameServer
	verdict Verdict
	hosts   map[string]*mailServer // by "IP:port"
	refused map[string]bool        // nothing listens at "IP:port"
	silent  map[string]bool
	policy  func(w http.ResponseWriter, r *http.Request)
	env     Env
	target  Target
	options Options
	issue   func(names ...string) *tls.Certificate
}

// parent is what the servers of example. say.
type parent struct {
	ns, glue []string
	ds       []*dns.DSRecord
	fail     int // a response code instead
}

// A nameServer is one address of a server of our zone.
type nameServer struct {
	zone   string
	rcode  int
	noAA   bool
	udpErr error
	tcpErr error
	dnskey *dns.DNSKEYRecord
}

const healthyZone = `
stage.example. SOA ns1.stage.example. hostmaster.stage.example. 7 7200 900 1209600 300
stage.example. NS ns1.stage.example.
stage.example. NS ns2.other.example.
`

const healthyNames = healthyZone + `
. SOA a.root.example. root.example. 1 7200 900 1209600 300
. NS a.root.example.
example. SOA a.tld.example. root.example. 1 7200 900 1209600 300
example. NS a.tld.example.
a.tld.example. A 203.0.113.1
other.example. SOA ns2.other.example. root.other.example. 1 7200 900 1209600 300
ns1.stage.example. A 192.0.2.53
ns1.stage.example. AAAA 2001:db8::53
ns2.other.example. A 203.0.113.53
stage.example. MX 10 mx.stage.example.
stage.example. TXT "v=spf1 mx -all"
stage.example. CAA 0 issue "letsencrypt.org"
mx.stage.example. A 192.0.2.25
mx.stage.example. AAAA 2001:db8::25
25.2.0.192.in-addr.arpa. PTR mx.stage.example.
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.stage.example.
_dmarc.stage.example. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@stage.example"
_mta-sts.stage.example. TXT "v=STSv1; id=20260101"
mta-sts.stage.example. A 192.0.2.80
_smtp._tls.stage.example. TXT "v=TLSRPTv1; rua=mailto:tls@stage.example"
_submissions._tcp.stage.example. SRV 0 1 465 mx.stage.example.
_submission._tcp.stage.example. SRV 0 1 587 mx.stage.example.
clock.example. A 192.0.2.80
big.example. MX 5 mx.big.example.
mx.big.example. A 203.0.113.125
mx.big.example. AAAA 2001:db8:b::25
large.example. MX 5 mx.large.example.
mx.large.example. A 203.0.113.126
mx.large.example. AAAA 2001:db8:c::25
2.0.0.127.list.example. A 127.0.0.2
test.domains.example. A 127.0.1.2
`

// Keys are made once: those of RSA take their time.
var testKeys = sync.OnceValue(func() []Key {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return []Key{{"rsa", &r.PublicKey}, {"ed", e}}
})

var testCA = sync.OnceValue(func() *lab.CA {
	ca, err := lab.NewCA()
	if err != nil {
		panic(err)
	}
	return ca
})

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, names: healthyNames, fail: map[string]dnstest.Failure{}, verdict: Verdict{State: "secure"},
		hosts: map[string]*mailServer{}, refused: map[string]bool{}, silent: map[string]bool{},
	}
	w.issue = func(names ...string) *tls.Certificate {
		c, err := testCA().Issue(names...)
		if err != nil {
			t.Fatal(err)
		}
		return &c
	}
	w.furnishNames()
	w.furnishHosts()
	state := t.TempDir()
	config := filepath.Join(state, "stagecoach.toml")
	for _, name := range []string{config, filepath.Join(state, "srs.key")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.target = Target{
		Domain: "stage.example", Name: "mx.stage.example", Here: true, Keys: testKeys(), CA: "letsencrypt.org",
		ConfigFile: config, State: state, Clock: "https://clock.example/", Receivers: []string{"big.example", "large.example"},
		Lists: []List{{Zone: "list.example", IPv4: true, Page: "https://list.example/"}, {Zone: "domains.example", Domains: true}},
	}
	w.env = Env{
		Roots: testCA().Pool(), Patience: 20 * time.Second,
		Disk: func(string) (Space, error) { return Space{Free: 10 << 30, Total: 20 << 30}, nil },
	}
	return w
}

func (w *world) furnishNames() {
	key, err := dnstest.NewKey("stage.example.", dnstest.Ed25519, 257)
	if err != nil {
		w.t.Fatal(err)
	}
	w.parent = parent{
		ns:   []string{"ns1.stage.example.", "ns2.other.example."},
		glue: []string{"ns1.stage.example. A 192.0.2.53", "ns1.stage.example. AAAA 2001:db8::53"},
		ds:   []*dns.DSRecord{key.DS(2)},
	}
	w.servers = map[string]*nameServer{}
	for _, ip := range []string{"192.0.2.53", "2001:db8::53", "203.0.113.53"} {
		w.servers[ip] = &nameServer{zone: healthyZone, dnskey: key.Record}
	}
	for _, k := range testKeys() {
		record, err := dkim.Record(k.Selector, "stage.example", k.Public)
		if err != nil {
			w.t.Fatal(err)
		}
		w.names += record + "\n"
	}
	pin := w.issue("mx.stage.example", "stage.example")
	w.names += fmt.Sprintf("_25._tcp.mx.stage.example. TLSA 3 0 0 %X\n", pin.Certificate[0])
	for _, ip := range []string{"192.0.2.25", "[2001:db8::25]"} {
		w.hosts[ip+":25"] = &mailServer{cert: pin}
		w.hosts[ip+":465"] = &mailServer{cert: pin, implicit: true, auth: true}
		w.hosts[ip+":587"] = &mailServer{cert: pin, auth: true}
	}
}

func (w *world) furnishHosts() {
	for _, m := range w.hosts {
		m.greeting, m.name = "220 mx.stage.example ESMTP", "mx.stage.example"
		m.postmaster, m.relay = "250 2.1.5 fine", "550 5.7.1 no relaying"
	}
	for _, ip := range []string{"203.0.113.125", "[2001:db8:b::25]", "203.0.113.126", "[2001:db8:c::25]"} {
		w.hosts[ip+":25"] = &mailServer{greeting: "220 mx.big.example ESMTP", name: "mx.big.example"}
	}
	w.policy = func(o http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(o, "version: STSv1\nmode: enforce\nmx: mx.stage.example\nmax_age: 1209600\n")
	}
}

// replace changes the text of what resolvers find.
func (w *world) replace(old, with string) {
	w.t.Helper()
	if !strings.Contains(w.names, old) {
		w.t.Fatalf("the world has no %q", old)
	}
	w.names = strings.ReplaceAll(w.names, old, with)
}

// run starts the world and makes the checks.
func (w *world) run() *Report {
	w.t.Helper()
	names := dnstest.Zone(w.t, w.names)
	names.Secure = true
	for name, how := range w.fail {
		names.Fail(name, how)
	}
	w.env.Names = names
	w.env.Server = w.server
	w.env.Chain = func(_ context.Context, q *dns.Msg) (Verdict, error) {
		if q.Question[0].Name == "example." {
			return Verdict{State: "secure"}, nil
		}
		return w.verdict, nil
	}
	at := map[string]string{"192.0.2.80:443": w.startHTTPS()}
	for address, m := range w.hosts {
		at[address] = m.start(w.t)
	}
	w.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		switch real := at[address]; {
		case w.silent[address]:
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		case w.refused[address] || real == "":
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		default:
			return new(net.Dialer).DialContext(ctx, network, real)
		}
	}
	r, err := Run(w.t.Context(), &w.env, w.target, w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) startHTTPS() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(w.policy), ReadHeaderTimeout: time.Second, ErrorLog: discard()}
	cert := w.issue("mta-sts.stage.example", "clock.example")
	go s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})) //nolint:errcheck // until Close
	w.t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// server answers for one address.
func (w *world) server(ip netip.Addr, tcp bool) dns.Exchanger {
	if ip.String() == "203.0.113.1" {
		return dns.ExchangerFunc(w.refer)
	}
	s := w.servers[ip.String()]
	if s == nil {
		return dns.ExchangerFunc(func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, syscall.ECONNREFUSED })
	}
	return dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) { return s.exchange(ctx, q, tcp) })
}

func (w *world) refer(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	r := dns.NewResponse(q, w.parent.fail)
	if q.Question[0].Qtype == dns.TypeDS {
		for _, ds := range w.parent.ds {
			r.Answer = append(r.Answer, ds)
		}
		return r, nil
	}
	for _, ns := range w.parent.ns {
		r.Ns = append(r.Ns, dns.MustParseRR("stage.example. 300 NS "+ns))
	}
	for _, glue := range w.parent.glue {
		r.Extra = append(r.Extra, dns.MustParseRR(strings.Replace(glue, " ", " 300 ", 1)))
	}
	return r, nil
}

func (s *nameServer) exchange(ctx context.Context, q *dns.Msg, tcp bool) (*dns.Msg, error) {
	if tcp && s.tcpErr != nil {
		return nil, s.tcpErr
	}
	if !tcp && s.udpErr != nil {
		return nil, s.udpErr
	}
	if s.rcode != 0 {
		return dns.NewResponse(q, s.rcode), nil
	}
	zone, err := dnstest.New(s.zone)
	if err != nil {
		return nil, err
	}
	r, err := zone.Exchange(ctx, q)
	if err != nil {
		return nil, err
	}
	if r.Authoritative = !s.noAA; q.Question[0].Qtype == dns.TypeDNSKEY && s.dnskey != nil {
		r.Answer = []dns.RR{s.dnskey}
	}
	return r, nil
}
