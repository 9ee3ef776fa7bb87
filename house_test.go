package stagecoach

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"os"
)

// house says who may import whom: a room, a colon, the rooms of this house that it may
// import. "*" is every room. What stands below is the architecture; a new arrow is a
// decision, not a detail. Tests may besides import what testsToo names.
const house = `
mail             :
repo             :
rfc/dns          :
rfc/dns/dnstest  : rfc/dns
rfc/sasl         :
rfc/authres      : mail
rfc/smtp         : mail rfc/sasl
rfc/spf          : mail rfc/dns
rfc/dkim         : mail rfc/dns
rfc/arc          : mail rfc/dns rfc/dkim rfc/authres
rfc/dmarc        : mail rfc/dns
rfc/srs          : mail
rfc/dsn          : mail
rfc/fortuna      :
account          : mail repo rfc/sasl
stage/submit     : mail account rfc/sasl
stage/verify     : mail account rfc/dns rfc/authres rfc/spf rfc/dkim rfc/arc rfc/dmarc
spam/mime        :
spam             : mail spam/mime
spam/corpus      : mail
spam/measure     : mail spam spam/corpus
spam/teach       : mail spam
spam/signal      : mail spam rfc/dns
stage/filter     : mail spam spam/teach spam/signal rfc/authres
stage/teach      : mail account spam spam/teach spam/mime
stage/confirm    : mail account
stage/hold       : mail spam/mime
stage/forward    : mail account rfc/srs rfc/authres rfc/dsn
stage/sign       : mail rfc/dkim rfc/arc rfc/authres
stage/queue      : mail rfc/dsn rfc/authres
stage/relay      : mail rfc/dns rfc/smtp rfc/srs
stage/stagetest  : mail rfc/smtp
name/authority   : repo rfc/dns
name/resolver    : rfc/dns
name/publish     : mail rfc/dns rfc/dkim rfc/spf
name/cert        : rfc/dns rfc/fortuna name/publish
name/resolver/scenario : name/resolver rfc/dns rfc/dns/dnstest
tool/mime        : mail
tool/compose     : mail tool/mime
tool/generate    : mail tool/mime
tool/trace       : mail
tool/check       : mail rfc/dns rfc/spf rfc/dkim rfc/dmarc
tool/setup       : mail rfc/dns
lab              : *
lab/peer         :
lab/postfix      :
lab/load         : *
lab/traffic      :
cmd/stagecoach   : *
test/articles    : *
test/newcomer    : *
`

// testsToo are the rooms that any test may import.
var testsToo = []string{"rfc/dns/dnstest", "rfc/smtp", "lab/peer", "lab/postfix", "stage/stagetest", "tool/generate"}

// A test of what is written into zones may besides run the name server that holds them, and one of
// the filter read the corpora.
var testsOf = map[string][]string{"stage/confirm": {"repo"}, "name/cert": {"name/authority", "repo"}, "name/publish": {"name/authority", "repo"}, "spam": {"spam/corpus"}, "tool/check": {"lab"}}

// Foreign modules that only one room may see.
var onlyIn = map[string]string{
	"github.com/miekg/dns":          "rfc/dns",
	"github.com/cockroachdb/pebble": "stage/queue",
	"github.com/go-git/go-git":      "repo",
	"github.com/mholt/acmez":        "name/cert",
	"github.com/alecthomas/kong":    "cmd/stagecoach",
	"github.com/pelletier/go-toml":  "cmd/stagecoach",
	"github.com/prometheus":         "cmd/stagecoach",
}

// The test parses the files itself: one that asked the go command would be cached as passed.
func TestHouse(t *testing.T) {
	allowed := readHouse(t)
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && file != ".") {
			return fs.SkipDir
		}
		if strings.HasSuffix(file, ".go") && path.Dir(file) != "." {
			checkFile(t, file, allowed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readHouse(t *testing.T) map[string][]string {
	t.Helper()
	allowed := map[string][]string{}
	for line := range strings.Lines(house) {
		room, arrows, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		room = strings.TrimSpace(room)
		if allowed[room] != nil {
			t.Fatalf("%s stands twice in the table", room)
		}
		allowed[room] = append([]string{room}, strings.Fields(arrows)...)
	}
	return allowed
}

func checkFile(t *testing.T, file string, allowed map[string][]string) {
	t.Helper()
	room := path.Dir(file)
	may, ok := allowed[room]
	if !ok {
		t.Errorf("%s: the room %s is not in the table of house_test.go", file, room)
		return
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range parsed.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		for module, owner := range onlyIn {
			if strings.HasPrefix(imported, module) && room != owner && !strings.HasPrefix(room, owner+"/") {
				t.Errorf("%s imports %s, which only %s may see", file, imported, owner)
			}
		}
		to, ours := strings.CutPrefix(imported, "stagecoach/")
		test := strings.HasSuffix(file, "_test.go") && (slices.Contains(testsToo, to) || slices.Contains(testsOf[room], to))
		if ours && !test && !slices.Contains(may, to) && !slices.Contains(may, "*") {
			t.Errorf("%s: %s may not import %s", file, room, to)
		}
	}
}

// Limits of size: what grows past them wants to be two things that explain themselves.
const maxLines = 500

func TestNoGodFiles(t *testing.T) {
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		text, err := os.ReadFile(file)
		if n := strings.Count(string(text), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, more than %d", file, n, maxLines)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
