package dns

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var tsigKey = Key{"key.example.", HMACSHA256, Secret("a secret of some length, it is it")}

type noHandler struct{}

func (noHandler) Serve(_ context.Context, r *Request, send func(*Msg) error) error {
	return send(NewResponse(r.Msg, RcodeSuccess))
}

// tsigServer knows tsigKey and the time.
func tsigServer(now time.Time) *Server {
	s := &Server{Handler: noHandler{}, Now: func() time.Time { return now }, Keys: func(name string) (Key, bool) {
		return tsigKey, name == tsigKey.Name
	}}
	s.start()
	return s
}

// ask runs a packed request through a Server without sockets.
func ask(s *Server, wire []byte) (*Request, []byte) {
	r := &Request{Peer: netip.MustParseAddrPort("192.0.2.1:1"), Transport: TCP}
	t, out := s.parse(wire, r)
	if t != nil {
		t.run(context.Background(), func(_ *Msg, w []byte) error { out = w; return nil })
	}
	return r, out
}

func packedUpdate(t testing.TB) []byte {
	t.Helper()
	m := NewUpdate("example")
	m.Id = 0x1234
	m.Insert([]RR{MustParseRR("a.example. 300 TXT x")})
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestTSIGOfRequests(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	signed := func(change func(*tsig), key Key, body []byte) []byte {
		r := &tsig{name: key.Name, algorithm: key.Algorithm, time: uint64(now.Unix()), fudge: 300, origID: 0x1234}
		after := func(*tsig) {}
		if change != nil {
			change(r)
			after = func(r *tsig) { change(r) }
		}
		if r.mac == nil {
			k := key
			if k.Algorithm.hash() == nil {
				k.Algorithm = HMACSHA256
			}
			r.mac = k.mac(withID(body, r.origID), r.variables())
		}
		after(r)
		return r.appendTo(body)
	}
	body := packedUpdate(t)
	at := func(d int) func(*tsig) {
		return func(r *tsig) { r.time = uint64(now.Unix() + int64(d)) }
	}
	cut := func(n int) func(*tsig) {
		return func(r *tsig) {
			if r.mac != nil {
				r.mac = r.mac[:min(n, len(r.mac))]
			}
		}
	}
	other := tsigKey
	other.Secret = Secret("another")
	type result struct{ rcode, tsigError int }
	refusedAs := func(code int) result { return result{RcodeNotAuth, code} }
	for name, c := range map[string]struct {
		wire []byte
		want result
	}{
		"good":             {signed(nil, tsigKey, body), result{}},
		"upper-case name":  {signed(func(r *tsig) { r.name = "KEY.example." }, tsigKey, body), result{}},
		"late by 299":      {signed(at(-299), tsigKey, body), result{}},
		"early by 299":     {signed(at(299), tsigKey, body), result{}},
		"late by 301":      {signed(at(-301), tsigKey, body), refusedAs(RcodeBadTime)},
		"early by 301":     {signed(at(301), tsigKey, body), refusedAs(RcodeBadTime)},
		"fudge of a day":   {signed(func(r *tsig) { at(-3600)(r); r.fudge = 65535 }, tsigKey, body), refusedAs(RcodeBadTime)},
		"no fudge":         {signed(func(r *tsig) { at(-2)(r); r.fudge = 1 }, tsigKey, body), refusedAs(RcodeBadTime)},
		"wrong secret":     {signed(nil, other, body), refusedAs(RcodeBadSig)},
		"unknown key":      {signed(nil, Key{"no.example.", HMACSHA256, Secret("x")}, body), refusedAs(RcodeBadKey)},
		"other algorithm":  {signed(nil, Key{tsigKey.Name, HMACSHA512, tsigKey.Secret}, body), refusedAs(RcodeBadKey)},
		"HMAC-MD5":         {signed(nil, Key{tsigKey.Name, "hmac-md5.sig-alg.reg.int", tsigKey.Secret}, body), refusedAs(RcodeBadKey)},
		"31 octets of MAC": {signed(cut(31), tsigKey, body), refusedAs(RcodeBadTrunc)},
		"16 octets of MAC": {signed(cut(16), tsigKey, body), refusedAs(RcodeBadTrunc)},
		"15 octets of MAC": {signed(cut(15), tsigKey, body), result{rcode: RcodeFormatError}},
		"no MAC":           {signed(cut(0), tsigKey, body), result{rcode: RcodeFormatError}},
		"40 octets of MAC": {signed(func(r *tsig) { r.mac = make([]byte, 40) }, tsigKey, body), result{rcode: RcodeFormatError}},
		"16 wrong octets":  {signed(func(r *tsig) { r.mac = make([]byte, 16) }, tsigKey, body), refusedAs(RcodeBadSig)},
		"forwarded":        {withID(signed(nil, tsigKey, body), 0x4321), result{}},
	} {
		_, out := ask(tsigServer(now), c.wire)
		m := new(Msg)
		if err := m.Unpack(out); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := result{rcode: m.Rcode}
		if ts := m.IsTsig(); ts != nil {
			got.tsigError = int(ts.Error)
			if signs := c.want.tsigError != RcodeBadKey && c.want.tsigError != RcodeBadSig; signs != (ts.MACSize == 32) {
				t.Errorf("%s: the response has a MAC of %d", name, ts.MACSize)
			}
			if (got.tsigError == RcodeBadTime) != (ts.OtherLen == 6) {
				t.Errorf("%s: other data %q", name, ts.OtherData)
			}
		}
		if got != c.want || m.Id != binary.BigEndian.Uint16(c.wire) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Reference clients sign the ID as sent and write an Original ID of 0.
func TestTSIGOfReferenceClients(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	body := packedUpdate(t)
	r := &tsig{name: tsigKey.Name, algorithm: HMACSHA256, time: uint64(now.Unix()), fudge: 300}
	r.mac = tsigKey.mac(body, r.variables())
	req, out := ask(tsigServer(now), r.appendTo(body))
	if req.Key.Name != tsigKey.Name || out[3]&15 != RcodeSuccess {
		t.Fatalf("refused: key %q, rcode %d", req.Key.Name, out[3]&15)
	}
	m := new(Msg)
	if err := m.Unpack(out); err != nil || len(m.Question) != 1 || len(m.Answer)+len(m.Ns) != 0 || len(m.Extra) != 1 || out[2] != 0xa8 {
		t.Errorf("response %v %x, %v", m, out[2:4], err)
	}
}

func TestTSIGPlaces(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	good := (&session{key: tsigKey}).sign(packedUpdate(t), now)
	_, ts, err := cutTSIG(good)
	if err != nil {
		t.Fatal(err)
	}
	count := func(wire []byte, at int, d int) []byte {
		w := slices.Clone(wire)
		binary.BigEndian.PutUint16(w[at:], uint16(int(binary.BigEndian.Uint16(w[at:]))+d))
		return w
	}
	for name, wire := range map[string][]byte{
		"twice":                ts.appendTo(good),
		"junk behind":          append(slices.Clone(good), 0),
		"in authority":         count(count(good, 8, 1), 10, -1),
		"not counted":          count(good, 10, -1),
		"not last":             nil,
		"class IN":             patch(good, ts, 2, "\x00\x01"),
		"TTL 1":                patch(good, ts, 4, "\x00\x00\x00\x01"),
		"compressed algorithm": patch(good, ts, 10, "\xc0\x0c"),
	} {
		if name == "not last" {
			m := new(Msg)
			if err := m.Unpack(good); err != nil {
				t.Fatal(err)
			}
			m.Extra = append(m.Extra, MustParseRR("x.example. A 192.0.2.1"))
			wire, _ = m.Pack()
		}
		r, out := ask(tsigServer(now), wire)
		if !r.Key.IsZero() || len(out) < 12 || out[3]&15 != RcodeFormatError {
			t.Errorf("%s: taken as signed by %q, or answered by %x", name, r.Key.Name, out)
		}
	}
}

// patch overwrites what stands off octets behind the owner of the TSIG record at the end.
func patch(wire []byte, ts *tsig, off int, with string) []byte {
	bare := len(wire) - len(ts.appendTo(make([]byte, 12))) + 12
	w := slices.Clone(wire)
	copy(w[bare+len(packName(nil, ts.name))+off:], with)
	return w
}

// What we sign the wire library verifies, and the other way round.
func TestTSIGAgainstLibrary(t *testing.T) {
	now := time.Now()
	for _, a := range []Algorithm{HMACSHA1, HMACSHA224, HMACSHA256, HMACSHA384, HMACSHA512} {
		k, err := ParseKey("a.b.example:" + string(a) + ":c2VjcmV0IHNlY3JldA==")
		if err != nil {
			t.Fatal(err)
		}
		s := &session{key: k}
		wire := s.sign(packedUpdate(t), now)
		if err := dns.TsigVerify(wire, "c2VjcmV0IHNlY3JldA==", "", false); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		m := new(Msg)
		if err := m.Unpack(packedUpdate(t)); err != nil {
			t.Fatal(err)
		}
		m.Response = true
		m.SetTsig(k.Name, string(a)+".", 300, now.Unix())
		answer, _, err := dns.TsigGenerate(m, "c2VjcmV0IHNlY3JldA==", hex.EncodeToString(s.request), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.verify(answer, now); err != nil {
			t.Errorf("%s: response: %v", a, err)
		}
		answer[13] ^= 1
		if _, err := s.verify(answer, now); err == nil {
			t.Errorf("%s: a changed response is taken", a)
		}
	}
}

func TestTSIGStream(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	client, server := &session{key: tsigKey}, &session{key: tsigKey}
	_, ts, err := cutTSIG(client.sign(packedUpdate(t), now))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.verifyRequest(packedUpdate(t), ts, now); err != nil {
		t.Fatal(err)
	}
	message := func(n byte) []byte {
		b := packedUpdate(t)
		b[1] = n
		return b
	}
	step := func(n byte, sign, ok bool) {
		t.Helper()
		wire := message(n)
		if sign {
			wire = server.sign(wire, now)
		} else {
			server.unsigned = append(server.unsigned, wire...)
		}
		done, err := client.verify(wire, now)
		if (err == nil) != ok || ok && done != sign {
			t.Errorf("message %d: %v, %v", n, done, err)
		}
	}
	step(1, true, true)
	step(2, true, true)
	step(3, false, true)
	step(4, false, true)
	step(5, true, true)
	client.unsigned = append(client.unsigned, 1) // one was inserted
	step(6, true, false)
}

func TestKeysHideTheirSecrets(t *testing.T) {
	k, err := ParseKey("personal._update.x.net:SHA256:PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M=")
	if err != nil {
		t.Fatal(err)
	}
	rr := MustParseRR("personal._update.x.net. DNSKEY 0 3 163 PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M=")
	back, err := KeyFromRecord(rr.(*DNSKEYRecord))
	if err != nil || back.Flag() != k.Flag() || MustParseRR(k.Record()).String() != rr.String() {
		t.Errorf("%v: %s from the record, %s from the flag", err, back.Flag(), k.Flag())
	}
	for _, bad := range []string{
		"", "a", "a:SHA256", "a:MD5:c2VjcmV0", "a:SHA256:c2VjcmV0!", "a:SHA256:", ":SHA256:c2VjcmV0", "a:SHA256:c2Vj:cmV0",
		"a..b:SHA256:c2VjcmV0",
	} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestCookiesOfRFC9018(t *testing.T) {
	secret := func(s string) *CookieSecret {
		b, _ := hex.DecodeString(s)
		return (*CookieSecret)(b)
	}
	for _, c := range []struct { // RFC 9018 appendix A
		secret, client, ip, want string
		at                       uint32
	}{
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100", "010000005cf79f111f8130c3eee29480", 1559731985},
		{"445536bcd2513298075a5d379663c962", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "010000005cf7c609a6bb79d16625507a", 1559741961},
	} {
		client, _ := hex.DecodeString(c.client)
		cookie := secret(c.secret).server(client, netip.MustParseAddr(c.ip), c.at)
		if got := hex.EncodeToString(cookie[:]); got != c.want {
			t.Errorf("cookie %s, want %s", got, c.want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	l := &RateLimit{Same: 10}
	now := time.Unix(1e9, 0)
	count := func(n int, ip, name string) (out [3]int) {
		for range n {
			out[l.judge(netip.MustParseAddr(ip), kind{name: name}, now)]++
		}
		return out
	}
	if got := count(30, "192.0.2.1", "a"); got != [3]int{10, 10, 10} {
		t.Errorf("like responses: %v", got)
	}
	if got := count(10, "192.0.2.77", "a"); got[pass] != 0 {
		t.Errorf("the same network: %v", got)
	}
	if got := count(10, "198.51.100.1", "a"); got[pass] != 10 {
		t.Errorf("another network: %v", got)
	}
	if got := count(10, "192.0.2.1", "b"); got[pass] != 10 {
		t.Errorf("another name: %v", got)
	}
	now = now.Add(500 * time.Millisecond)
	if got := count(20, "192.0.2.1", "a"); got[pass] != 5 {
		t.Errorf("half a second later: %v", got)
	}
	passed := 0
	for i := range 5000 {
		passed += count(1, "203.0.113.1", string(rune('a'+i)))[pass]
	}
	if passed > 300 {
		t.Errorf("%d of 5000 different responses passed", passed)
	}
}

func TestRcodesAreTemporaryForUpdates(t *testing.T) {
	x := ExchangerFunc(func(_ context.Context, q *Msg) (*Msg, error) { return NewResponse(q, RcodeNotAuth), nil })
	var code RcodeError
	if err := Do(t.Context(), x, NewUpdate("example")); !errors.As(err, &code) || int(code) != RcodeNotAuth {
		t.Error(err)
	}
	x = func(context.Context, *Msg) (*Msg, error) { return nil, net.ErrClosed }
	if err := Do(t.Context(), x, NewNotify("example", nil)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
