package check

import (
	"encoding/json"
	"io"
	"time"
)

// SchemaVersion counts up when the meaning of a field of a Report changes; new fields and new
// checks do not count.
const SchemaVersion = 1

// A Report is all that was found.
type Report struct {
	Version int       `json:"version"` // SchemaVersion
	Domain  string    `json:"domain"`
	Time    time.Time `json:"time"` // of the beginning
	Took    float64   `json:"seconds"`
	Result  Status    `json:"result"` // "ok", "wrong" or "unknown"
	Lines   []Line    `json:"lines"`
}

// result is Wrong if any line is, else Unknown if any line is, else OK.
func result(lines []Line) Status {
	out := OK
	for _, l := range lines {
		switch l.Status {
		case Wrong:
			return Wrong
		case Unknown:
			out = Unknown
		}
	}
	return out
}

// Count returns how many lines have a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, l := range r.Lines {
		if l.Status == s {
			n++
		}
	}
	return n
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
