package dkim

import (
	"bufio"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"os/exec"
	"strings"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
)

// An oracle is another implementation, run by a script in testdata.
type oracle struct {
	name string
	in   io.Writer
	out  *bufio.Scanner
}

func startOracle(t *testing.T, name string, modules ...string) *oracle {
	t.Helper()
	python := peer.NeedPython(t, modules...)
	cmd := exec.Command(python, "testdata/"+name+".py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait() //nolint:errcheck // what it did was judged
	})
	o := &oracle{name: name, in: in, out: bufio.NewScanner(out)}
	o.out.Buffer(nil, 16<<20)
	return o
}

func dkimpy(t *testing.T) *oracle { return startOracle(t, "dkimpy", "dkim", "nacl") }

func opendkim(t *testing.T) *oracle {
	python := peer.NeedPython(t, "ctypes")
	if exec.Command(python, "-c", `import ctypes; ctypes.CDLL("libopendkim.so.11")`).Run() != nil {
		peer.Missing(t, "no libopendkim")
	}
	return startOracle(t, "opendkim", "ctypes")
}

type answer struct {
	Passed []bool
	Field  string
	Error  string
}

func (o *oracle) ask(t *testing.T, request map[string]any) answer {
	t.Helper()
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	if !o.out.Scan() {
		t.Fatalf("%s: no answer: %v", o.name, o.out.Err())
	}
	var a answer
	if err := json.Unmarshal(o.out.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	return a
}

func (o *oracle) verify(t *testing.T, m *mail.Message, records map[string]string) []bool {
	t.Helper()
	a := o.ask(t, map[string]any{
		"op": "verify", "message": base64.StdEncoding.EncodeToString([]byte(m.String())), "keys": records,
	})
	if a.Error != "" {
		t.Errorf("%s: %s", o.name, a.Error)
	}
	return a.Passed
}

// The keys of the tests with their records in example.org.
type keyring struct {
	signers []Signer
	records map[string]string
	names   *dnstest.Names
}

func newKeyring(t testing.TB) *keyring {
	t.Helper()
	rsaKey, err := ParsePrivateKey([]byte(testRSA))
	if err != nil {
		t.Fatal(err)
	}
	k := &keyring{records: map[string]string{}}
	for selector, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": footballKey(t)} {
		text, err := RecordText(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		k.records[RecordName(selector, "example.org")] = text
		k.signers = append(k.signers, Signer{Domain: "example.org", Selector: selector, Key: key})
	}
	if k.signers[0].Selector != "rsa" {
		k.signers[0], k.signers[1] = k.signers[1], k.signers[0]
	}
	k.names = keys(t, k.records)
	return k
}

// Messages that two implementations may see differently.
var oddMessages = map[string]string{
	"plain":            "From: a@example.org\nTo: b@example.net\nSubject: s\nDate: Fri, 11 Jul 2003 21:00:37 -0700\nMessage-ID: <1@example.org>\n\nHello World!\n",
	"trailing lines":   "From: a@example.org\nSubject: s\n\nx\n\n\n\n",
	"only blank lines": "From: a@example.org\nSubject: s\n\n\n\n\n",
	"blanks at ends":   "From: a@example.org  \nSubject: s \t\n\nx \t\n \t \n y\tz \n \n",
	"empty body":       "From: a@example.org\nSubject: s\n\n",
	"folded":           "From: \"A\n B\"\n <a@example.org>\nSubject:\n one\n\ttwo\n  three  \nTo: b@example.net,\n\tc@example.net\n\nx\n",
	"8-bit":            "From: a@example.org\nSubject: \xc3\xa4\xff\n\n\xe2\x82\xac\xff\n",
	"duplicates":       "From: a@example.org\nTo: b@example.net\nTo: c@example.net\nReceived: x\nTo: d@example.net\nList-Id: <x>\nList-Id: <y>\n\nx\n",
	"empty values":     "From: a@example.org\nSubject:\nTo: \nCc:\t\nReply-To:\n \n\nx\n",
	"odd case":         "fROM: a@example.org\nSUBJECT: s\nmessage-id: <1@example.org>\nmIME-vERSION: 1.0\nContent-type: text/plain\n\nx\n",
	"dots":             "From: a@example.org\nSubject: s\n\n.\n..\n.x\n",
	"long lines":       "From: a@example.org\nSubject: s\n\n" + strings.Repeat("word ", 3000) + "\n",
	"many":             "From: a@example.org\n" + strings.Repeat("To: someone@example.net\n", 60) + "\nx\n",
}

var canons = []Canon{Relaxed, Simple}

// Both peers accept what we sign: by RSA and Ed25519, in all four canonicalisations.
func TestPeersVerifyOurs(t *testing.T) {
	ring := newKeyring(t)
	for _, o := range []*oracle{dkimpy(t), opendkim(t)} {
		for name, text := range oddMessages {
			for _, header := range canons {
				for _, body := range canons {
					m := message(text)
					signers := append([]Signer(nil), ring.signers...)
					for i := range signers {
						signers[i].Header, signers[i].Body = header, body
					}
					fields, err := Sign(m, signers...)
					if err != nil {
						t.Fatal(err)
					}
					m.Header.Prepend(fields...)
					for i, r := range Verify(t.Context(), m, ring.names, Options{}) {
						if r.Status != Pass {
							t.Errorf("%s, %v/%v: ours: %d %+v", name, header, body, i, r)
						}
					}
					if got := o.verify(t, m, ring.records); len(got) != 2 || !got[0] || !got[1] {
						t.Errorf("%s, %v/%v: %s: %v", name, header, body, o.name, got)
					}
				}
			}
		}
	}
}

// We accept what both peers sign.
func TestWeVerifyPeers(t *testing.T) {
	ring := newKeyring(t)
	for _, o := range []*oracle{dkimpy(t), opendkim(t)} {
		for name, text := range oddMessages {
			for i := range 8 {
				s := ring.signers[i&1]
				s.Header, s.Body = canons[i>>1&1], canons[i>>2]
				if o.name == "opendkim" && s.Selector == "ed" && s.Header == Simple {
					continue // its own verifier refuses what it signs that way
				}
				m := message(text)
				m.Header.Prepend(o.sign(t, m, s))
				if got := Verify(t.Context(), m, ring.names, Options{}); got[0].Status != Pass {
					t.Errorf("%s by %s: %+v\n%s", name, o.name, got, m)
				}
			}
		}
	}
}

func (o *oracle) sign(t *testing.T, m *mail.Message, s Signer) mail.Field {
	t.Helper()
	a := o.ask(t, map[string]any{
		"op": "sign", "message": base64.StdEncoding.EncodeToString([]byte(m.String())),
		"key": peerKey(t, o, s.Key), "selector": s.Selector, "domain": s.Domain,
		"header": s.Header.String(), "body": s.Body.String(), "algorithm": algorithmOf(s.Key.Public()),
	})
	if a.Error != "" {
		t.Errorf("%s: %s", o.name, a.Error)
	}
	return mail.NewField("DKIM-Signature", crlf(a.Field))
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// peerKey writes a key as the peer reads it.
func peerKey(t *testing.T, o *oracle, key crypto.Signer) string {
	t.Helper()
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	case ed25519.PrivateKey:
		if o.name == "dkimpy" {
			return base64.StdEncoding.EncodeToString(k.Seed())
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	t.Fatalf("no form for a %T", key)
	return ""
}

// One more of a field that is over-signed, or any change of what is signed, breaks the signature
// for all three of us.
func TestPeersRefuseAdditions(t *testing.T) {
	ring := newKeyring(t)
	py, open := dkimpy(t), opendkim(t)
	signed := message(oddMessages["plain"])
	fields, err := Sign(signed, ring.signers...)
	if err != nil {
		t.Fatal(err)
	}
	signed.Header.Prepend(fields...)
	for _, name := range append(DefaultOversign(), "From", "To", "Subject") {
		m := signed.Clone()
		m.Header.Prepend(mail.NewField(name, "evil@example.com"))
		for i, r := range Verify(t.Context(), m, ring.names, Options{}) {
			if r.Status == Pass {
				t.Errorf("another %s: ours: %d %+v", name, i, r)
			}
		}
		for _, o := range []*oracle{py, open} {
			for i, passed := range o.verify(t, m, ring.records) {
				if passed {
					t.Errorf("another %s: %s passes signature %d", name, o.name, i)
				}
			}
		}
	}
}
