package generate

import (
	"bytes"
	"io"
	stdmime "mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/tool/mime"
)

// seeds is how many mails each test looks at.
const seeds = 2000

// read takes a part apart into what the generator says of it.
func read(t *testing.T, p *mime.Part) Entity {
	t.Helper()
	e := Entity{Type: p.Type, Filename: p.Filename}
	for _, child := range p.Parts {
		e.Parts = append(e.Parts, read(t, child))
	}
	if len(p.Problems) > 0 {
		t.Errorf("%q", p.Problems)
	}
	if len(p.Parts) > 0 {
		return e
	}
	var err error
	if e.Content, err = p.Content(); err != nil {
		t.Error(err)
	}
	if strings.HasPrefix(p.Type, "text/") {
		e.Charset = p.Params.Get("charset")
		if e.Text, err = p.Text(); err != nil {
			t.Error(err)
		}
	}
	return e
}

func boxes(t *testing.T, p *mime.Part, name string) (out []Mailbox) {
	t.Helper()
	list, wrong := mime.ParseMailboxes(p.Header.Value(name))
	if wrong > 0 {
		t.Errorf("%s: %d wrong", name, wrong)
	}
	for _, m := range list {
		out = append(out, Mailbox{Name: mime.DecodeWords(m.Name), Addr: m.Addr, Group: m.Group})
	}
	return out
}

// What is written is what is read.
func TestInverse(t *testing.T) {
	for m := range All(0, seeds) {
		p := mime.Parse(m.Raw)
		got := Mail{
			Raw: m.Raw, UTF8: m.UTF8, EightBit: m.EightBit,
			Subject: mime.DecodeWords(p.Header.Value("Subject")), From: boxes(t, p, "From"), To: boxes(t, p, "To"), Body: read(t, p),
		}
		if diff := cmp.Diff(m, &got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%s\n%s", diff, m.Raw)
		}
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), m.Raw) {
			t.Errorf("%q is printed as %q", m.Raw, b.Bytes())
		}
		if t.Failed() {
			return
		}
	}
}

// What is written is valid by the letter: lines, line ends, octets.
func TestValid(t *testing.T) {
	for m := range All(0, seeds) {
		head, _, _ := bytes.Cut(m.Raw, []byte("\r\n\r\n"))
		if hasEight(head) && !m.UTF8 {
			t.Fatalf("octets above 127 in the header:\n%s", head)
		}
		for line := range bytes.SplitSeq(m.Raw, []byte("\r\n")) {
			if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("the line %q", line)
			}
		}
		if _, err := m.Message().Header.Author(); err != nil && !odd(m, err) {
			t.Errorf("%v: %v", m.From, err)
		}
	}
}

// odd reports whether the author is one that our strict reader of From refuses although the
// grammar has it: one that could be taken for another.
func odd(m *Mail, err error) bool {
	return strings.Contains(err.Error(), "comment holds an address") ||
		strings.ContainsAny(m.From[0].Addr, "\"=`%") || strings.ContainsAny(m.From[0].Name, "@<>=?:,;()[]\\")
}

func TestSameSeedSameMail(t *testing.T) {
	for seed := range uint64(50) {
		if !bytes.Equal(New(seed).Raw, New(seed).Raw) || !bytes.Equal(Nearly(seed, 3), Nearly(seed, 3)) {
			t.Fatalf("seed %d makes two mails", seed)
		}
	}
	if bytes.Equal(New(1).Raw, New(2).Raw) {
		t.Error("two seeds make one mail")
	}
}

// The library, which shares no code with us, finds the same parts in the mails that it can
// read.
func TestOracle(t *testing.T) {
	n := 0
	for m := range All(0, seeds) {
		msg, err := mail.ReadMessage(bytes.NewReader(m.Raw))
		if err != nil {
			t.Fatalf("%v:\n%s", err, m.Raw)
		}
		if compare(t, m.Body, msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body) {
			n++
		}
		if t.Failed() {
			t.Fatalf("%s", m.Raw)
		}
	}
	if n < seeds/2 {
		t.Errorf("the library read %d of %d", n, seeds)
	}
}

// compare reports whether the library could read the entity to its end.
func compare(t *testing.T, want Entity, contentType, encoding string, body io.Reader) bool {
	typ, params, err := stdmime.ParseMediaType(contentType)
	if err != nil || !strings.EqualFold(typ, want.Type) {
		return false // comments, which the library does not know
	}
	if len(want.Parts) == 0 {
		switch strings.ToLower(encoding) {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			b, _ := io.ReadAll(body)
			got, err := mime.DecodeBase64(b)
			return err == nil && bytes.Equal(got, want.Content)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, want.Content) {
			t.Errorf("%q, want %q: %v", got, want.Content, err)
		}
		return true
	}
	if !strings.HasPrefix(typ, "multipart/") {
		return true
	}
	r := multipart.NewReader(body, params["boundary"])
	for _, child := range want.Parts {
		p, err := r.NextRawPart()
		if err != nil {
			t.Errorf("a part is missing: %v", err)
			return false
		}
		if !compare(t, child, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p) {
			return false
		}
	}
	return true
}

// Nothing that is nearly a mail makes a reader fail, or lose an octet.
func TestNearly(t *testing.T) {
	for seed := range uint64(seeds) {
		raw := Nearly(seed, 1+int(seed%5))
		p := mime.Parse(raw)
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), raw) {
			t.Fatalf("seed %d: %q is printed as %q", seed, raw, b.Bytes())
		}
		for _, e := range p.All() {
			e.Text() //nolint:errcheck // that it returns is what is asked
		}
	}
}

func FuzzMutate(f *testing.F) {
	f.Add(uint64(1), 3)
	f.Fuzz(func(t *testing.T, seed uint64, n int) {
		m := New(seed)
		if p := mime.Parse(m.Raw); p.Type != m.Body.Type || len(p.Problems) > 0 {
			t.Fatalf("%s, want %s: %q", p.Type, m.Body.Type, p.Problems)
		}
		if raw := Mutate(m.Raw, seed, min(max(n, 0), 20)); len(raw) > 10<<20 {
			t.Fatalf("%d octets", len(raw))
		}
	})
}
