package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stagecoach/rfc/dkim"
)

type mailDkimCmd struct {
	Verify mailDkimVerify `cmd:"" help:"Verify the signatures of a mail."`
	Sign   mailDkimSign   `cmd:"" help:"Sign a mail."`
	Gen    dkimGenCmd     `cmd:"" help:"Make a key, and print the record to publish."`
}

type mailDkimVerify struct {
	mailSource   `embed:""`
	namesOptions `embed:""`
	moment       `embed:""`
	Key          []string `short:"e" name:"extra-key" help:"A key to use instead of the published one; may be repeated. KEY is a file (a private or public key in PEM) or the public key in base64." placeholder:"SELECTOR:DOMAIN:KEY" sep:"none"`
	Fields       bool     `help:"Say which fields each signature covers."`
	Quiet        bool     `short:"q" help:"Print nothing: the exit status tells."`
}

// Help shows examples.
func (mailDkimVerify) Help() string {
	return `One line for each signature: [OK], [EX] for one that has expired, [ER] for one that is wrong, [??] for one that could not
be looked at now; then the domain and, where it is not OK, the reason. A mail with LF is read as one with CRLF, so that
dos2unix neither helps nor hurts.
Exit status: 0 all verify, 2 one does not, or there is none, 75 a key could not be looked up now.

Examples:

  stagecoach mail dkim verify new.eml
  stagecoach mail dkim verify --dns-static zones/ --at 2022-12-21T00:00:00Z old.eml`
}

// Run verifies.
func (c mailDkimVerify) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	x, err := c.open()
	if err == nil {
		x, err = withKeys(x, c.Key)
	}
	if err != nil {
		return err
	}
	at, err := c.time()
	if err != nil {
		return err
	}
	results := dkim.Verify(ctx, l.message(), x, dkim.Options{Now: at})
	if results[0].Status == dkim.None {
		return no("there is no DKIM signature")
	}
	if !c.Quiet {
		c.print(l, results)
	}
	return dkimEnding(results)
}

func (c mailDkimVerify) print(l *letter, results []dkim.Result) {
	var covered []string
	m := l.message()
	for f := range m.Header.Fields("DKIM-Signature") {
		tags, err := dkim.ParseTags(f.Value())
		h, _ := tags.Get("h")
		if err != nil {
			h = ""
		}
		covered = append(covered, strings.Join(dkim.SplitNames(h), ":"))
	}
	for i, r := range results {
		line := fmt.Sprintf("[%s]: %s", dkimMark(r), r.Domain)
		if r.Status != dkim.Pass {
			line += " (" + string(r.Status) + ": " + dkimReason(r) + ")"
		}
		fmt.Println(printable(line))
		if c.Fields && i < len(covered) {
			fmt.Println("  " + printable(covered[i]))
		}
	}
}

func dkimReason(r dkim.Result) string {
	if r.Err != nil {
		return r.Reason + ": " + r.Err.Error()
	}
	return r.Reason
}

func dkimMark(r dkim.Result) string {
	switch {
	case r.Status == dkim.Pass:
		return "OK"
	case r.Status == dkim.TempError:
		return "??"
	case r.Status == dkim.Fail && strings.Contains(r.Reason, "expired"):
		return "EX"
	}
	return "ER"
}

func dkimEnding(results []dkim.Result) error {
	var err error
	for _, r := range results {
		switch r.Status {
		case dkim.Pass:
		case dkim.TempError:
			if err == nil {
				err = later("a key could not be looked up")
			}
		default:
			err = no("invalid DKIM signature")
		}
	}
	return err
}

// givenKey reads SELECTOR:DOMAIN:KEY, and returns the name of the record and the record.
func givenKey(text string) (name, record string, err error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return "", "", fmt.Errorf("key %q: write SELECTOR:DOMAIN:KEY", text)
	}
	public, err := publicKey(parts[2])
	if err != nil {
		return "", "", fmt.Errorf("key of %s: %w", parts[1], err)
	}
	record, err = dkim.Record(parts[0], parts[1], public)
	return dkim.RecordName(parts[0], parts[1]), record, err
}

func publicKey(text string) (crypto.PublicKey, error) {
	if file, err := os.ReadFile(text); err == nil {
		if key, err := dkimKey(file); err == nil {
			return key.Public(), nil
		}
		text = string(file)
		if _, body, ok := strings.Cut(text, "-----BEGIN PUBLIC KEY-----"); ok {
			text, _, _ = strings.Cut(body, "-----END")
		}
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("neither a file with a key nor a public key in base64")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		return key, nil
	}
	record, err := dkim.ParseKey("v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(der))
	if err != nil {
		return nil, errors.New("no public key")
	}
	return record.Key, nil
}

// signOptionsMail are what signing takes, for DKIM and ARC.
type mailKeyOptions struct {
	PrivateKey Secret `help:"The key: @FILE, in PEM or as the reference's seed in base64." required:"" placeholder:"@FILE"`
	Selector   string `short:"s" help:"Selector." default:"s1" placeholder:"NAME"`
	Domain     string `short:"d" help:"Domain that signs." required:"" placeholder:"DOMAIN"`
}

func (o mailKeyOptions) key() (crypto.Signer, error) {
	if o.PrivateKey.literal {
		return nil, errors.New("--private-key: the key itself is not taken here, where every user of this machine can read it; write @FILE")
	}
	return dkimKey(o.PrivateKey.Bytes())
}

type mailDkimSign struct {
	mailSource     `embed:""`
	mailKeyOptions `embed:""`
	Field          []string `short:"f" help:"Field to sign; may be repeated (default: those of RFC 6376 section 5.4). From always is." placeholder:"NAME"`
	Canon          string   `short:"c" help:"Canonicalisation of header and body." default:"relaxed/relaxed" placeholder:"CANON/CANON"`
	Expire         Duration `help:"How long the signature is good for; 0 for ever." default:"0s"`
	Output         string   `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailDkimSign) Help() string {
	return `The mail comes out with the signature on top and the line ends that it had; what is signed is the mail with CRLF.

Example:

  stagecoach mail dkim sign --private-key @s1.pem -d example.org hello.eml | stagecoach mail dkim verify -e s1:example.org:s1.pem`
}

// Run signs.
func (c mailDkimSign) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	s := dkim.Signer{Domain: c.Domain, Selector: c.Selector, Fields: c.Field, Time: time.Now()}
	if s.Key, err = c.key(); err != nil {
		return err
	}
	canon := c.Canon
	if !strings.Contains(canon, "/") {
		canon += "/" + canon
	}
	if s.Header, s.Body, err = dkim.ParseCanon(canon); err != nil {
		return err
	}
	if c.Expire > 0 {
		s.Expires = s.Time.Add(time.Duration(c.Expire))
	}
	m := l.message()
	fields, err := dkim.Sign(m, s)
	if err != nil {
		return err
	}
	m.Header.Prepend(fields...)
	return l.write(c.Output, []byte(m.String()))
}
