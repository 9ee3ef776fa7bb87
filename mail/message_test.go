package mail

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

var odd = []string{
	"",
	"\r\n",
	"\r\nbody only\r\n",
	"no header and no blank line\r\n",
	"no line end",
	"From: a@b\r\n\r\n",
	"From: a@b\r\n",
	"From: a@b\r\nno colon here\r\nTo: c@d\r\n\r\nbody\r\n",
	"From: a@b\r\n folded\r\n\tmore\r\nTo: c@d\r\n\r\nbody\r\n\r\nmore\r\n",
	" starts with a blank\r\nFrom: a@b\r\n\r\nx",
	"From : a@b\r\nSubj\x00ect: x\xff\x80\r\n\r\n\x00\xff",
	": no name\r\n\r\n",
	"From: a\rb\nc\r\n\r\nx",
}

func TestMessageKeepsBytes(t *testing.T) {
	for _, raw := range odd {
		if got := NewMessage([]byte(raw)).String(); got != raw {
			t.Errorf("%q became %q", raw, got)
		}
	}
}

func TestHeader(t *testing.T) {
	m := NewMessage([]byte("Received: one\r\nFrom: a@b\r\n folded\r\nno colon\r\nfrom : two\r\nX-Spam:yes\r\n\r\nbody"))
	if n := m.Header.Count("FROM"); n != 2 {
		t.Errorf("%d From fields, want 2", n)
	}
	if v := m.Header.Value("From"); v != "a@b folded" {
		t.Errorf("From is %q", v)
	}
	if n := m.Header.Strike(func(f Field) bool { return f.Is("x-spam") }); n != 1 {
		t.Errorf("struck %d", n)
	}
	m.Header.Prepend(NewField("A", "1"), NewField("B", "2\r\nEvil: x\r\n folded\r\n"))
	want := "A: 1\r\nB: 2  Evil: x\r\n folded  \r\nReceived: one\r\nFrom: a@b\r\n folded\r\nno colon\r\nfrom : two\r\n\r\nbody"
	if got := m.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCloneIsApart(t *testing.T) {
	m := &Mail{Envelope: Envelope{To: []Recipient{{}}}, Message: NewMessage([]byte("A: 1\r\n\r\nx"))}
	c := m.Clone()
	c.Message.Header.Prepend(NewField("B", "2"))
	c.Message.Header.Strike(func(f Field) bool { return f.Is("A") })
	c.Envelope.To[0].Original = "x"
	if m.Message.String() != "A: 1\r\n\r\nx" || m.Envelope.To[0].Original != "" {
		t.Error("the clone changed the original")
	}
}

// Whatever the pieces in which a message arrives, it is the message that NewMessage makes.
func TestDraftInPieces(t *testing.T) {
	for _, raw := range odd {
		for size := 1; size <= len(raw)+1; size++ {
			d := NewDraft(t.TempDir(), Limits{InMemory: 3})
			for i := 0; i < len(raw); i += size {
				if _, err := d.Write([]byte(raw[i:min(i+size, len(raw))])); err != nil {
					t.Fatal(err)
				}
			}
			m, err := d.Message()
			if err != nil {
				t.Fatal(err)
			}
			same := NewMessage([]byte(raw))
			if m.String() != raw || m.Header.Len() != same.Header.Len() || m.Body.Size() != same.Body.Size() {
				t.Fatalf("%q in pieces of %d became %q", raw, size, m)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDraftLargeBody(t *testing.T) {
	dir := t.TempDir()
	raw := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 40_000)
	d := NewDraft(dir, Limits{})
	if _, err := io.Copy(d, iotest.HalfReader(strings.NewReader(raw))); err != nil {
		t.Fatal(err)
	}
	if cap(d.body) != 0 {
		t.Errorf("%d octets of the body are still in memory", cap(d.body))
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the file has a name: %v", left)
	}
	m, err := d.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 2 {
		if m.String() != raw {
			t.Fatal("the message has changed")
		}
	}
}

func TestDraftLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		raw    string
		want   error
	}{
		"size":             {Limits{Size: 20}, "A: b\r\n\r\n" + strings.Repeat("x", 13), ErrTooLarge},
		"size is enough":   {Limits{Size: 20}, "A: b\r\n\r\n" + strings.Repeat("x", 12), nil},
		"header":           {Limits{HeaderSize: 20}, "A: " + strings.Repeat("x", 30) + "\r\n\r\n", ErrHeaderTooLarge},
		"header, no end":   {Limits{HeaderSize: 20}, "A: " + strings.Repeat("x", 300), ErrHeaderTooLarge},
		"header is enough": {Limits{HeaderSize: 20}, "A: 3456789012345\r\n\r\n" + strings.Repeat("x", 300), nil},
		"fields":           {Limits{HeaderCount: 2}, "A: 1\r\nB: 1\r\nC: 1\r\n\r\n", ErrHeaderTooLarge},
		"fields enough":    {Limits{HeaderCount: 2}, "A: 1\r\n x\r\n x\r\nB: 1\r\n\r\nC: 1\r\n", nil},
	} {
		d := NewDraft(t.TempDir(), c.limits)
		_, err := d.Write([]byte(c.raw))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := d.Message(); !errors.Is(err, c.want) {
			t.Errorf("%s: Message: %v, want %v", name, err, c.want)
		}
		d.Discard()
	}
}

func TestDraftWithoutSpace(t *testing.T) {
	d := NewDraft("/nowhere/at/all", Limits{InMemory: 1})
	_, err := d.Write([]byte("A: b\r\n\r\nbody"))
	if r := RefusalOf(err); r.Code != 452 {
		t.Errorf("%v, want 452", err)
	}
}

func TestRefusalOf(t *testing.T) {
	if r := RefusalOf(errors.New("disk on fire")); r.Code != 451 || strings.Contains(r.Text, "fire") || IsPermanent(r) {
		t.Errorf("%v", r)
	}
	cause := errors.New("p=reject")
	err := error(Reject(550, "5.7.1", "no").Because(cause))
	if r := RefusalOf(err); r.Code != 550 || !errors.Is(err, cause) || !IsPermanent(err) {
		t.Errorf("%v", r)
	}
}

func TestNotify(t *testing.T) {
	for n, want := range map[Notify]string{0: "", NotifyNever: "NEVER", NotifySuccess | NotifyDelay: "SUCCESS,DELAY"} {
		if n.String() != want {
			t.Errorf("%d prints %q, want %q", n, n, want)
		}
	}
}

func TestHeaderOnlyGrowsAndShrinksByFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.SampledFrom([]byte("ab: \t\r\n\x00\xff"))).Draw(t, "raw")
		m := NewMessage(raw)
		m.Header.Prepend(NewField("X-Ours", "1"))
		if got := m.String(); got != "X-Ours: 1\r\n"+string(raw) {
			t.Fatalf("%q became %q", raw, got)
		}
		m.Header.Strike(func(f Field) bool { return f.Is("X-Ours") })
		if got := m.String(); got != string(raw) {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, raw := range odd {
		f.Add([]byte(raw), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		if size < 1 || len(raw) > 1<<16 {
			return
		}
		m := NewMessage(raw)
		d := NewDraft("", Limits{InMemory: 64})
		for rest := raw; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := d.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		same, err := d.Message()
		if err != nil {
			t.Fatal(err)
		}
		defer same.Close()
		var a, b bytes.Buffer
		m.WriteTo(&a)
		same.WriteTo(&b)
		if !bytes.Equal(a.Bytes(), raw) || !bytes.Equal(b.Bytes(), raw) {
			t.Fatal("the bytes have changed")
		}
		for field := range m.Header.All() {
			_, _ = field.Value(), field.Name()
		}
	})
}
