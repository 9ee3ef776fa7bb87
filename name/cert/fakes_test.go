package cert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// A memZone is a primary in memory. It knows what UPDATEs of this package need.
type memZone struct {
	mu      sync.Mutex
	soa     *dns.SOARecord
	rrs     []dns.RR
	ears    map[int]func(*dns.SOARecord)
	next    int
	updates int
	down    bool
	may     func(m *dns.Msg) bool // nil: all
}

func newMemZone() *memZone {
	return &memZone{
		soa:  dns.MustParseRR("x.example. 60 SOA ns.x.example. h.x.example. 1 3600 600 86400 60").(*dns.SOARecord),
		ears: map[int]func(*dns.SOARecord){},
	}
}

var errDown = fmt.Errorf("the name server is down")

func (z *memZone) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	// as over the wire
	wire, err := q.Pack()
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.down {
		return nil, errDown
	}
	if m.Opcode == dns.OpcodeUpdate {
		return dns.NewResponse(m, z.update(m)), nil
	}
	r := dns.NewResponse(m, dns.RcodeSuccess)
	name, t := dns.Canonical(m.Question[0].Name), m.Question[0].Qtype
	if t == dns.TypeSOA {
		r.Answer = []dns.RR{dns.Copy(z.soa)}
		return r, nil
	}
	for _, rr := range z.rrs {
		if dns.Canonical(rr.Header().Name) == name && rr.Header().Rrtype == t {
			r.Answer = append(r.Answer, dns.Copy(rr))
		}
	}
	if len(r.Answer) == 0 {
		r.Ns = []dns.RR{dns.Copy(z.soa)}
	}
	return r, nil
}

func (z *memZone) set(name string, t uint16) (out []dns.RR) {
	for _, rr := range z.rrs {
		if dns.Canonical(rr.Header().Name) == dns.Canonical(name) && rr.Header().Rrtype == t {
			out = append(out, rr)
		}
	}
	return out
}

// read is set for tests.
func (z *memZone) read(name string, t uint16) []dns.RR {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.set(name, t)
}

func (z *memZone) allow(may func(*dns.Msg) bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.may = may
}

func (z *memZone) update(m *dns.Msg) int {
	if z.may != nil && !z.may(m) {
		return dns.RcodeRefused
	}
	sets := map[string][]dns.RR{}
	for _, rr := range m.Answer {
		h := rr.Header()
		have := z.set(h.Name, h.Rrtype)
		if h.Class == dns.ClassNONE && len(have) > 0 {
			return dns.RcodeYXRrset
		}
		if h.Class == dns.ClassINET {
			k := fmt.Sprint(dns.Canonical(h.Name), h.Rrtype)
			sets[k] = append(sets[k], rr)
			if !slices.ContainsFunc(have, func(o dns.RR) bool { return dns.Equal(o, rr) }) {
				return dns.RcodeNXRrset
			}
		}
	}
	for _, want := range sets {
		if len(z.set(want[0].Header().Name, want[0].Header().Rrtype)) != len(want) {
			return dns.RcodeNXRrset
		}
	}
	for _, rr := range m.Ns {
		h := rr.Header()
		z.rrs = slices.DeleteFunc(z.rrs, func(o dns.RR) bool {
			same := dns.Canonical(o.Header().Name) == dns.Canonical(h.Name) && o.Header().Rrtype == h.Rrtype
			if h.Class == dns.ClassANY {
				return same
			}
			c := dns.Copy(rr)
			c.Header().Class = dns.ClassINET
			return same && dns.Equal(o, c)
		})
		if h.Class == dns.ClassINET {
			z.rrs = append(z.rrs, dns.Copy(rr))
		}
	}
	z.updates++
	z.changed()
	return dns.RcodeSuccess
}

// changed raises the serial and tells those who listen. The lock is held.
func (z *memZone) changed() {
	soa := dns.Copy(z.soa).(*dns.SOARecord)
	soa.Serial++
	z.soa = soa
	for _, f := range z.ears {
		f(soa)
	}
}

// edit changes the records by hand.
func (z *memZone) edit(f func([]dns.RR) []dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rrs = f(z.rrs)
	z.changed()
}

func (z *memZone) shelf(host string) *shelf {
	z.mu.Lock()
	defer z.mu.Unlock()
	var out []*dns.TLSARecord
	for _, rr := range z.set(Owner(host), dns.TypeTLSA) {
		out = append(out, rr.(*dns.TLSARecord))
	}
	return readShelf(Owner(host), out)
}

func (z *memZone) Transfer(context.Context, string, *dns.SOARecord) (*dns.Transfer, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.down {
		return nil, errDown
	}
	return &dns.Transfer{SOA: z.soa, Records: append([]dns.RR{z.soa}, z.rrs...)}, nil
}

func (z *memZone) Subscribe(ctx context.Context, _ string, _ time.Duration, changed func(*dns.SOARecord)) error {
	z.mu.Lock()
	if z.down {
		z.mu.Unlock()
		return errDown
	}
	n := z.next
	z.next++
	z.ears[n] = changed
	changed(z.soa)
	z.mu.Unlock()
	<-ctx.Done()
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.ears, n)
	return ctx.Err()
}

// A fakeCA is an ACME server in memory (RFC 8555) that believes signatures, and looks
// challenges up in a zone.
type fakeCA struct {
	url  string // of its own, since the library remembers directories
	zone *memZone
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	life time.Duration

	mu       sync.Mutex
	n        int
	orders   map[string]*fakeOrder
	certs    map[string][]byte
	made     int // orders
	issued   int
	requests int
	down     bool
	refuse   func(path string) (status int, problem string, header http.Header) // status 0: no
	window   func(*x509.Certificate) (start, end time.Time)                     // nil: no ARI
	known    map[string]*x509.Certificate
	replaces []string
}

type fakeOrder struct {
	names    []string
	proved   map[string]bool
	invalid  bool
	cert     string
	replaces string
}

func newFakeCA(t testing.TB, z *memZone, life time.Duration) *fakeCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeCA{url: "https://" + strings.ToLower(rand.Text()) + ".example", zone: z, key: key, life: life, orders: map[string]*fakeOrder{}, certs: map[string][]byte{}, known: map[string]*x509.Certificate{}}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fake CA"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if f.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fakeCA) client() *http.Client { return &http.Client{Transport: f} }

func (f *fakeCA) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if f.down {
		return nil, fmt.Errorf("connection refused")
	}
	var payload []byte
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var jws struct{ Payload string }
		if err := json.Unmarshal(text, &jws); err == nil {
			payload, _ = base64.RawURLEncoding.DecodeString(jws.Payload)
		}
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1}
	f.n++
	resp.Header.Set("Replay-Nonce", fmt.Sprint("nonce", f.n))
	var body any
	if f.refuse != nil {
		if status, problem, header := f.refuse(r.URL.Path); status != 0 {
			resp.StatusCode = status
			for k, v := range header {
				resp.Header[k] = v
			}
			body = map[string]any{"type": "urn:ietf:params:acme:error:" + problem, "detail": "as the test wants", "status": status}
			resp.Header.Set("Content-Type", "application/problem+json")
		}
	}
	if body == nil {
		resp.Header.Set("Content-Type", "application/json")
		body = f.answer(r.URL.Path, payload, resp)
	}
	text, ok := body.([]byte)
	if !ok {
		text, _ = json.Marshal(body)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return resp, nil
}

func (f *fakeCA) answer(path string, payload []byte, resp *http.Response) any {
	id := path[strings.LastIndex(path, "/")+1:]
	switch {
	case path == "/dir":
		d := map[string]any{"newNonce": f.url + "/nonce", "newAccount": f.url + "/account", "newOrder": f.url + "/new"}
		if f.window != nil {
			d["renewalInfo"] = f.url + "/ari"
		}
		return d
	case path == "/account":
		resp.StatusCode = 201
		resp.Header.Set("Location", f.url+"/account/1")
		return map[string]any{"status": "valid"}
	case path == "/new":
		return f.newOrder(payload, resp)
	case strings.HasPrefix(path, "/order/"):
		return f.order(id)
	case strings.HasPrefix(path, "/authz/"):
		return f.authz(id)
	case strings.HasPrefix(path, "/chall/"):
		f.look(id)
		return map[string]any{"type": "dns-01", "url": f.url + path, "status": "processing", "token": "token" + id}
	case strings.HasPrefix(path, "/finalize/"):
		f.finalize(id, payload)
		resp.Header.Set("Location", f.url+"/order/"+id)
		return f.order(id)
	case strings.HasPrefix(path, "/cert/"):
		resp.Header.Set("Content-Type", "application/pem-certificate-chain")
		return f.certs[id]
	case strings.HasPrefix(path, "/ari/"):
		start, end := f.window(f.known[id])
		resp.Header.Set("Retry-After", "21600")
		return map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}}
	}
	return map[string]any{}
}

func (f *fakeCA) newOrder(payload []byte, resp *http.Response) any {
	var asked struct {
		Identifiers []struct{ Value string }
		Replaces    string
	}
	json.Unmarshal(payload, &asked)
	o := &fakeOrder{proved: map[string]bool{}, replaces: asked.Replaces}
	for _, i := range asked.Identifiers {
		o.names = append(o.names, i.Value)
	}
	f.made++
	id := fmt.Sprint(f.made)
	f.orders[id] = o
	f.replaces = append(f.replaces, asked.Replaces)
	resp.StatusCode = 201
	resp.Header.Set("Location", f.url+"/order/"+id)
	return f.order(id)
}

func (f *fakeCA) order(id string) any {
	o := f.orders[id]
	status := "ready"
	var authz []string
	var names []map[string]string
	for n, name := range o.names {
		authz = append(authz, fmt.Sprintf("%s/authz/%s-%d", f.url, id, n))
		names = append(names, map[string]string{"type": "dns", "value": name})
		if !o.proved[name] {
			status = "pending"
		}
	}
	out := map[string]any{"identifiers": names, "authorizations": authz, "finalize": f.url + "/finalize/" + id}
	switch {
	case o.invalid:
		status = "invalid"
	case o.cert != "":
		status = "valid"
		out["certificate"] = f.url + "/cert/" + o.cert
	}
	out["status"] = status
	return out
}

func (f *fakeCA) split(id string) (o *fakeOrder, name string) {
	order, n, _ := strings.Cut(id, "-")
	var at int
	fmt.Sscan(n, &at)
	return f.orders[order], f.orders[order].names[at]
}

func (f *fakeCA) authz(id string) any {
	o, name := f.split(id)
	status := "pending"
	switch {
	case o.proved[name]:
		status = "valid"
	case o.invalid:
		status = "invalid"
	}
	return map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": strings.TrimPrefix(name, "*.")},
		"wildcard": strings.HasPrefix(name, "*."),
		"challenges": []map[string]any{
			{"type": "http-01", "url": f.url + "/no", "token": "x", "status": "pending"},
			{"type": "dns-01", "url": f.url + "/chall/" + id, "token": "token" + id, "status": "pending"},
		},
	}
}

// look validates a challenge; the thumbprint is not checked, the number of texts is.
func (f *fakeCA) look(id string) {
	o, name := f.split(id)
	texts, err := dns.TXT(context.Background(), f.zone, "_acme-challenge."+strings.TrimPrefix(name, "*."))
	ok := slices.ContainsFunc(texts, func(s string) bool { return len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size) })
	if err == nil && ok {
		o.proved[name] = true
	} else {
		o.invalid = true
	}
}

func (f *fakeCA) finalize(id string, payload []byte) {
	var asked struct{ CSR string }
	json.Unmarshal(payload, &asked)
	der, _ := base64.RawURLEncoding.DecodeString(asked.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	o := f.orders[id]
	if err != nil {
		o.invalid = true
		return
	}
	f.issued++
	leaf, chain := f.sign(csr.PublicKey, o.names, time.Now(), time.Now().Add(f.life))
	o.cert = fmt.Sprint(f.issued)
	f.certs[o.cert] = chain
	f.known[ariID(leaf)] = leaf
}

// sign makes a certificate, and the chain in PEM.
func (f *fakeCA) sign(public any, names []string, from, until time.Time) (*x509.Certificate, []byte) {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: names, NotBefore: from.UTC(), NotAfter: until.UTC(), AuthorityKeyId: []byte{1, 2, 3},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, f.cert, public, f.key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	var out []byte
	for _, c := range [][]byte{der, f.cert.Raw} {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return leaf, out
}

func (f *fakeCA) counts() (made, issued int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made, f.issued
}

func (f *fakeCA) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func (f *fakeCA) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}
