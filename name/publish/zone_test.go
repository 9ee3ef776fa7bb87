package publish

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/name/authority"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

const (
	signerKey   = "signer._update.x.example"
	personalKey = "personal._update.x.example"
	hookKey     = "hook._notify.x.example"
	secret      = "PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="
	zoneText    = "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\n@ TXT \"site=1\"\nns A 127.0.0.1\n"
	grantText   = signerKey + ". TXT *._domainkey\n"
)

// A zone is the authority for x.example, with its files in a folder.
type zone struct {
	t    testing.TB
	dir  string
	a    *authority.Authority
	down atomic.Bool
	mu   sync.Mutex
	sent int // UPDATEs
}

func newZone(t testing.TB, text string) *zone {
	t.Helper()
	z := &zone{t: t, dir: t.TempDir()}
	keys := ""
	for _, name := range []string{signerKey, personalKey, hookKey} {
		keys += parsed(t, name).Record() + "\n"
	}
	for name, text := range map[string]string{"x.example": zoneText + text, "x.example._keys": keys, "x.example._grants": grantText} {
		if err := os.WriteFile(filepath.Join(z.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Open(z.dir, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	z.a = &authority.Authority{Repo: r}
	if err := z.a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return z
}

func parsed(t testing.TB, name string) dns.Key {
	t.Helper()
	k, err := dns.ParseKey(name + ":SHA256:" + secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var errDown = errors.New("the name server is down")

// as asks the authority under a key, without a wire.
func (z *zone) as(key string) Writer {
	k := parsed(z.t, key)
	return Writer{Key: key, Server: dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		if z.down.Load() {
			return nil, errDown
		}
		wire, err := q.Pack() // as over the wire
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			return nil, err
		}
		if q.Opcode == dns.OpcodeQuery {
			return z.a.Exchange(ctx, m)
		}
		z.mu.Lock()
		z.sent++
		z.mu.Unlock()
		var answer *dns.Msg
		r := &dns.Request{Msg: m, Key: k, MAC: []byte(rand.Text()), Signed: time.Now().Add(2 * time.Second), Transport: dns.TCP, Peer: netip.MustParseAddrPort("127.0.0.1:1")}
		err = z.a.Serve(ctx, r, func(m *dns.Msg) error { answer = m; return nil })
		return answer, err
	})}
}

func (z *zone) updates() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.sent
}

func (z *zone) texts(name string) []string {
	z.t.Helper()
	out, err := dns.TXT(z.t.Context(), z.a, name)
	if err != nil && !dns.IsNegative(err) {
		z.t.Fatal(err)
	}
	return out
}

// listen serves the zone over the wire.
func (z *zone) listen() netip.AddrPort {
	z.t.Helper()
	conns, l, err := dns.Listen(z.t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		z.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &dns.Server{Handler: z.a, Keys: z.a.Key}
	var work sync.WaitGroup
	work.Go(func() { s.ServePacket(ctx, conns...) })
	work.Go(func() { s.Serve(ctx, l) })
	z.t.Cleanup(func() { cancel(); work.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func background(t testing.TB, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { f(ctx) })
	stop = func() { cancel(); work.Wait() }
	t.Cleanup(stop)
	return stop
}

// Several writers at once lose nothing of each other's, nor of what others have at the name.
func TestWritersAtOnce(t *testing.T) {
	z := newZone(t, "")
	var work sync.WaitGroup
	for n := range 4 {
		mine := fmt.Sprintf("writer%d=", n)
		work.Go(func() {
			for i := range 5 {
				want := Want{
					RRs:  []dns.RR{TXT("x.example", fmt.Sprint(mine, i))},
					Ours: func(rr dns.RR) bool { return strings.HasPrefix(textOf(rr), mine) },
				}
				for {
					_, changed, err := z.as(personalKey).Put(t.Context(), want)
					if err == nil && changed {
						break
					}
					if err == nil || !strings.Contains(err.Error(), "something else stands there") {
						t.Errorf("%v, changed %v", err, changed)
						return
					}
				}
			}
		})
	}
	work.Wait()
	got := strings.Join(z.texts("x.example"), " ")
	for _, want := range []string{"site=1", "writer0=4", "writer1=4", "writer2=4", "writer3=4"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if n := len(z.texts("x.example")); n != 5 {
		t.Errorf("%d records: %s", n, got)
	}
	before := z.updates()
	if _, changed, err := z.as(personalKey).Put(t.Context(), Want{RRs: []dns.RR{TXT("x.example", "writer0=4")},
		Ours: func(rr dns.RR) bool { return strings.HasPrefix(textOf(rr), "writer0=") }}); changed || err != nil || z.updates() != before {
		t.Errorf("what is there is written again: %v, %v", changed, err)
	}
}

// What is refused is told with the key, the record, and what is missing; and never with a secret.
func TestRefusals(t *testing.T) {
	z := newZone(t, "alias CNAME ns\n")
	at := z.listen()
	for _, c := range []struct {
		name, key, secret, record string
		refusal                   bool
		want                      []string
	}{
		{"a grant is missing", signerKey, secret, "x.example", true,
			[]string{"REFUSED", "signer._update.x.example", "x.example TXT", `x.example._grants narrows the key it needs the line "signer._update.x.example TXT x.example."`}},
		{"no such key", "other._update.x.example", secret, "x.example", true, []string{"other._update.x.example", "BADKEY", "_keys"}},
		{"another secret", signerKey, strings.Replace(secret, "PAPP", "QQQQ", 1), "x.example", true, []string{"BADSIG", "another secret"}},
		{"no right", hookKey, secret, "x.example", true, []string{"NOTAUTH", "_update.x.example"}},
		{"no such zone", personalKey, secret, "y.example", true, []string{"REFUSED", "y.example TXT"}},
		{"an alias", personalKey, secret, "alias.x.example", false, []string{"alias (CNAME)"}},
	} {
		k, err := dns.ParseKey(c.key + ":SHA256:" + c.secret)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Writer{Server: Server(at, k), Key: c.key}.Put(t.Context(), Want{RRs: []dns.RR{TXT(c.record, "v=x")}})
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) != c.refusal {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is missing in %q", c.name, want, err)
			}
		}
		if strings.Contains(err.Error(), "PAPP") || strings.Contains(err.Error(), "QQQQ") {
			t.Errorf("%s: the secret is told", c.name)
		}
	}
	gone := Writer{Server: Server(netip.MustParseAddrPort("127.0.0.1:1"), parsed(t, signerKey)), Key: signerKey}
	var refusal *Refusal
	if _, _, err := gone.Put(t.Context(), Want{RRs: []dns.RR{TXT("x.example", "v=x")}}); err == nil || errors.As(err, &refusal) {
		t.Errorf("nobody there: %v", err)
	}
}
