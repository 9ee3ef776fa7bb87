package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// docs/commands.md is what --help prints, for every command.
func TestCommands(t *testing.T) {
	var doc bytes.Buffer
	fmt.Fprintf(&doc, "# Commands\n\nWhat `--help` prints; made by `go test ./cmd/stagecoach -run TestCommands -update`.\n")
	writeHelp(t, &doc, nil)
	var c cli
	p, err := parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range p.Model.Leaves(true) {
		path := strings.Fields(leaf.Path())
		help := writeHelp(t, &doc, path)
		if name := leaf.Name; name != "version" && !strings.Contains(help, "Example") && !strings.Contains(help, "A configuration that is enough") {
			t.Errorf("the help of %v has no example", path)
		}
	}
	checkGenerated(t, "../../docs/commands.md", doc.String())
}

func writeHelp(t *testing.T, doc *bytes.Buffer, command []string) string {
	t.Helper()
	var c cli
	var out bytes.Buffer
	p, err := parser(&c, kong.Writers(&out, &out), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	p.Parse(append(append([]string{}, command...), "--help")) //nolint:errcheck // what is missing is not asked for by --help
	help := out.String()
	if i := strings.Index(help, "stagecoach: error"); i >= 0 {
		help = help[:i]
	}
	fmt.Fprintf(doc, "\n## %s\n\n```\n%s\n```\n", strings.TrimSpace("stagecoach "+strings.Join(command, " ")), strings.TrimSpace(help))
	return help
}
