package arc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns/dnstest"
)

const original = "Received: from x by y\r\nFrom: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: Hello\r\n" +
	"  there\r\nDate: Sat, 21 Nov 2026 20:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nHello  Bob \r\n\r\n\r\n"

// A world is hands with keys, and the DNS that knows them.
type world struct {
	names *dnstest.Names
	txt   map[string]string
	keys  map[string]crypto.Signer
}

func newWorld(t testing.TB, domains ...string) *world {
	t.Helper()
	w := &world{names: dnstest.Zone(t, ""), txt: map[string]string{}, keys: map[string]crypto.Signer{}}
	for _, domain := range domains {
		var key crypto.Signer = ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%032d", 1)))
		if domain != "two.example" {
			rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Fatal(err)
			}
			key = rsaKey
		}
		text, err := dkim.RecordText(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		name := dkim.RecordName("s1", domain)
		w.keys[domain], w.txt[name] = key, text
		zone := name + ". TXT"
		for rest := text; rest != ""; rest = rest[min(200, len(rest)):] {
			zone += fmt.Sprintf(" %q", rest[:min(200, len(rest))])
		}
		if err := w.names.Add(zone); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// hand verifies and seals as one hand on the way, and returns the result before.
func (w *world) hand(t testing.TB, m *mail.Message, domain string) Result {
	t.Helper()
	res := Verify(t.Context(), m, w.names)
	s := Sealer{Domain: domain, Selector: "s1", Key: w.keys[domain], Time: time.Unix(1795291200, 0)}
	found := authres.Results{ID: domain, Results: []authres.Result{
		{Method: "spf", Value: "pass", Props: []authres.Prop{{Type: "smtp", Name: "mailfrom", Value: "ann@a.example"}}},
		{Method: "arc", Value: string(res.Status)},
	}}
	fields, err := s.Seal(m, found, res)
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(fields...)
	m.Header.Prepend(mail.NewField("Received", "by "+domain))
	return res
}

func TestChain(t *testing.T) {
	w := newWorld(t, "one.example", "two.example", "three.example")
	m := mail.NewMessage([]byte(original))
	want := []Status{None, Pass, Pass}
	for i, domain := range []string{"one.example", "two.example", "three.example"} {
		if res := w.hand(t, m, domain); res.Status != want[i] || res.Length != i {
			t.Errorf("before %s: %+v", domain, res)
		}
	}
	res := Verify(t.Context(), m, w.names)
	if res.Status != Pass || strings.Join(res.Sealers, " ") != "one.example two.example three.example" {
		t.Errorf("%+v", res)
	}
	for f := range m.Header.All() {
		for line := range strings.Lines(f.Raw()) {
			if len(line) > 200 {
				t.Errorf("a line of %d octets: %q", len(line), line)
			}
		}
	}
}

func TestBrokenChains(t *testing.T) {
	w := newWorld(t, "one.example", "two.example", "three.example")
	m := mail.NewMessage([]byte(original))
	w.hand(t, m, "one.example")
	w.hand(t, m, "two.example")
	text := m.String()
	for name, change := range map[string][2]string{
		"body":                   {"Hello  Bob", "Hello Eve"},
		"subject":                {"Subject: Hello", "Subject: Hullo"},
		"results of the first":   {"i=1; one.example;", "i=1; oneone.example;"},
		"results of the second":  {"i=2; two.example;", "i=2; twotwo.example;"},
		"a gap":                  {"ARC-Seal: i=1;", "ARC-Seal: i=3;"},
		"twice":                  {"ARC-Seal: i=2;", "ARC-Seal: i=1;"},
		"a missing set":          {"ARC-Seal: i=1;", "X-ARC-Seal: i=1;"},
		"too long":               {"ARC-Seal: i=2;", "ARC-Seal: i=51;"},
		"state":                  {"cv=pass", "cv=none"},
		"another field signed":   {"\r\nTo: bob@b.example", "\r\nTo: eve@b.example"},
		"key that is not there":  {"d=two.example;", "d=nobody.example;"},
		"results without number": {"Results: i=1;", "Results:"},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		b := mail.NewMessage([]byte(changed))
		res := Verify(t.Context(), b, w.names)
		if res.Status != Fail || res.Problem == nil || res.Sealers != nil {
			t.Errorf("%s: %+v", name, res)
		}
	}

	// What has failed is sealed once more, as that, and then not again.
	b := mail.NewMessage([]byte(strings.Replace(text, "Hello  Bob", "Hello Eve", 1)))
	w.hand(t, b, "three.example")
	if seal := b.Header.Value(SealName); !strings.Contains(seal, "i=3;") || !strings.Contains(seal, "cv=fail") {
		t.Errorf("the seal of a failed chain: %q", seal)
	}
	res := Verify(t.Context(), b, w.names)
	s := Sealer{Domain: "one.example", Selector: "s1", Key: w.keys["one.example"]}
	if _, err := s.Seal(b, authres.Results{ID: "x"}, res); res.Status != Fail || !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %+v, %v", res, err)
	}
}

func TestFailuresOfDNS(t *testing.T) {
	w := newWorld(t, "one.example", "two.example")
	m := mail.NewMessage([]byte(original))
	w.hand(t, m, "one.example")
	w.hand(t, m, "two.example")
	for _, how := range []dnstest.Failure{dnstest.ServFail, dnstest.Refused, dnstest.Timeout, dnstest.Garbage, dnstest.Lame} {
		for _, domain := range []string{"one.example", "two.example"} {
			w.names.Fail(dkim.RecordName("s1", domain), how)
			res := Verify(t.Context(), m, w.names)
			if res.Status != TempError {
				t.Errorf("failure %d of %s: %+v", how, domain, res)
			}
			s := Sealer{Domain: "one.example", Selector: "s1", Key: w.keys["one.example"]}
			if _, err := s.Seal(m, authres.Results{ID: "x"}, res); !errors.Is(err, ErrDoubt) {
				t.Errorf("sealed in doubt: %v", err)
			}
			w.names.Fail(dkim.RecordName("s1", domain), 0)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := Verify(ctx, m, w.names); res.Status != TempError {
		t.Errorf("cancelled: %+v", res)
	}
}

func TestLongestChain(t *testing.T) {
	w := newWorld(t, "one.example", "two.example")
	m := mail.NewMessage([]byte(original))
	for range MaxInstance {
		w.hand(t, m, "two.example")
	}
	before := w.names.Total()
	start := time.Now()
	res := Verify(t.Context(), m, w.names)
	if d := time.Since(start); res.Status != Pass || res.Length != MaxInstance || w.names.Total()-before != 1 || d > time.Second {
		t.Errorf("%+v in %v after %d queries", res, d, w.names.Total()-before)
	}
	s := Sealer{Domain: "one.example", Selector: "s1", Key: w.keys["one.example"]}
	if _, err := s.Seal(m, authres.Results{ID: "x"}, res); !errors.Is(err, ErrLong) {
		t.Errorf("one more: %v", err)
	}
}

// What we seal dkimpy verifies, and the other way round. It knows RSA only.
func TestDkimpy(t *testing.T) {
	python := peer.NeedPython(t, "dkim")
	w := newWorld(t, "one.example", "three.example")
	ask := func(request map[string]any, answer any) {
		t.Helper()
		in, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "testdata/dkimpy.py")
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dkimpy: %v %s", err, stderr.String())
		}
		if err := json.Unmarshal(out, answer); err != nil {
			t.Fatalf("dkimpy says %q", out)
		}
	}
	m := mail.NewMessage([]byte(original))
	w.hand(t, m, "one.example")
	w.hand(t, m, "three.example")
	request := map[string]any{"message": base64.StdEncoding.EncodeToString([]byte(m.String())), "txt": w.txt}
	var verified struct{ CV, Reason string }
	if ask(request, &verified); verified.CV != "pass" {
		t.Errorf("dkimpy verifies ours: %+v", verified)
	}

	m.Header.Prepend(mail.NewField("Authentication-Results", "one.example; spf=pass smtp.mailfrom=a@a.example; arc=pass"))
	request["message"] = base64.StdEncoding.EncodeToString([]byte(m.String()))
	request["seal"] = map[string]string{"selector": "s1", "domain": "one.example", "id": "one.example", "key": string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(w.keys["one.example"].(*rsa.PrivateKey))}))}
	var sealed struct{ Fields string }
	ask(request, &sealed)
	fields, err := base64.StdEncoding.DecodeString(sealed.Fields)
	if err != nil || len(fields) == 0 {
		t.Fatalf("dkimpy seals nothing: %v", err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(fields), "\r\n", "\n"), "\n", "\r\n") + m.String()
	if res := Verify(t.Context(), mail.NewMessage([]byte(text)), w.names); res.Status != Pass || res.Length != 3 {
		t.Errorf("we verify what dkimpy sealed: %+v", res)
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f, "two.example") // RSA is too slow to fuzz
	m := mail.NewMessage([]byte(original))
	for range 2 {
		res := Verify(f.Context(), m, w.names)
		s := Sealer{Domain: "two.example", Selector: "s1", Key: w.keys["two.example"]}
		fields, err := s.Seal(m, authres.Results{ID: "x"}, res)
		if err != nil {
			f.Fatal(err)
		}
		m.Header.Prepend(fields...)
		f.Add(m.String())
	}
	f.Add("ARC-Seal: i=1\r\nARC-Message-Signature: i=1; h=\r\nARC-Authentication-Results: i=1;\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := mail.NewMessage([]byte(text))
		res := Verify(t.Context(), m, w.names)
		if res.Status == Pass && (res.Length == 0 || len(res.Sealers) != res.Length) {
			t.Fatalf("%+v", res)
		}
		s := Sealer{Domain: "two.example", Selector: "s1", Key: w.keys["two.example"]}
		fields, err := s.Seal(m, authres.Results{ID: "x"}, res)
		if err != nil || res.Status == Fail {
			return
		}
		m.Header.Prepend(fields...)
		if after := Verify(t.Context(), m, w.names); after.Status != Pass {
			t.Fatalf("sealed, but %+v", after)
		}
	})
}
