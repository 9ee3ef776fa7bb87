package generate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/lab/peer"
)

// reader prints what Python's email package finds in mails: each leaf with its type and the
// hash of its content.
const reader = `
import email, hashlib, sys
for name in sys.argv[1:]:
    with open(name, "rb") as f:
        m = email.message_from_bytes(f.read()) # the one for files loses CR
    for p in m.walk():
        if not p.is_multipart():
            body = p.get_payload(decode=True) or b""
            print(p.get_content_type(), hashlib.sha256(body).hexdigest())
    print("end")
`

func leaves(e Entity, out *strings.Builder) {
	for _, p := range e.Parts {
		leaves(p, out)
	}
	if len(e.Parts) == 0 {
		sum := sha256.Sum256(e.Content)
		fmt.Fprintf(out, "%s %s\n", e.Type, hex.EncodeToString(sum[:]))
	}
}

// Somebody else's reader finds the same. It does not know comments in Content-Type, nor
// Content-Transfer-Encoding folded before its value, so mails with these are not shown to it.
func TestPython(t *testing.T) {
	python := peer.NeedPython(t)
	dir := t.TempDir()
	const count = 300
	args := []string{"-c", reader}
	var want []string
	for m := range All(0, count) {
		if raw := strings.ToLower(string(m.Raw)); strings.Contains(raw, "; (comment) ") || strings.Contains(raw, "encoding:\r\n ") {
			continue
		}
		name := filepath.Join(dir, fmt.Sprint(len(want)))
		if err := os.WriteFile(name, m.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
		var b strings.Builder
		leaves(m.Body, &b)
		want = append(want, b.String())
	}
	out, err := exec.Command(python, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < count/2 {
		t.Fatalf("only %d mails", len(want))
	}
	for i, got := range strings.Split(strings.TrimSuffix(string(out), "end\n"), "end\n") {
		if got != want[i] {
			t.Errorf("%s:\n%s\nwant\n%s", args[i+2], got, want[i])
		}
	}
}
