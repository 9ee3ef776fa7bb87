package measure

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/spam"
	"stagecoach/spam/corpus"
)

func collection(t *testing.T) []corpus.Mail {
	t.Helper()
	dir := os.Getenv("SPAM_CORPUS")
	if dir == "" {
		if os.Getenv("REQUIRE_PEERS") != "" {
			t.Fatal("SPAM_CORPUS names no collection")
		}
		t.Skip("SPAM_CORPUS names no collection")
	}
	all, err := corpus.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err = corpus.Distinct(all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The model in the binary is what its collection gives, bit for bit.
func TestDefaultModelIsRebuilt(t *testing.T) {
	var tr spam.Trainer
	for _, m := range collection(t) {
		msg, err := m.Message()
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Add(msg, m.Spam); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	if _, err := tr.Model("2002.1").WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../default.model")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the model differs: rebuild it as docs/filter.md says")
	}
}

// Learned from the mail of one year and other collectors, the filter knows that of the next.
func TestAcrossCollections(t *testing.T) {
	var learn, test []corpus.Mail
	for _, m := range collection(t) {
		switch filepath.Base(filepath.Dir(m.Path)) {
		case "easy-ham-1", "hard-ham-1", "spam-1":
			learn = append(learn, m)
		default:
			test = append(test, m)
		}
	}
	r, err := Run(learn, Settings{Test: test})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.AUC > 0.12 || r.FalsePositives*100 > r.Ham {
		t.Errorf("1-AUC %.3f %%, %d of %d good mails called spam", r.AUC, r.FalsePositives, r.Ham)
	}
}

func TestArea(t *testing.T) {
	for _, c := range []struct {
		s      []score
		loss   float64
		misses int
	}{
		{[]score{{1, false}, {2, true}, {3, true}}, 0, 0},
		{[]score{{2, false}, {1, true}, {3, true}}, 50, 1},
		{[]score{{1, false}, {1, true}}, 50, 1},
		{[]score{{2, false}, {1, true}}, 100, 1},
	} {
		if loss, misses := area(c.s); loss != c.loss || misses != c.misses {
			t.Errorf("%v: %v %d, want %v %d", c.s, loss, misses, c.loss, c.misses)
		}
	}
	if loss, _ := area([]score{{1, true}}); !math.IsNaN(loss) {
		t.Errorf("without good mail: %v", loss)
	}
}

func TestRunOnFolders(t *testing.T) {
	dir := t.TempDir()
	for label, text := range map[string]string{"spam": "buy cheap pills without prescription today", "ham": "the committee meets on monday in the small room"} {
		if err := os.Mkdir(filepath.Join(dir, label), 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			raw := "Date: Mon, 2 Jan 2006 15:04:05 +0000\nSubject: " + text + "\n\n" + strings.Repeat(text+" ", i%5+1) + string(rune('a'+i%26)) + string(rune('a'+i/26))
			if err := os.WriteFile(filepath.Join(dir, label, string(rune('a'+i%26))+string(rune('a'+i/26))), []byte(raw), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := corpus.Open(dir)
	if err != nil || len(all) != 80 {
		t.Fatal(len(all), err)
	}
	for name, s := range map[string]Settings{"random": {Split: "random:1:70"}, "chronological": {Chronological: true}, "online": {Online: true, Split: "random:1:70"}} {
		r, err := Run(all, s)
		if err != nil || r.Ham+r.Spam == 0 || name == "random" && (r.AUC != 0 || r.FalsePositives != 0 || r.Learned != 56) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := Run(all, Settings{Split: "random"}); err == nil {
		t.Error("a split without numbers was taken")
	}
}
