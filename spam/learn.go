package spam

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// share is what all features of a family together may add to a sum. The more of them a mail
// has, the less each counts; few count as if they were some more, so that two words decide
// nothing.
type share struct {
	scale float64
	some  float64
}

var shares = [families]share{
	grams:  {1.0, 50},
	words:  {1.0, 20},
	fields: {0.6, 4},
	facts:  {0.5, 2},
	marks:  {0.6, 6},
	routes: {2.0, 10},
}

func value(g family, n int) float32 {
	return float32(shares[g].scale / math.Sqrt(float64(n)+shares[g].some))
}

// A learner holds the weights of a model while it learns: a logistic regression on the features,
// by stochastic gradient descent.
type learner struct {
	cells []cell
	bias  [benches]float32
	bsum  [benches]float32
	time  float32
}

// A cell is a weight, and the sum of its changes times when they came, for the average. They lie
// together because both are wanted at once, at random places of a large table.
type cell struct{ w, sum float32 }

func newLearner() *learner {
	return &learner{cells: make([]cell, tableSize), time: 1}
}

// bench says on which bench of the committee each family sits. Every bench learns on its own to
// tell spam from good mail, and their sums are added: they err on different mails.
var bench = [families]int{grams: 0, words: 1, fields: 2, facts: 2, marks: 2, routes: 3}

const benches = 4

func (l *learner) score(s *[families][]uint32) float32 {
	p := l.sums(s)
	return p[0] + p[1] + p[2] + p[3]
}

func (l *learner) sums(s *[families][]uint32) [benches]float32 {
	total := l.bias
	for g := range s {
		if len(s[g]) == 0 {
			continue
		}
		var t float32
		for _, i := range s[g] {
			t += l.cells[i].w
		}
		total[bench[g]] += t * value(family(g), len(s[g]))
	}
	return total
}

// learn moves the weights towards an answer. A mail that is well on the right side teaches
// nothing.
func (l *learner) learn(s *[families][]uint32, spam bool, rate, margin float32) bool {
	p := l.sums(s)
	y := float32(-1)
	if spam {
		y = 1
	}
	var step [benches]float32
	for b := range step {
		if p[b]*y <= margin {
			step[b] = rate * y / (1 + float32(math.Exp(float64(p[b]*y))))
			l.bias[b] += step[b] * 0.1
			l.bsum[b] += step[b] * 0.1 * l.time
		}
	}
	for g := range s {
		if len(s[g]) == 0 || step[bench[g]] == 0 {
			continue
		}
		d := step[bench[g]] * value(family(g), len(s[g]))
		dt := d * l.time
		for _, i := range s[g] {
			c := &l.cells[i]
			c.w += d
			c.sum += dt
		}
	}
	l.time++
	return true
}

// settle makes the weights the average of all that they were: what came by chance of the order
// goes.
func (l *learner) settle() {
	for i := range l.cells {
		c := &l.cells[i]
		c.w, c.sum = c.w-c.sum/l.time, 0
	}
	for b := range l.bias {
		l.bias[b] -= l.bsum[b] / l.time
	}
	l.bsum, l.time = [benches]float32{}, 1
}

// An example is what is kept of a mail to learn from: its slots, packed.
type example struct {
	spam   bool
	packed []byte
}

// pack writes slots down in little room. They lose their order.
func pack(s *[families][]uint32, spam bool) example {
	n := 0
	for g := range s {
		sortSlots(s[g])
		n += len(s[g])
	}
	b := make([]byte, 0, n*2+32)
	for g := range s {
		b = binary.AppendUvarint(b, uint64(len(s[g])))
		last := uint32(0)
		for _, i := range s[g] {
			b = binary.AppendUvarint(b, uint64(i-last))
			last = i
		}
	}
	return example{spam, b}
}

// unpack reads what pack wrote into s.
func (e example) unpack(s *[families][]uint32) {
	b := e.packed
	for g := range s {
		s[g] = s[g][:0]
		n, k := binary.Uvarint(b)
		b = b[k:]
		last := uint32(0)
		for range n {
			d, k := binary.Uvarint(b)
			b = b[k:]
			last += uint32(d)
			s[g] = append(s[g], last)
		}
	}
}

// train learns from examples in a fixed order made of the seed.
func train(examples []example, epochs int, seed uint64) *learner {
	l := newLearner()
	rng := rand.New(rand.NewPCG(seed, 1))
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	var s [families][]uint32
	for e := range epochs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		rate := float32(trainRate / (1 + trainDecay*float64(e)))
		for _, i := range order {
			examples[i].unpack(&s)
			l.learn(&s, examples[i].spam, rate, trainMargin)
		}
	}
	l.settle()
	return l
}

var (
	trainRate           = 5.0
	trainDecay          = 0.3
	trainMargin float32 = 2
)
