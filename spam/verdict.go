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
	Taught      float64  // what lessons added to Odds; only from Explain
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

// Evidence is what is known of a mail beside what it says: who wrote it, who vouches for him.
// Weight is as in Reason, in units of the logarithm of the odds.
type Evidence struct {
	Text   string
	Weight float64
	Sure   bool // it means something although no word is known
}

// Beside is what a judgement takes into account beside the mail and the model.
type Beside struct {
	Evidence []Evidence
	Lessons  []Lesson // what was taught by those to whom the mail goes
}

// reader takes a reader from the pool that has read a mail.
func (j *Judge) reader(m *mail.Message, names *names, lessons bool) (*reader, error) {
	r, ok := j.readers.Get().(*reader)
	if !ok {
		r = newReader()
	}
	r.routes, r.hops, r.names = j.Model.routes || lessons, j.Model.routes, names
	if err := r.read(m); err != nil {
		j.readers.Put(r)
		return nil, err
	}
	return r, nil
}

// Judge classifies a mail. An error is one of reading its body; then the verdict is Unknown.
func (j *Judge) Judge(m *mail.Message, b Beside) (Verdict, error) {
	r, err := j.reader(m, nil, len(b.Lessons) > 0)
	if err != nil {
		return Verdict{Label: Unknown, Probability: 0.5}, err
	}
	defer j.readers.Put(r)
	return j.judge(r, b.evidence(r)), nil
}

// Explain is Judge with reasons. It takes about three times as long.
func (j *Judge) Explain(m *mail.Message, b Beside) (Verdict, error) {
	r, err := j.reader(m, newNames(), len(b.Lessons) > 0)
	if err != nil {
		return Verdict{Label: Unknown, Probability: 0.5}, err
	}
	defer j.readers.Put(r)
	all := b.evidence(r)
	v := j.judge(r, all)
	v.Reasons = j.reasons(r, all)
	if len(all) > len(b.Evidence) { // the lessons stand last
		v.Taught = all[len(all)-1].Weight
	}
	return v, nil
}

// evidence adds what the lessons say of the mail that r has read.
func (b Beside) evidence(r *reader) []Evidence {
	if len(b.Lessons) == 0 {
		return b.Evidence
	}
	w := recall(r, b.Lessons)
	if math.Abs(w) < 0.01 {
		return b.Evidence
	}
	text := "resembles mail that you taught to be good"
	if w > 0 {
		text = "resembles mail that you taught to be spam"
	}
	return append(slices.Clip(b.Evidence), Evidence{Text: text, Weight: w, Sure: math.Abs(w) > sureLesson})
}

// sureLesson is how much of a lesson a mail must recall for its label to count although it has
// few known words.
const sureLesson = 3

func (j *Judge) odds(r *reader) float64 {
	return j.Model.meta.Slope*j.Model.sum(&r.f.slots) + j.Model.meta.Offset
}

func (j *Judge) judge(r *reader, all []Evidence) Verdict {
	v := Verdict{Words: j.Model.known(&r.f.slots), Odds: j.odds(r)}
	sure := v.Words >= minKnown
	for _, e := range all {
		v.Odds += e.Weight
		sure = sure || e.Sure
	}
	v.Probability = Probability(v.Odds)
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

// Probability returns the probability whose odds have this logarithm.
func Probability(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

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

// Facts returns what a mail is and does, in phrases: the features that no word is behind.
func Facts(m *mail.Message) []string {
	r := newReader()
	r.names = newNames()
	if r.read(m) != nil {
		return nil
	}
	var out []string
	for _, i := range r.f.slots[facts] {
		out = append(out, r.names.phrase[i])
	}
	return out
}
