package cert

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// The directories of Let's Encrypt.
const (
	Production = "https://acme-v02.api.letsencrypt.org/directory"
	Staging    = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// An Account is known to the authority by its key.
type Account struct {
	Key   crypto.Signer
	Email string // that the authority may write to; "" for none
	// KeyID and MACKey (base64url) bind the account to one that the authority knows from
	// elsewhere (RFC 8555 section 7.3.4); "" for none.
	KeyID, MACKey string
}

// An Issuer gets the certificates that zones ask for. It keeps no copy of a zone for others,
// and nobody needs to know where it is.
//
// The fields are set before Run.
type Issuer struct {
	Zones     []string
	Primary   Primary // may read and write the zones
	Account   Account
	Directory string       // of the ACME server (RFC 8555 section 7.1.1)
	HTTP      *http.Client // nil: the default one
	// Resolver finds the name servers of a zone that are outside of it; nil: they are not waited for.
	Resolver dns.Exchanger
	// Port is where the name servers of the zones listen; 0 is 53.
	Port uint16
	// AnyNames lets a request have any names of the zone, as the reference does. Otherwise a
	// request at a host may name that host, what is below it, and hosts at which the same
	// request stands: who may not write there cannot have a certificate for them.
	AnyNames bool
	// Dir keeps what was ordered and what came of it, so that a restart orders nothing twice.
	// Nobody else writes to it.
	Dir  string
	Poll time.Duration    // how often to ask whether a zone has changed, besides being told; 0 is 5 minutes
	Log  *slog.Logger     // nil is silence
	Now  func() time.Time // nil is time.Now

	server   *ca
	watches  []*watch
	slots    chan struct{}                         // orders at once
	exchange func(at netip.AddrPort) dns.Exchanger // for tests; nil: over the wire

	mu       sync.Mutex
	statuses map[string]Status
}

// A Status says how it stands with one name.
type Status struct {
	Host     string
	NotAfter time.Time // of the certificate in the zone; zero for none
	Renewal  time.Time // when the next one is due
	Next     time.Time // no order before; zero if there is nothing to wait for
	Failures int       // in a row
	Error    string    // the last one, "" after a success
}

// atOnce is how many orders are in work.
const atOnce = 4

// Load reads what is remembered.
func (i *Issuer) Load() error {
	if i.Log == nil {
		i.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case i.Account.Key == nil:
		return errors.New("issuer: the account has no key")
	case i.Directory == "" || len(i.Zones) == 0:
		return errors.New("issuer: neither a directory nor zones are known")
	case i.Dir == "":
		return errors.New("issuer: no folder is known to remember orders in")
	}
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	i.statuses = map[string]Status{}
	i.slots = make(chan struct{}, atOnce)
	i.server = newCA(i)
	for _, z := range i.Zones {
		zone := dns.Canonical(z)
		if !dns.IsName(zone) || zone == "." {
			return fmt.Errorf("issuer: %q is no zone", z)
		}
		i.watches = append(i.watches, newWatch(i, zone))
	}
	return nil
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// Run follows the zones until ctx ends.
func (i *Issuer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, w := range i.watches {
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Wake has the zones read again at once.
func (i *Issuer) Wake() {
	for _, w := range i.watches {
		w.poke()
	}
}

var _ dns.Handler = (*Issuer)(nil)

// Serve takes NOTIFYs (RFC 1996) that are signed; it answers nothing else. It is for name
// servers that connect to us instead of using our connection to them.
func (i *Issuer) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	m := dns.NewResponse(r.Msg, dns.RcodeSuccess)
	m.Authoritative = true
	if r.Msg.Opcode != dns.OpcodeNotify || r.Key.IsZero() {
		m.Rcode = dns.RcodeRefused
		return send(m)
	}
	zone := dns.Canonical(r.Msg.Question[0].Name)
	at := slices.IndexFunc(i.watches, func(w *watch) bool { return w.zone == zone })
	if at < 0 {
		m.Rcode = dns.RcodeNotAuth
		return send(m)
	}
	i.watches[at].poke()
	return send(m)
}

// Status returns how it stands with all names that asked, in their order.
func (i *Issuer) Status() []Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []Status
	for _, s := range i.statuses {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

func (i *Issuer) report(s Status) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.statuses[s.Host] = s
}

// forget drops names that ask no more.
func (i *Issuer) forget(zone string, asked map[string]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for host := range i.statuses {
		if dns.IsSubdomain(zone, host) && !asked[host] {
			delete(i.statuses, host)
		}
	}
}
