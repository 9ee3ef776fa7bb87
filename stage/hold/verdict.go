package hold

import (
	"strconv"
	"strings"

	"stagecoach/mail"
)

// The fields in which the filter says what it thinks.
const (
	labelField  = "X-Spamtacus"
	statusField = "X-Spam-Status"
	flagField   = "X-Spam-Flag"
)

// A verdict is what the filter wrote into the header.
type verdict struct {
	spam        bool
	probability float64
	reason      string // the strongest that speaks for spam
}

// verdictOf reads the topmost fields. What it does not understand is no spam.
func verdictOf(h *mail.Header) verdict {
	v := verdict{spam: strings.EqualFold(h.Value(labelField), "yes")}
	status := h.Value(statusField)
	_, number, _ := strings.Cut(status, "probability=")
	number, _, _ = strings.Cut(number, ",")
	p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(p >= 0 && p <= 1) {
		v.spam = false
	}
	v.probability = p
	_, reasons, _ := strings.Cut(status, "reasons=")
	for r := range strings.SplitSeq(reasons, ",") {
		r = strings.TrimSpace(r)
		if text, weight, ok := cutLast(r, "_("); ok && strings.HasPrefix(weight, "+") {
			v.reason = strings.ReplaceAll(text, "_", " ")
			break
		}
	}
	return v
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// relabel changes the label of a mail that its reader has released.
func relabel(h *mail.Header, v verdict) {
	h.Strike(func(f mail.Field) bool { return f.Is(labelField) || f.Is(statusField) || f.Is(flagField) })
	h.Prepend(mail.NewField(labelField, "released"),
		mail.NewField(statusField, "No, released by the recipient, probability="+strconv.FormatFloat(v.probability, 'g', -1, 64)))
}
