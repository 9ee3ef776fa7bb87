package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A talk asks people on a terminal, and tells them things. Colour is for terminals only.
type talk struct {
	in     *bufio.Reader
	out    io.Writer
	quiet  bool // ask nothing, every default holds
	reader bool // somebody can answer
	colour bool
}

func newTalk(in, out *os.File, quiet bool) *talk {
	return &talk{
		in: bufio.NewReader(in), out: out, quiet: quiet,
		reader: term.IsTerminal(int(in.Fd())),
		colour: term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
}

// possible fails where questions would come and nobody could answer.
func (t *talk) possible() error {
	if t.quiet || t.reader {
		return nil
	}
	return errors.New("standard input is no terminal, so nobody can be asked: --yes takes the defaults (--address, --user and --target say what has none)")
}

// say writes lines.
func (t *talk) say(format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
}

// title writes a line that stands out.
func (t *talk) title(text string) { t.say("\n%s", t.paint("1", text)) }

// warn writes a line that must not be overlooked.
func (t *talk) warn(format string, args ...any) {
	t.say("%s %s", t.paint("33;1", "Note:"), fmt.Sprintf(format, args...))
}

func (t *talk) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// ask returns the answer to a question, the default for an empty one. It asks again as long as
// check has an error.
func (t *talk) ask(question, fallback string, check func(string) error) (string, error) {
	if t.quiet {
		return fallback, check(fallback)
	}
	t.say("\n%s", question)
	for {
		fmt.Fprintf(t.out, "%s ", t.paint("1", "["+fallback+"]"))
		line, err := t.in.ReadString('\n')
		if err != nil {
			return "", errors.Join(errors.New("the answer did not come"), err)
		}
		answer := strings.TrimSpace(line)
		if answer == "" {
			answer = fallback
		}
		if err := check(answer); err != nil {
			t.say("  %v", err)
			continue
		}
		return answer, nil
	}
}

// confirm asks for a yes, which is the default.
func (t *talk) confirm(question string) (bool, error) {
	answer, err := t.ask(question, "yes", func(s string) error {
		switch strings.ToLower(s) {
		case "y", "yes", "n", "no":
			return nil
		}
		return errors.New("yes or no?")
	})
	return strings.HasPrefix(strings.ToLower(answer), "y"), err
}
