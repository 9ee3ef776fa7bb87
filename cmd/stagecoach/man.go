package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

type manCmd struct {
	Dir string `arg:"" help:"Folder to write them to, as /usr/local/share/man/man1; it is made." placeholder:"DIR"`
}

// Help shows examples.
func (manCmd) Help() string {
	return `One page for each command: stagecoach(1), stagecoach-init(1), stagecoach-mail-send(1) ...

Examples:

  stagecoach man man1
  man ./man1/stagecoach-init.1`
}

// Run writes the pages.
func (c manCmd) Run() error {
	pages, err := manPages()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(c.Dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manPages returns the page of each command that is not hidden, by the name of its file.
func manPages() (map[string][]byte, error) {
	var c cli
	p, err := parser(&c)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		var b bytes.Buffer
		manPage{&b, n, path}.write()
		out[strings.Join(path, "-")+".1"] = b.Bytes()
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child, append(path[:len(path):len(path)], child.Name))
			}
		}
	}
	walk(p.Model.Node, []string{p.Model.Name})
	return out, nil
}

// A manPage is the page of one command, in the language of man(7).
type manPage struct {
	out  *bytes.Buffer
	node *kong.Node
	path []string // words of the command
}

func (m manPage) line(format string, args ...any) { fmt.Fprintf(m.out, format+"\n", args...) }

func (m manPage) write() {
	name := strings.Join(m.path, "-")
	m.line(".TH %s 1 \"\" Stagecoach \"Stagecoach Manual\"", strings.ToUpper(roff(name)))
	m.line(".SH NAME")
	m.line("%s \\- %s", roff(name), roff(strings.ToLower(m.node.Help[:1])+strings.TrimSuffix(m.node.Help[1:], ".")))
	m.synopsis()
	if m.node.Detail != "" {
		m.line(".SH DESCRIPTION")
		m.text(m.node.Detail)
	}
	m.arguments()
	m.flags()
	m.commands()
	m.line(".SH EXIT STATUS")
	m.line("0 when all went well; 1 when not; 75 when it may go well later; 80 when the command line is wrong. Commands with more of them say so above.")
	if len(m.path) > 1 {
		m.line(".SH SEE ALSO")
		m.line(".BR %s (1)", roff(strings.Join(m.path[:len(m.path)-1], "-")))
	}
}

func (m manPage) synopsis() {
	m.line(".SH SYNOPSIS")
	m.line(".B %s", roff(strings.Join(m.path, " ")))
	for _, p := range m.node.Positional {
		m.line("%s", roff(p.Summary()))
	}
	if len(m.node.Children) > 0 {
		m.line(".I command")
	}
	m.line(".RI [ flags ]")
}

func (m manPage) arguments() {
	if len(m.node.Positional) == 0 {
		return
	}
	m.line(".SH ARGUMENTS")
	for _, p := range m.node.Positional {
		m.item(roff(p.Summary()), p.Help)
	}
}

func (m manPage) flags() {
	m.line(".SH FLAGS")
	for _, group := range m.node.AllFlags(true) {
		for _, f := range group {
			m.item(manFlag(f), f.Help)
		}
	}
}

// manFlag is a flag as it is typed: -c, --config=FILE.
func manFlag(f *kong.Flag) string {
	name := "--" + f.Name
	if f.Tag.Negatable != "" {
		name = "--[no-]" + f.Name
	}
	if f.Short != 0 {
		name = "-" + string(f.Short) + ", " + name
	}
	out := "\\fB" + roff(name) + "\\fR"
	if !f.IsBool() && !f.IsCounter() {
		out += "=\\fI" + roff(f.FormatPlaceHolder()) + "\\fR"
	}
	return out
}

func (m manPage) commands() {
	if len(m.node.Children) == 0 {
		return
	}
	m.line(".SH COMMANDS")
	for _, child := range m.node.Children {
		if !child.Hidden {
			m.item("\\fB"+roff(strings.Join(append(m.path[1:len(m.path):len(m.path)], child.Name), " "))+"\\fR", child.Help)
		}
	}
}

func (m manPage) item(head, text string) {
	m.line(".TP\n%s\n%s", head, roff(text))
}

// text writes paragraphs; lines that are indented stay as they are.
func (m manPage) text(s string) {
	code, gap := false, true
	for line := range strings.Lines(strings.TrimSpace(s) + "\n") {
		line = strings.TrimRight(line, " \n")
		switch indented := strings.HasPrefix(line, "  "); {
		case line == "":
			gap = true
			continue
		case indented && !code:
			m.line(".PP\n.in +4n\n.EX")
		case !indented && code:
			m.line(".EE\n.in\n.PP")
		case gap && code:
			m.line("")
		case gap && m.out.Len() > 0 && !bytes.HasSuffix(m.out.Bytes(), []byte(".SH DESCRIPTION\n")):
			m.line(".PP")
		}
		code, gap = strings.HasPrefix(line, "  "), false
		m.line("%s", roff(strings.TrimPrefix(line, "  ")))
	}
	if code {
		m.line(".EE\n.in")
	}
}

// roff takes what the language of man pages has meanings for from a text.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "…", `\&...`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
