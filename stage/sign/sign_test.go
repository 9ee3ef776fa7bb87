package sign

import (
	"crypto/ed25519"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
	"stagecoach/stage/stagetest"
)

// key is the same in every run.
func key(selector string, n byte) Key {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return Key{selector, ed25519.NewKeyFromSeed(seed)}
}

func signer(next mail.Handler) *Signer {
	return &Signer{
		Keys: map[string][]Key{
			"example.org":     {key("s1", 1), key("s2", 2)},
			"sub.example.org": {key("s3", 3)},
		},
		Lifetime: 7 * 24 * time.Hour,
		Now:      func() time.Time { return time.Unix(1_700_000_000, 0) },
		Next:     next,
	}
}

func TestConformance(t *testing.T) {
	for name, all := range map[string]string{"ours": "", "all": "example.org"} {
		t.Run(name, func(t *testing.T) {
			stagetest.Run(t, func(next mail.Handler) mail.Handler {
				s := signer(next)
				s.All = all
				return s
			})
		})
	}
}

func TestWhoIsSigned(t *testing.T) {
	const results = "Authentication-Results: mx.example.org; dmarc=pass\r\n"
	for _, c := range []struct {
		name      string
		from      string // reverse-path
		submitter string
		header    string
		all       string
		want      string // d= and s= of the signatures, "" for none
	}{
		{"a user of ours", "ann@example.org", "ann@example.org", "From: ann@example.org\r\n", "", "example.org/s1 example.org/s2"},
		{"with a display name", "ann@example.org", "ann@example.org", "From: \"Ann, Lee\" <ann@EXAMPLE.org>\r\n", "", "example.org/s1 example.org/s2"},
		{"in another domain of ours", "ann@example.org", "ann@example.org", "From: ann@sub.example.org\r\n", "", "sub.example.org/s3"},
		{"a user's automatic answer", "", "ann@example.org", "From: ann@example.org\r\n" + results, "", "example.org/s1 example.org/s2"},
		{"a report of ours", "", "", "From: postmaster@example.org\r\n", "", "example.org/s1 example.org/s2"},

		{"forwarded, claims to be ours", "ann@example.org", "", "From: ann@example.org\r\n", "", ""},
		{"forwarded, and vouched for by nobody", "ann@example.org", "<>", "From: ann@example.org\r\n", "", ""},
		{"forwarded and verified", "ann@example.org", "", results + "From: ann@example.org\r\n", "", ""},
		{"a bounce from outside that claims to be ours", "", "", results + "From: ann@example.org\r\n", "", ""},
		{"forwarded", "bob@example.net", "", results + "From: bob@example.net\r\n", "", ""},
		{"a bounce from outside", "", "<>", results + "From: postmaster@example.net\r\n", "", ""},
		{"a report in no domain of ours", "", "", "From: postmaster@example.net\r\n", "", ""},
		{"a sub-domain without keys", "ann@example.org", "ann@example.org", "From: ann@other.example.org\r\n", "", ""},
		{"a domain that ends like ours", "ann@example.org", "ann@example.org", "From: ann@notexample.org\r\n", "", ""},
		{"two authors", "ann@example.org", "ann@example.org", "From: ann@example.org, bob@example.net\r\n", "", ""},
		{"two From", "ann@example.org", "ann@example.org", "From: ann@example.org\r\nFrom: bob@example.net\r\n", "", ""},
		{"no From", "ann@example.org", "ann@example.org", "Subject: s\r\n", "", ""},
		{"no sense in From", "ann@example.org", "ann@example.org", "From: ann\r\n", "", ""},

		{"all: ours", "ann@example.org", "", "From: ann@sub.example.org\r\n", "example.org", "sub.example.org/s3"},
		{"all: a stranger's", "bob@example.net", "", results + "From: bob@example.net\r\n", "example.org", "example.org/s1 example.org/s2"},
		{"all: no sense in From", "bob@example.net", "", "From: bob\r\n", "example.org", "example.org/s1 example.org/s2"},
		{"all: no From", "bob@example.net", "", "Subject: s\r\n", "example.org", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mail.Mail{Message: mail.NewMessage([]byte(c.header + "\r\nx\r\n"))}
			if c.from != "" {
				m.Envelope.From = mail.MustParseAddress(c.from)
			}
			m.Envelope.Submitter = c.submitter
			sink := new(stagetest.Sink)
			s := signer(sink)
			s.All = c.all
			if err := s.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			seen := sink.Mails()[0]
			if got := strings.Join(seen.Fields, ""); !strings.HasSuffix(got, c.header) {
				t.Errorf("the header became %q", got)
			}
			var signed []string
			for _, f := range seen.Fields {
				if strings.HasPrefix(f, "DKIM-Signature:") {
					signed = append(signed, tag(f, " d=")+"/"+tag(f, " s="))
				}
			}
			if got := strings.Join(signed, " "); got != c.want {
				t.Errorf("signed %q, want %q", got, c.want)
			}
		})
	}
}

// tag returns the value of a tag in a signature of ours.
func tag(field, name string) string {
	_, rest, _ := strings.Cut(field, name)
	value, _, _ := strings.Cut(rest, ";")
	return value
}

func TestLifetime(t *testing.T) {
	for lifetime, want := range map[time.Duration]string{time.Hour: "1700000000 1700003600", 0: " "} {
		sink := new(stagetest.Sink)
		s := signer(sink)
		s.Lifetime = lifetime
		m := &mail.Mail{Message: mail.NewMessage([]byte("From: ann@example.org\r\n\r\nx\r\n"))}
		if err := s.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if f := sink.Mails()[0].Fields[0]; tag(f, " t=")+" "+tag(f, " x=") != want {
			t.Errorf("%v: %q", lifetime, f)
		}
	}
}

// A body that cannot be read is trouble of ours: the mail stays with the caller.
func TestTroubleKeepsTheMailWithTheCaller(t *testing.T) {
	broken := errors.New("the disk is gone")
	body := readerAt(func([]byte, int64) (int, error) { return 0, broken })
	m := &mail.Mail{Message: mail.NewMessageFrom("From: ann@example.org\r\n\r\n", body, 100, nil)}
	sink := new(stagetest.Sink)
	err := signer(sink).Handle(t.Context(), m)
	if !errors.Is(err, broken) || mail.IsPermanent(err) || len(sink.Mails()) != 0 {
		t.Errorf("got %v, and %d mails were passed on", err, len(sink.Mails()))
	}
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

var _ io.ReaderAt = readerAt(nil)

func TestCheck(t *testing.T) {
	if err := signer(nil).Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Signer){
		"All without keys":  func(s *Signer) { s.All = "example.net" },
		"a domain without":  func(s *Signer) { s.Keys["example.net"] = nil },
		"no selector":       func(s *Signer) { s.Keys["example.org"][0].Selector = "" },
		"no key":            func(s *Signer) { s.Keys["example.org"][0].Private = nil },
		"an upper-case one": func(s *Signer) { s.Keys["Example.NET"] = s.Keys["example.org"] },
		"a field of none":   func(s *Signer) { s.Fields = []string{"From", "to:cc"} },
	} {
		s := signer(nil)
		if spoil(s); s.Check() == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
	if dkim.CheckKey(nil) == nil {
		t.Error("no key is a key")
	}
}
