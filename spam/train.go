package spam

import (
	"math"
	"slices"

	"stagecoach/mail"
)

// A Trainer collects mails and makes a model of them. It keeps about 3 kB of each. It is not
// safe for concurrent use.
type Trainer struct {
	// Routes says that the model will stay where the mails were received: then the names of
	// lists, hosts and correspondents count too. Elsewhere they would be accidents.
	Routes bool

	reader   *reader
	examples []example
	spam     uint32
}

// Add takes a mail. An error is one of reading its body.
func (t *Trainer) Add(m *mail.Message, spam bool) error {
	if t.reader == nil {
		t.reader = newReader()
	}
	t.reader.routes, t.reader.hops = t.Routes, t.Routes
	if err := t.reader.read(m); err != nil {
		return err
	}
	t.examples = append(t.examples, pack(&t.reader.f.slots, spam))
	if spam {
		t.spam++
	}
	return nil
}

// Len returns how many mails were taken.
func (t *Trainer) Len() int { return len(t.examples) }

const (
	epochs  = 10
	folds   = 2 // for the calibration
	atMost  = 0.001
	trainBy = 1 // seed of the order
)

// Model learns from all that was added: the same mails in the same order give the same model,
// bit for bit. Its thresholds are those at which, among mails that were left out of the learning
// by turns, at most one good mail in a thousand was called spam and one spam in a hundred good.
func (t *Trainer) Model(name string) *Model {
	outside := make([]scored, len(t.examples))
	for fold := range folds {
		var in []example
		for i, e := range t.examples {
			if i%folds != fold {
				in = append(in, e)
			}
		}
		m := train(in, epochs, trainBy).freeze(t.Routes)
		var s [families][]uint32
		for i := fold; i < len(t.examples); i += folds {
			t.examples[i].unpack(&s)
			outside[i] = scored{m.sum(&s), t.examples[i].spam}
		}
	}
	m := train(t.examples, epochs, trainBy).freeze(t.Routes)
	m.meta.Name, m.meta.Spam, m.meta.Ham = name, t.spam, uint32(len(t.examples))-t.spam
	m.meta.Slope, m.meta.Offset = calibrate(outside)
	m.thresholds(outside)
	return m
}

// A scored mail is the sum of one whose truth is known.
type scored struct {
	sum  float64
	spam bool
}

// calibrate fits a logistic curve to sums (Platt scaling), by Newton's method with a little
// weight against extremes.
func calibrate(s []scored) (slope, offset float64) {
	slope = 1
	for range 50 {
		var ga, gb, haa, hab, hbb float64
		ga, haa, hbb = 0.01*(slope-1), 0.01, 0.01
		for _, x := range s {
			p := 1 / (1 + math.Exp(-(slope*x.sum + offset)))
			y := 0.002 // nobody labels without mistakes
			if x.spam {
				y = 0.998
			}
			w := p*(1-p) + 1e-9
			ga += (p - y) * x.sum
			gb += p - y
			haa += w * x.sum * x.sum
			hab += w * x.sum
			hbb += w
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		slope, offset = slope-max(min(da, 1), -1), offset-max(min(db, 5), -5)
		if math.Abs(da)+math.Abs(db) < 1e-9 {
			break
		}
	}
	return max(slope, 0.01), offset
}

// thresholds chooses what is yes and what is no.
func (m *Model) thresholds(s []scored) {
	var ham, spam []float64
	for _, x := range s {
		p := m.probability(x.sum)
		if x.spam {
			spam = append(spam, p)
		} else {
			ham = append(ham, p)
		}
	}
	slices.Sort(ham)
	slices.Sort(spam)
	m.meta.Yes, m.meta.No = 0.5, 0.5
	if n := len(ham); n > 0 { // above all but one in a thousand
		allowed := int(float64(n) * atMost)
		m.meta.Yes = max(0.5, ham[n-1-allowed]+1e-9)
	}
	if n := len(spam); n > 0 {
		m.meta.No = min(0.5, spam[int(float64(n)*0.01)])
	}
	m.meta.Yes = min(m.meta.Yes, 0.9999)
}

// An Online learner learns mail by mail, in the order in which they come, and may be asked at any
// time. It is not safe for concurrent use.
type Online struct {
	reader *reader
	l      *learner
}

// NewOnline returns a learner that has seen nothing; routes is as in Trainer.
func NewOnline(routes bool) *Online {
	o := &Online{reader: newReader(), l: newLearner()}
	o.reader.routes, o.reader.hops = routes, routes
	return o
}

// Learn returns the evidence that a mail is spam, positive if it is, and then learns the truth.
func (o *Online) Learn(m *mail.Message, spam bool) (float64, error) {
	if err := o.reader.read(m); err != nil {
		return 0, err
	}
	s := &o.reader.f.slots
	odds := o.l.score(s)
	o.l.learn(s, spam, float32(trainRate), trainMargin)
	return float64(odds), nil
}
