package cert

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// A memory is what an Issuer knows of one host besides what stands in the zone; the file
// HOST.json holds it. It is written before an order is made, and so a crash at any moment counts
// as a failed order, which can be taken up again by its URL.
type memory struct {
	Request string    `json:"request,omitempty"` // the id of the request that all of this is about
	Tries   int       `json:"tries,omitempty"`   // failed in a row
	Next    time.Time `json:"next,omitzero"`     // no order before
	Error   string    `json:"error,omitempty"`   // the last one

	Order  string      `json:"order,omitempty"`  // the URL of one that was made and has not ended
	Orders []time.Time `json:"orders,omitempty"` // when orders were made, of the last week
	Issued []time.Time `json:"issued,omitempty"` // when certificates came, of the last week

	Chain string `json:"chain,omitempty"` // the last certificate in PEM, leaf first

	Window window `json:"window,omitzero"`

	Challenges []challenge `json:"challenges,omitempty"` // that stand in the zone

	file    string
	resumed bool // an order of the process before us may be taken up at once
}

// A window is when the authority would have a certificate renewed (RFC 9773).
type window struct {
	Serial     string    `json:"serial"` // of the certificate
	Start, End time.Time // as the authority has it
	At         time.Time `json:"at"`    // our choice
	Again      time.Time `json:"again"` // when to ask next
}

// A challenge is a TXT record that we wrote (RFC 8555 section 8.4).
type challenge struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// recall reads what is known of a host; damage reads as nothing known.
func (i *Issuer) recall(host string) *memory {
	m := &memory{file: filepath.Join(i.Dir, host+".json")}
	text, err := os.ReadFile(m.file)
	if err == nil {
		err = json.Unmarshal(text, m)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.Log.Warn("issuer: what was known of a host cannot be read", "host", host, "err", err)
		// Whatever was in it, the guard of orders must not be got around by damage.
		m = &memory{file: m.file, Tries: 1, Next: i.now().Add(failurePause(1, true)), Error: "what was known cannot be read"}
	}
	m.resumed = m.Order != ""
	return m
}

func (m *memory) save() error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(m.file, append(text, '\n'))
}

// about makes m be about a request. What was about another is forgotten, but not how much was
// ordered: who changes the request all the time must wait too.
func (m *memory) about(r *request) {
	if m.Request == r.id() {
		return
	}
	*m = memory{
		Request: r.id(), Orders: m.Orders, Issued: m.Issued, Challenges: m.Challenges, file: m.file,
	}
}

// The most orders and certificates of one host. Let's Encrypt allows five certificates with the
// same names a week, and five failed validations an hour.
const (
	maxOrders = 4 // an hour
	maxIssued = 4 // a week
	week      = 7 * 24 * time.Hour
)

// permitted returns when the next order may be made, as far as its number is concerned.
func (m *memory) permitted(now time.Time) time.Time {
	recent := func(ts []time.Time, span time.Duration) []time.Time {
		return slices.DeleteFunc(slices.Clone(ts), func(t time.Time) bool { return now.Sub(t) >= span })
	}
	m.Orders, m.Issued = recent(m.Orders, week), recent(m.Issued, week)
	at := time.Time{}
	if o := recent(m.Orders, time.Hour); len(o) >= maxOrders {
		at = o[len(o)-maxOrders].Add(time.Hour)
	}
	if n := len(m.Issued); n >= maxIssued {
		at = later(at, m.Issued[n-maxIssued].Add(week))
	}
	return at
}

// failurePause is how long to wait after so many failures: longer where an order was made,
// since authorities count these.
func failurePause(tries int, ordered bool) time.Duration {
	if ordered {
		return min(10*time.Minute<<min(max(tries-1, 0), 10), 12*time.Hour)
	}
	return min(time.Minute<<min(max(tries-1, 0), 10), time.Hour)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// chain returns the last certificate, nil for none.
func (m *memory) chain() []*x509.Certificate {
	chain, err := parseChain([]byte(m.Chain))
	if err != nil {
		return nil
	}
	return chain
}

// parseChain reads certificates in PEM.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return chain, nil
}

// Limits on when to renew: a third of the life before the end, at least the reference's 14
// days, but not more than half of the life.
const leastLead = 14 * 24 * time.Hour

// renewal returns when a certificate is to be renewed: when the authority would have it, but
// within our limit, or else at a third of its life before its end.
func renewal(c *x509.Certificate, w window) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	lead := min(leastLead, life/2)
	if w.Serial == c.SerialNumber.Text(16) && !w.At.IsZero() {
		if latest := c.NotAfter.Add(-lead); w.At.After(latest) {
			return latest
		}
		return w.At
	}
	return c.NotAfter.Add(-max(lead, life/3))
}

// txt returns the record of a challenge.
func (c challenge) txt() *dns.TXTRecord {
	return &dns.TXTRecord{
		Hdr: dns.Header{Name: dns.Canonical(c.Name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: challengeTTL},
		Txt: []string{c.Value},
	}
}

// challengeTTL is short: nobody but the authority asks.
const challengeTTL = 60
