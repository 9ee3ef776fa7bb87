package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stagecoach/mail"
)

// A Signer makes one signature. Domain, Selector and Key are needed; what else is zero means
// the default.
type Signer struct {
	Domain   string        // d=, in A-labels
	Selector string        // s=
	Key      crypto.Signer // RSA or Ed25519, see CheckKey
	Identity string        // i=, with its @; left out when empty
	Header   Canon         // default relaxed
	Body     Canon         // default relaxed
	Fields   []string      // what to sign when present; From always; nil means DefaultFields
	Oversign []string      // what nobody may add; From always; nil means what DefaultOversign has of Fields
	Time     time.Time     // t=; left out when zero
	Expires  time.Time     // x=; left out when zero
}

// DefaultFields are the fields of RFC 6376 section 5.4.1 and those which have since become
// worth signing. All of a name are signed.
func DefaultFields() []string {
	return []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID",
		"Content-Description", "Content-Disposition", "Content-Language",
		"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
		"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe",
		"List-Post", "List-Owner", "List-Archive",
	}
}

// DefaultOversign are the fields that are named in h= once more than present, so that one more
// of them breaks the signature (RFC 6376 section 8.15).
func DefaultOversign() []string {
	return []string{
		"From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID",
		"Content-Description", "Content-Disposition",
	}
}

// ErrNoFrom is returned for a message without exactly one From field: a signature covers From,
// and of two nobody knows which one the reader sees.
var ErrNoFrom = errors.New("dkim: the message has not exactly one From field")

// Sign returns one DKIM-Signature field for each signer, in their order, to be prepended. It
// reads the body once and changes nothing.
func Sign(m *mail.Message, signers ...Signer) ([]mail.Field, error) {
	if m.Header.Count("From") != 1 {
		return nil, ErrNoFrom
	}
	var wanted [2]bool
	for i := range signers {
		if err := signers[i].check(); err != nil {
			return nil, err
		}
		wanted[signers[i].Body] = true
	}
	sums, err := sumBody(m, wanted)
	if err != nil {
		return nil, fmt.Errorf("dkim: the body: %w", err)
	}
	set := newFieldSet(&m.Header)
	fields := make([]mail.Field, len(signers))
	for i := range signers {
		s := &signers[i]
		if fields[i], err = s.sign(set, sums[s.Body].digest); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func (s *Signer) check() error {
	if d, err := mail.CanonicalDomain(s.Domain); err != nil || d != s.Domain || strings.HasPrefix(d, "[") {
		return fmt.Errorf("dkim: %q is no domain in lower-case A-labels", s.Domain)
	}
	if sel, err := canonicalSelector(s.Selector); err != nil || sel != s.Selector {
		return fmt.Errorf("dkim: %q is no selector in lower case", s.Selector)
	}
	if len(RecordName(s.Selector, s.Domain)) > 253 {
		return errors.New("dkim: selector and domain are too long for a name in the DNS")
	}
	for _, list := range [][]string{s.Fields, s.Oversign} {
		for _, name := range list {
			if !isFieldName(name) {
				return fmt.Errorf("dkim: %q is no name of a field", name)
			}
		}
	}
	if s.Identity != "" {
		sig := signature{domain: s.Domain}
		if err := sig.readIdentity(quoteQP(s.Identity)); err != nil {
			return fmt.Errorf("dkim: %w", err)
		}
	}
	return CheckKey(s.Key)
}

// isFieldName checks ftext (RFC 5322 section 3.6.8) without ";" (RFC 6376 section 3.5, h=).
func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == ':' || c == ';' {
			return false
		}
	}
	return s != ""
}

// names returns h=: every field that is present as often as it is, the over-signed ones once
// more.
func (s *Signer) names(set *fieldSet) []string {
	sign := s.Fields
	if sign == nil {
		sign = DefaultFields()
	}
	sign = append(append([]string{"From"}, sign...), s.Oversign...)
	extra := map[string]bool{"from": true}
	for _, name := range s.Oversign {
		extra[lowerName(name)] = true
	}
	if s.Oversign == nil {
		for _, name := range DefaultOversign() {
			extra[lowerName(name)] = true
		}
	}
	var names []string
	seen := map[string]bool{}
	for _, name := range sign {
		low := lowerName(name)
		if seen[low] {
			continue
		}
		seen[low] = true
		for range set.count(low) {
			names = append(names, name)
		}
		if extra[low] {
			names = append(names, name)
		}
	}
	return names
}

func (s *Signer) sign(set *fieldSet, digest []byte) (mail.Field, error) {
	names := s.names(set)
	text := s.text(names, digest)
	low := make([]string, len(names))
	for i := range names {
		low[i] = lowerName(names[i])
	}
	h := sha256.New()
	for _, at := range set.choose(low, -1) {
		h.Write(set.form(s.Header, at))
	}
	form := s.Header.AppendField(nil, mail.NewField("DKIM-Signature", text))
	h.Write(form[:len(form)-len("\r\n")])

	// RFC 8463 section 3: Ed25519 signs the hash, without another one of its own.
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := s.Key.Public().(ed25519.PublicKey); ok {
		opts = crypto.Hash(0)
	}
	value, err := s.Key.Sign(rand.Reader, h.Sum(nil), opts)
	if err != nil {
		return mail.Field{}, fmt.Errorf("dkim: signing for %s with %s: %w", s.Domain, s.Selector, err)
	}
	return mail.NewField("DKIM-Signature", text+foldBase64(base64.StdEncoding.EncodeToString(value), 3)), nil
}

// text returns the body of the field up to and including "b=".
func (s *Signer) text(names []string, digest []byte) string {
	f := folder{column: len("DKIM-Signature: ")}
	f.tag("v=1;")
	f.tag("a=" + algorithmOf(s.Key.Public()) + ";")
	f.tag("c=" + s.Header.String() + "/" + s.Body.String() + ";")
	f.tag("d=" + s.Domain + ";")
	f.tag("s=" + s.Selector + ";")
	if s.Identity != "" {
		f.tag("i=" + quoteQP(s.Identity) + ";")
	}
	if !s.Time.IsZero() {
		f.tag("t=" + strconv.FormatInt(s.Time.Unix(), 10) + ";")
	}
	if !s.Expires.IsZero() {
		f.tag("x=" + strconv.FormatInt(s.Expires.Unix(), 10) + ";")
	}
	f.list("h=", names)
	f.tag("bh=" + base64.StdEncoding.EncodeToString(digest) + ";")
	f.newLine()
	f.word("b=")
	return f.text.String()
}

// quoteQP writes an AUID in dkim-quoted-printable (RFC 6376 section 2.11).
func quoteQP(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '=' && c != ';' || c >= 0x80 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
