// Package spam tells spam from good mail. It learns from examples, says how sure it is and why,
// and says "unknown" where it has learned nothing.
//
// A mail becomes some thousands of features: octets by fours, words and pairs of words, words of
// the header, facts of structure. Each has a slot in a table of weights by its hash; what
// the slots of a mail add up to is the evidence. The work for one mail is bounded, whatever the mail.
package spam

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"stagecoach/mail"
)

// A Label is the answer.
type Label string

// The labels.
const (
	Yes     Label = "yes"
	No      Label = "no"
	Unknown Label = "unknown"
)

// A Verdict is what is thought of a mail.
type Verdict struct {
	Label       Label
	Probability float64  // that it is spam, 0 to 1
	Reasons     []Reason // what weighed most, the strongest first; only from Explain
	Odds        float64  // logarithm of the odds: as the probability, without its rounding
	Words       int      // words and pairs of which something is known
}

// A Reason is a part of the evidence.
type Reason struct {
	Text   string  // for people: "the subject is in capitals", "the word mortgage"
	Weight float64 // what it added; positive speaks for spam, about 2 are much
}

// String says it in words.
func (r Reason) String() string { return fmt.Sprintf("%s (%+.1f)", r.Text, r.Weight) }

// minKnown is how many words the model must know for its evidence to mean anything.
const minKnown = 10

// A Judge judges mail by a model. It is safe for concurrent use.
type Judge struct {
	Model *Model

	readers sync.Pool
}

func (j *Judge) reader() *reader {
	r, ok := j.readers.Get().(*reader)
	if !ok {
		r = newReader()
	}
	r.routes, r.names = j.Model.routes, nil
	return r
}

// Judge classifies a mail. An error is one of reading its body; then the verdict is Unknown.
func (j *Judge) Judge(m *mail.Message, extra ...Evidence) (Verdict, error) {
	r := j.reader()
	defer j.readers.Put(r)
	if err := r.read(m); err != nil {
		return Verdict{Label: Unknown, Probability: 0.5}, err
	}
	return j.judge(r, extra), nil
}

// Explain is Judge with reasons. It takes about three times as long.
func (j *Judge) Explain(m *mail.Message, extra ...Evidence) (Verdict, error) {
	r := j.reader()
	defer j.readers.Put(r)
	r.names = newNames()
	if err := r.read(m); err != nil {
		return Verdict{Label: Unknown, Probability: 0.5}, err
	}
	v := j.judge(r, extra)
	v.Reasons = j.reasons(r, extra)
	return v, nil
}

// Evidence is what is known of a mail beside what it says: who wrote it, who vouches for him,
// what a user taught. Weight is as in Reason, in units of the logarithm of the odds.
type Evidence struct {
	Text   string
	Weight float64
	Sure   bool // it means something although no word is known
}

func (j *Judge) judge(r *reader, extra []Evidence) Verdict {
	s := &r.f.slots
	v := Verdict{Words: j.Model.known(s)}
	odds := j.Model.meta.Slope*j.Model.sum(s) + j.Model.meta.Offset
	sure := v.Words >= minKnown
	for _, e := range extra {
		odds += e.Weight
		sure = sure || e.Sure
	}
	v.Odds, v.Probability = odds, 1/(1+math.Exp(-odds))
	switch {
	case r.limited || !sure:
		v.Label = Unknown
	case v.Probability >= j.Model.meta.Yes:
		v.Label = Yes
	case v.Probability <= j.Model.meta.No:
		v.Label = No
	default:
		v.Label = Unknown
	}
	return v
}

const maxReasons = 12

// reasons adds up what each word and each fact contributed.
func (j *Judge) reasons(r *reader, extra []Evidence) []Reason {
	weight := map[string]float64{}
	for g := range r.f.slots {
		s := r.f.slots[g]
		if len(s) == 0 {
			continue
		}
		unit := float64(j.Model.scale*value(family(g), len(s))) * j.Model.meta.Slope
		for _, i := range s {
			if w := j.Model.weights[i]; w != 0 {
				if text := r.names.text(family(g), i); text != "" {
					weight[text] += float64(w) * unit
				}
			}
		}
	}
	for _, e := range extra {
		weight[e.Text] += e.Weight
	}
	out := make([]Reason, 0, len(weight))
	for text, w := range weight {
		if math.Abs(w) >= 0.05 {
			out = append(out, Reason{text, w})
		}
	}
	slices.SortFunc(out, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Weight), math.Abs(a.Weight)), strings.Compare(a.Text, b.Text))
	})
	return out[:min(len(out), maxReasons)]
}

// text says what a slot of this mail stands for, "" for what cannot be said.
func (n *names) text(g family, slot uint32) string {
	switch g {
	case facts:
		return n.phrase[slot]
	case marks:
		if p := n.phrase[slot]; p != "" {
			return "form: " + p
		}
	case grams:
		if w := n.grams[slot]; w != "" {
			return "word: " + w
		}
	case words:
		if w := n.token[slot]; w != "" {
			return "word: " + w
		}
	default:
		return n.token[slot]
	}
	return ""
}
