package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// readText reads a message as the session does, and returns it with what comes after it.
func readText(src io.Reader, max int) (text, rest string, err error) {
	r := newReader(src, &sync.Pool{}, func() error { return nil })
	t := textScanner{max: max, dots: true}
	var b bytes.Buffer
	for !t.done() {
		p, err := r.chunk(bufferSize)
		if err != nil {
			return "", "", err
		}
		n, err := t.scan(p, func(p []byte) { b.Write(p) })
		if err != nil {
			return "", "", err
		}
		r.unread(len(p) - n)
	}
	return b.String(), string(r.buf[r.r:r.w]), nil
}

// reference is the same one octet at a time, as RFC 5321 section 4.5.2 says it.
func reference(in string, max int) (text, rest string, err error) {
	var b strings.Builder
	line := ""
	for i := 0; i < len(in); i++ {
		c := in[i]
		line += string([]byte{c})
		cr := strings.HasSuffix(line[:len(line)-1], "\r")
		switch {
		case cr != (c == '\n'), c == 0, len(strings.TrimPrefix(strings.TrimRight(line, "\r\n"), ".")) > max:
			return "", "", errors.New("refused")
		case c != '\n':
			continue
		case line == ".\r\n":
			return b.String(), in[i+1:], nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
		line = ""
	}
	return "", "", io.EOF
}

func agree(t testing.TB, in string, max int, src io.Reader) {
	t.Helper()
	text, rest, err := readText(src, max)
	text2, rest2, err2 := reference(in, max)
	if (err == nil) != (err2 == nil) || errors.Is(err, io.EOF) != errors.Is(err2, io.EOF) || text != text2 || !strings.HasPrefix(rest2, rest) {
		t.Fatalf("%q: got %q, %q, %v; want %q, %q, %v", in, text, rest, err, text2, rest2, err2)
	}
}

// What others have taken for the end of a message (CVE-2023-51764 and its kin).
var falseEnds = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\r\n.\r\n",
}

// The only end of a message is CRLF.CRLF, wherever the packets are cut.
func TestFalseEnds(t *testing.T) {
	for _, end := range falseEnds {
		in := "a: b\r\n\r\nx" + end + "MAIL FROM:<evil@far.example>\r\n.\r\n"
		for cut := range len(in) {
			src := io.MultiReader(strings.NewReader(in[:cut]), strings.NewReader(in[cut:]))
			if text, _, err := readText(src, 998); err == nil {
				t.Errorf("%q, cut at %d, was taken as %q", in, cut, text)
			}
		}
		agree(t, in, 998, iotest.OneByteReader(strings.NewReader(in)))
		checkLinesOfChunk(t, end)
	}
}

// checkLinesOfChunk demands that a chunk with a false end is refused, however it is cut.
func checkLinesOfChunk(t *testing.T, end string) {
	in := []byte("a: b\r\n\r\nx" + end + "y\r\n")
	for cut := range len(in) {
		s := textScanner{max: 998}
		drop := func([]byte) {}
		_, err := s.scan(in[:cut], drop)
		if err == nil {
			_, err = s.scan(in[cut:], drop)
		}
		if err == nil {
			t.Errorf("chunk %q, cut at %d, was taken", in, cut)
		}
	}
}

// All 390,625 and fewer texts of at most 8 octets that could fool somebody: refused, or
// without a bare CR or LF, and seen by a lenient reader as one message.
func TestAllSmallTexts(t *testing.T) {
	const letters = "\r\n.a\x00"
	taken := 0
	var in [8]byte
	for n := 0; n <= len(in); n++ {
		total := 1
		for range n {
			total *= len(letters)
		}
		for i := range total {
			for j, k := 0, i; j < n; j, k = j+1, k/len(letters) {
				in[j] = letters[k%len(letters)]
			}
			s := string(in[:n]) + "\r\n.\r\n"
			text, _, err := readText(strings.NewReader(s), 998)
			text2, _, err2 := reference(s, 998)
			if (err == nil) != (err2 == nil) || text != text2 {
				t.Fatalf("%q: got %q, %v; want %q, %v", s, text, err, text2, err2)
			}
			if err == nil {
				taken++
				checkClean(t, text)
			}
		}
	}
	if taken == 0 {
		t.Error("nothing was taken")
	}
}

func checkClean(t testing.TB, text string) {
	t.Helper()
	plain := strings.ReplaceAll(text, "\r\n", "")
	if strings.ContainsAny(plain, "\r\n\x00") || text != "" && !strings.HasSuffix(text, "\r\n") {
		t.Fatalf("%q was taken", text)
	}
}

func TestCommandLines(t *testing.T) {
	in := "NOOP\r\n" + strings.Repeat("x", 3000) + "\r\nQUIT\r\n"
	for _, src := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.HalfReader(strings.NewReader(in))} {
		r := newReader(src, &sync.Pool{}, func() error { return nil })
		for _, want := range []int{4, 3000, 4} {
			line, err := r.line(maxCommand)
			if err != nil || len(line) != want {
				t.Fatalf("got %d octets, %v; want %d", len(line), err, want)
			}
			r.shrink()
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, end := range append(falseEnds, "\r\n.\r\n", "..\r\n.\r\nQUIT\r\n", ".\r\n", "\r\n.x\r\n.\r\n") {
		f.Add([]byte("a: b\r\n\r\nx"+end), byte(3))
	}
	f.Add([]byte(strings.Repeat("x", 25)+"\r\n.\r\n"), byte(1))
	f.Fuzz(func(t *testing.T, in []byte, step byte) {
		agree(t, string(in), 20, strings.NewReader(string(in)))
		agree(t, string(in), 20, &stepReader{string(in), int(step)})
		r := newReader(&stepReader{string(in), int(step)}, &sync.Pool{}, func() error { return nil })
		used := 0
		for {
			line, err := r.line(20)
			if err != nil {
				break
			}
			if want := string(in[used:]); !strings.HasPrefix(want, string(line)+"\r\n") || len(line) > 20 {
				t.Fatalf("line %q of %q", line, want)
			}
			used += len(line) + 2
		}
	})
}

// stepReader reads in pieces of varied length.
type stepReader struct {
	s string
	n int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	r.n = (r.n*7 + 3) % 251
	n := copy(p, r.s[:min(len(r.s), r.n%13+1)])
	r.s = r.s[n:]
	return n, nil
}

func BenchmarkTextScanner(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 400))
	b.SetBytes(int64(len(text)))
	n := 0
	for b.Loop() {
		s := textScanner{max: 998, dots: true}
		if _, err := s.scan(text, func(p []byte) { n += len(p) }); err != nil {
			b.Fatal(err)
		}
	}
	_ = fmt.Sprint(n)
}
