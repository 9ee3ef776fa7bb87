package sign

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/stage/stagetest"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

const (
	ourName = "mx.example.org"
	results = "Authentication-Results: " + ourName + ";\r\n\tspf=pass smtp.mailfrom=bob@example.net;\r\n\tdmarc=pass header.from=example.net;\r\n\tarc=none smtp.remote-ip=192.0.2.1\r\n"
	letter  = "From: bob@example.net\r\nTo: ann@example.org\r\nSubject: s\r\nMessage-ID: <1@example.net>\r\n\r\nHello  \r\n\r\n"
)

func sealer(next mail.Handler) *Signer {
	s := signer(next)
	s.Seal = &Seal{AuthServID: ourName, Domain: "example.org", Selector: "s1", Key: rsaKey()}
	return s
}

// names has the keys of our seal and of bob's domain.
func names(t testing.TB) (*dnstest.Names, map[string]string) {
	t.Helper()
	x, txt := dnstest.Zone(t, ""), map[string]string{}
	for domain, k := range map[string]Key{"example.org": {"s1", rsaKey()}, "example.net": key("s1", 9)} {
		text, err := dkim.RecordText(k.Private.Public())
		if err != nil {
			t.Fatal(err)
		}
		name := dkim.RecordName("s1", domain)
		txt[name] = text
		zone := name + ". TXT"
		for rest := text; rest != ""; rest = rest[min(200, len(rest)):] {
			zone += fmt.Sprintf(" %q", rest[:min(200, len(rest))])
		}
		if err := x.Add(zone); err != nil {
			t.Fatal(err)
		}
	}
	return x, txt
}

// through puts a message through the stage, with what the verifier found on top.
func through(t *testing.T, s *Signer, found authres.Results, m *mail.Message) {
	t.Helper()
	m.Header.Prepend(found.Field())
	in := &mail.Mail{Message: m}
	in.Envelope.From = mail.MustParseAddress("bob@example.net")
	if err := s.Handle(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func found(chain arc.Status) authres.Results {
	return authres.Results{ID: ourName, Results: []authres.Result{
		{Method: "dkim", Value: "pass", Props: []authres.Prop{{Type: "header", Name: "d", Value: "example.net"}}},
		{Method: "dmarc", Value: "pass", Props: []authres.Prop{{Type: "header", Name: "from", Value: "example.net"}}},
		{Method: "arc", Value: string(chain)},
	}}
}

// A chain through our hands is good, and the author's own signature stays so: by our eyes and by
// dkimpy's, which knows RSA alone.
func TestSeal(t *testing.T) {
	x, txt := names(t)
	m := mail.NewMessage([]byte(letter))
	bobs, err := dkim.Sign(m, dkim.Signer{Domain: "example.net", Selector: "s1", Key: key("s1", 9).Private})
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(bobs...)
	s := sealer(new(stagetest.Sink))
	for n, cv := range []string{"none", "pass", "pass"} {
		chain := arc.Verify(t.Context(), m, x)
		if string(chain.Status) != cv || chain.Length != n {
			t.Fatalf("before hand %d: %+v", n+1, chain)
		}
		through(t, s, found(chain.Status), m)
		seal := m.Header.Value(arc.SealName)
		for _, want := range []string{fmt.Sprintf("i=%d;", n+1), "cv=" + cv + ";", "a=rsa-sha256;", "d=example.org;", "t=1700000000;"} {
			if !strings.Contains(seal, want) {
				t.Errorf("hand %d: no %s in %q", n+1, want, seal)
			}
		}
		told := m.Header.Value(arc.ResultsName)
		if !strings.HasPrefix(told, fmt.Sprintf("i=%d; %s;", n+1, ourName)) || !strings.Contains(told, "dmarc=pass header.from=example.net") {
			t.Errorf("hand %d tells %q", n+1, told)
		}
		if res := dkim.Verify(t.Context(), m, x, dkim.Options{}); len(res) != 1 || res[0].Status != dkim.Pass {
			t.Errorf("hand %d broke the author's signature: %+v", n+1, res)
		}
	}
	if chain := arc.Verify(t.Context(), m, x); chain.Status != arc.Pass || chain.Length != 3 || chain.Oldest != 0 {
		t.Errorf("%+v", chain)
	}
	t.Run("dkimpy", func(t *testing.T) {
		for _, sets := range []int{1, 3} {
			part := mail.NewMessage([]byte(m.String()))
			part.Header.Strike(func(f mail.Field) bool {
				return sets == 1 && strings.HasPrefix(f.Name(), "ARC-") && !strings.Contains(f.Raw(), ": i=1;")
			})
			if v := dkimpy(t, part, txt); v != "pass" {
				t.Errorf("%d sets: %s", sets, v)
			}
		}
	})
}

func dkimpy(t *testing.T, m *mail.Message, txt map[string]string) string {
	t.Helper()
	python := peer.NeedPython(t, "dkim")
	in, err := json.Marshal(map[string]any{"message": base64.StdEncoding.EncodeToString([]byte(m.String())), "txt": txt})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "../../rfc/arc/testdata/dkimpy.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	var verified struct{ CV, Reason string }
	if err == nil {
		err = json.Unmarshal(out, &verified)
	}
	if err != nil {
		t.Fatalf("dkimpy: %v, %q %s", err, out, stderr.String())
	}
	return strings.TrimSpace(verified.CV + " " + strings.TrimPrefix(verified.Reason, "success"))
}

// Who is sealed, and who is not: above all nothing of our own.
func TestWhoIsSealed(t *testing.T) {
	const (
		set  = "ARC-Seal: i=1; a=rsa-sha256; d=example.net; s=s1; cv=none; b=AA==\r\nARC-Message-Signature: i=1; a=rsa-sha256; d=example.net; s=s1; h=from; bh=AA==; b=AA==\r\nARC-Authentication-Results: i=1; x\r\n"
		pass = "Authentication-Results: " + ourName + "; arc=pass\r\n"
		fail = "Authentication-Results: " + ourName + "; arc=fail\r\n"
	)
	for _, c := range []struct {
		name, from, submitter, header, want string // want: i= and cv= of the new seal, "" for none
	}{
		{"forwarded", "bob@example.net", "", results + letter, "1 none"},
		{"forwarded, vouched for by nobody", "bob@example.net", "<>", results + letter, "1 none"},
		{"a bounce from outside", "", "", results + letter, "1 none"},
		{"forwarded, claims to be ours", "ann@example.org", "", results + "From: ann@example.org\r\n\r\n", "1 none"},
		{"the verifier's name in capitals", "bob@example.net", "", strings.Replace(results, ourName, strings.ToUpper(ourName), 1) + letter, "1 none"},
		{"on a chain", "bob@example.net", "", pass + set + letter, "2 pass"},
		{"a broken chain", "bob@example.net", "", fail + set + letter, "2 fail"},
		{"a malformed chain", "bob@example.net", "", fail + strings.ReplaceAll(set, "i=1;", "i=x;") + letter, "1 fail"},
		{"a chain with a gap", "bob@example.net", "", fail + strings.ReplaceAll(set, "Seal: i=1;", "Seal: i=3;") + letter, "4 fail"},

		{"ours", "ann@example.org", "ann@example.org", "From: ann@example.org\r\n\r\n", ""},
		{"ours, with results in it", "ann@example.org", "ann@example.org", results + "From: ann@example.org\r\n\r\n", ""},
		{"ours, of another domain", "ann@example.org", "ann@example.org", results + letter, ""},
		{"a report of ours", "", "", "From: postmaster@example.org\r\n\r\n", ""},
		{"not verified", "bob@example.net", "", letter, ""},
		{"verified by another on top", "bob@example.net", "", "Authentication-Results: mx.example.net; arc=none\r\n" + results + letter, ""},
		{"results that make no sense", "bob@example.net", "", "Authentication-Results: " + ourName + "; arc=\r\n" + letter, ""},
		{"nobody looked", "bob@example.net", "", "Authentication-Results: " + ourName + "; spf=pass\r\n" + letter, ""},
		{"DNS failed", "bob@example.net", "", "Authentication-Results: " + ourName + "; arc=temperror\r\n" + set + letter, ""},
		{"two states", "bob@example.net", "", "Authentication-Results: " + ourName + "; arc=none; arc=none\r\n" + letter, ""},
		{"a chain that was not seen", "bob@example.net", "", results + set + letter, ""},
		{"a chain that is gone", "bob@example.net", "", pass + letter, ""},
		{"a chain that was broken since", "bob@example.net", "", pass + strings.ReplaceAll(set, "i=1;", "i=2;") + letter, ""},
		{"a chain that has ended", "bob@example.net", "", fail + strings.ReplaceAll(set, "cv=none", "cv=fail") + letter, ""},
		{"a chain of 50", "bob@example.net", "", fail + strings.ReplaceAll(set, "i=1;", "i=50;") + letter, ""},
		{"nothing to sign", "bob@example.net", "", results + "X: y\r\n\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mail.Mail{Message: mail.NewMessage([]byte(c.header))}
			m.Envelope.Submitter = c.submitter
			if c.from != "" {
				m.Envelope.From = mail.MustParseAddress(c.from)
			}
			old := m.Message.Header.Len()
			sink := new(stagetest.Sink)
			if err := sealer(sink).Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			fields := sink.Mails()[0].Fields
			fresh := fields[:len(fields)-old]
			got := ""
			if len(fresh) == 3 && strings.HasPrefix(fresh[0], "ARC-Seal:") {
				got = tag(fresh[0], " i=") + " " + tag(fresh[0], " cv=")
			} else if len(fresh) > 0 && !strings.HasPrefix(fresh[0], "DKIM-Signature:") {
				t.Errorf("on top stands %q", fresh)
			}
			if got != c.want {
				t.Errorf("sealed %q, want %q", got, c.want)
			}
			s := sealer(new(stagetest.Sink))
			s.Seal = nil
			n := m.Message.Header.Len()
			if err := s.Handle(t.Context(), m); err != nil || c.want != "" && m.Message.Header.Len() != n {
				t.Errorf("without the setting something was added, or %v", err)
			}
		})
	}
}

func TestSealConformance(t *testing.T) {
	forwarded := func(text string) *mail.Mail {
		m := stagetest.Mails()[0].Mail.Clone()
		m.Envelope.Submitter = ""
		m.Message = mail.NewMessage([]byte(text))
		return m
	}
	stagetest.Run(t, func(next mail.Handler) mail.Handler { return sealer(next) },
		stagetest.Case{Name: "forwarded", Mail: forwarded(results + letter)},
		stagetest.Case{Name: "forwarded, broken chain", Mail: forwarded(strings.Replace(results, "arc=none", "arc=fail", 1) + "ARC-Seal: i=1\r\n" + letter)},
	)
}

func TestSealTrouble(t *testing.T) {
	broken := errors.New("the disk is gone")
	body := readerAt(func([]byte, int64) (int, error) { return 0, broken })
	head, _, _ := strings.Cut(results+letter, "\r\n\r\n")
	m := &mail.Mail{Message: mail.NewMessageFrom(head+"\r\n\r\n", body, 100, nil)}
	sink := new(stagetest.Sink)
	if err := sealer(sink).Handle(t.Context(), m); !errors.Is(err, broken) || mail.IsPermanent(err) || len(sink.Mails()) != 0 {
		t.Errorf("got %v, and %d mails were passed on", err, len(sink.Mails()))
	}
	if err := sealer(nil).Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Seal){
		"no key":      func(s *Seal) { s.Key = nil },
		"Ed25519":     func(s *Seal) { s.Key = key("s1", 1).Private },
		"no verifier": func(s *Seal) { s.AuthServID = "" },
		"no domain":   func(s *Seal) { s.Domain = "" },
		"no selector": func(s *Seal) { s.Selector = "" },
	} {
		s := sealer(nil)
		if spoil(s.Seal); s.Check() == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

func FuzzSeal(f *testing.F) {
	x, _ := names(f)
	f.Add(results + letter)
	f.Add(strings.Replace(results, "arc=none", "arc=fail", 1) + "ARC-Seal: i=1; cv=none\r\nARC-Message-Signature: i=1\r\n" + letter)
	f.Fuzz(func(t *testing.T, text string) {
		sink := new(stagetest.Sink)
		m := &mail.Mail{Message: mail.NewMessage([]byte(text))}
		m.Envelope.From = mail.MustParseAddress("bob@example.net")
		if err := sealer(sink).Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(m.Message.String(), text) {
			t.Fatal("more than fields on top was changed")
		}
		if strings.HasPrefix(m.Message.String(), "ARC-Seal: i=1;") && strings.Contains(m.Message.Header.Value(arc.SealName), "cv=none") {
			if res := arc.Verify(t.Context(), m.Message, x); res.Status != arc.Pass {
				t.Fatalf("%+v", res)
			}
		}
	})
}
