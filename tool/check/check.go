package check

import (
	"context"
	"fmt"
	"slices"
)

// A Check is one thing that is looked at.
type Check struct {
	ID    string // stable: scripts name it
	Title string
	Why   string // it matters
	Fix   string // what to do in general; a Line may know better

	run   func(ctx context.Context, l *look, f *findings)
	after []string // checks whose lines this one judges
}

// Status says what came of a check.
type Status string

// The statuses. Only Wrong and Unknown keep a domain from being all right.
const (
	OK      Status = "ok"
	Note    Status = "note"    // it works; it could be better
	Wrong   Status = "wrong"   // it has to be mended
	Unknown Status = "unknown" // it could not be told now; another time may tell
	Skipped Status = "skipped" // it does not apply here, or rests on something that another line calls wrong
)

// A Line is one thing that was found.
type Line struct {
	ID     string `json:"id"` // of the Check
	Status Status `json:"status"`
	About  string `json:"about,omitempty"` // the host, address or name concerned
	Text   string `json:"text"`
	Why    string `json:"why,omitempty"` // it matters; of lines that are wrong or a note, and where silence may have a cause
	Fix    string `json:"fix,omitempty"` // what to do; likewise
}

// Checks returns all checks in the order of their lines.
func Checks() []Check {
	return slices.Concat(zoneChecks(), hostChecks(), policyChecks(), machineChecks(), receiverChecks())
}

// IDs returns the names of all checks.
func IDs() []string {
	var out []string
	for _, c := range Checks() {
		out = append(out, c.ID)
	}
	return out
}

// findings collects the lines of one check. It belongs to one goroutine.
type findings struct {
	check Check
	lines []Line
	shown func(id string) bool // whether the lines of a check are in the report
}

func (f *findings) add(s Status, about, fix, format string, args ...any) {
	line := Line{ID: f.check.ID, Status: s, About: about, Text: clean(fmt.Sprintf(format, args...))}
	if s == Note || s == Wrong {
		line.Why, line.Fix = f.check.Why, fix
		if fix == "" {
			line.Fix = f.check.Fix
		}
	}
	f.lines = append(f.lines, line)
}

func (f *findings) ok(about, format string, args ...any) { f.add(OK, about, "", format, args...) }

func (f *findings) skip(about, format string, args ...any) {
	f.add(Skipped, about, "", format, args...)
}

// rest says that nothing can be told before that is right which another check tells. Where the
// report does not have that one, all is not right.
func (f *findings) rest(on, about, text string) {
	if f.shown(on) {
		f.skip(about, "%s; see %s", text, on)
	} else {
		f.unknown(about, "%s; the check %s would tell", text, on)
	}
}

func (f *findings) unknown(about, format string, args ...any) {
	f.add(Unknown, about, "", format, args...)
}

// silent is unknown where what the check says in general may help already.
func (f *findings) silent(about, format string, args ...any) {
	f.unknown(about, format, args...)
	line := &f.lines[len(f.lines)-1]
	line.Why, line.Fix = f.check.Why, f.check.Fix
}

// note and wrong take what to do; "" is what the check says in general.
func (f *findings) note(about, fix, format string, args ...any) {
	f.add(Note, about, fix, format, args...)
}

func (f *findings) wrong(about, fix, format string, args ...any) {
	f.add(Wrong, about, fix, format, args...)
}

// bad reports whether something stands in the way of ok.
func (f *findings) bad() bool {
	return slices.ContainsFunc(f.lines, func(l Line) bool { return l.Status != OK })
}

// maxText bounds a line: what servers say goes into it.
const maxText = 600

// clean keeps the texts of strangers on their line.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			out[i] = ' '
		}
	}
	return string(out)
}
