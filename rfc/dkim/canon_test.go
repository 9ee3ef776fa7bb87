package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

var (
	wsp      = regexp.MustCompile(`[ \t]+`)
	wspAtEnd = regexp.MustCompile(`[ \t]+(\r\n|$)`)
	lastEnds = regexp.MustCompile(`(\r\n)*$`)
)

// naiveBody is RFC 6376 sections 3.4.3 and 3.4.4 word by word, in memory.
func naiveBody(c Canon, s string) string {
	if c == Relaxed {
		s = wspAtEnd.ReplaceAllString(s, "$1")
		s = wsp.ReplaceAllString(s, " ")
	}
	s = lastEnds.ReplaceAllLiteralString(s, "")
	if s == "" && c == Relaxed {
		return ""
	}
	return s + "\r\n"
}

// naiveField is RFC 6376 section 3.4.2 word by word.
func naiveField(f mail.Field) string {
	name, value, _ := strings.Cut(f.Raw(), ":")
	value = strings.ReplaceAll(value, "\r\n", "")
	value = wsp.ReplaceAllString(value, " ")
	return strings.ToLower(strings.Trim(name, " \t")) + ":" + strings.Trim(value, " ") + "\r\n"
}

// checkBody feeds body in pieces of at most so many octets.
func checkBody(t *testing.T, c Canon, body string, piece int) {
	t.Helper()
	h := NewBodyHash(c)
	for rest := body; rest != ""; {
		n := min(piece, len(rest))
		h.Write([]byte(rest[:n]))
		rest = rest[n:]
	}
	got, size := h.Sum()
	naive := naiveBody(c, body)
	if want := sha256.Sum256([]byte(naive)); !bytes.Equal(got, want[:]) || size != int64(len(naive)) {
		t.Errorf("%v body %q in pieces of %d: length %d, want the hash of %q", c, body, piece, size, naive)
	}
}

func TestBodyExhaustively(t *testing.T) {
	const letters = "\r\n a"
	var body [8]byte
	for n := 0; n <= 7; n++ {
		for i := range 1 << (2 * n) {
			for k := range n {
				body[k] = letters[i>>(2*k)&3]
			}
			for _, c := range []Canon{Relaxed, Simple} {
				checkBody(t, c, string(body[:n]), 1+i%3)
			}
		}
	}
}

func TestBodyAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"\r\n", "\r\n\r\n", " ", "\t", "\r", "\n", "a", "word", "\x00", "\xff",
		strings.Repeat("x", 3000), strings.Repeat("\r\n", 2000), strings.Repeat(" ", 3000)}
	for range 300 {
		var b strings.Builder
		for range r.IntN(30) {
			b.WriteString(words[r.IntN(len(words))])
		}
		for _, c := range []Canon{Relaxed, Simple} {
			checkBody(t, c, b.String(), 1+r.IntN(5000))
		}
	}
}

// RFC 6376 sections 3.4.3 and 3.4.4 give the hashes of the empty body; the other one is that of
// the mail in the articles.
func TestBodyHashes(t *testing.T) {
	for _, c := range []struct {
		canon      Canon
		body, want string
	}{
		{Simple, "", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="},
		{Relaxed, "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
		{Relaxed, "Hello World!\r\n", "z85OKVJZHnmg3qFlSpLbpPCZ00irfBdrzQUtabiSl3A="},
	} {
		h := NewBodyHash(c.canon)
		h.Write([]byte(c.body))
		sum, _ := h.Sum()
		if got := base64.StdEncoding.EncodeToString(sum); got != c.want {
			t.Errorf("%v of %q is %s, want %s", c.canon, c.body, got, c.want)
		}
	}
}

func TestFields(t *testing.T) {
	for raw, want := range map[string]string{
		"Subject:\r\n":                       "subject:\r\n",
		"Subject: \t \r\n":                   "subject:\r\n",
		"SUBJECT \t: a\r\n":                  "subject:a\r\n",
		"Subject: a\r\n\tb\r\n  \tc \r\n":    "subject:a b c\r\n",
		"Subject:\r\n a\r\n \r\n":            "subject:a\r\n",
		"Subject: a\x00b\xff\r\n":            "subject:a\x00b\xff\r\n",
		"Subject: a":                         "subject:a\r\n",
		"Subject: a: b:\r\n":                 "subject:a: b:\r\n",
		"X-\"odd'!#: \xe2\x82\xac  euro\r\n": "x-\"odd'!#:\xe2\x82\xac euro\r\n",
	} {
		h := mail.ParseHeader(raw)
		for f := range h.All() {
			if got := string(Relaxed.AppendField(nil, f)); got != want || got != naiveField(f) {
				t.Errorf("%q: got %q, want %q, naive %q", raw, got, want, naiveField(f))
			}
		}
	}
}

// A header at its limits is canonicalised in a time that depends on its length alone.
func TestHostileHeaders(t *testing.T) {
	for name, header := range map[string]string{
		"folds":   "From: a@example.org\r\nSubject:" + strings.Repeat("\r\n x", 64<<10) + "\r\n",
		"blanks":  "From: a@example.org\r\nSubject:" + strings.Repeat("\r\n ", 86<<10) + "\r\n",
		"fields":  "From: a@example.org\r\n" + strings.Repeat("To: a\r\n", 36<<10),
		"nothing": strings.Repeat("a\r\n", 86<<10) + "From: a@example.org\r\n",
	} {
		m := mail.NewMessage([]byte(header + "\r\nbody\r\n"))
		key := footballKey(t)
		start := time.Now()
		fields, err := Sign(m, Signer{Domain: "football.example.com", Selector: "brisbane", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Prepend(fields...)
		names := keys(t, map[string]string{"brisbane._domainkey.football.example.com": "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
		if got := Verify(t.Context(), m, names, Options{}); got[0].Status != Pass {
			t.Errorf("%s: %+v", name, got)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s: signing and verifying took %v", name, d)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("From: a\r\n b \t\r\n\r\nbody \r\n\r\n", 3)
	f.Add("A:\r\n\r\n\r\n\r\n", 1)
	f.Add("\r\n \r\n\r \n\t", 2)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		m := mail.NewMessage([]byte(text))
		for field := range m.Header.All() {
			if field.Name() == "" {
				continue
			}
			if got, want := string(Relaxed.AppendField(nil, field)), naiveField(field); got != want {
				t.Errorf("field %q: got %q, want %q", field.Raw(), got, want)
			}
		}
		for _, c := range []Canon{Relaxed, Simple} {
			checkBody(t, c, text, 1+int(uint(piece)%64))
		}
	})
}
