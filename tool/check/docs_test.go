package check

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/check.md anew")

// docs/check.md lists all checks, as they explain themselves.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/check.md", "-update -->\n", "<!-- end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the marks of the table are gone")
	}
	var table strings.Builder
	table.WriteString("\n| name | what | why it matters | what to do |\n|---|---|---|---|\n")
	for _, c := range Checks() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", c.ID, c.Title, c.Why, c.Fix)
	}
	table.WriteString("\n")
	want := head + begin + table.String() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("docs/check.md is not up to date: go test ./tool/check -run TestDocs -update")
	}
}
