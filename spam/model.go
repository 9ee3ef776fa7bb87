package spam

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// A Model is what was learned from many mails. It does not change, and is safe for concurrent
// use.
type Model struct {
	weights []int8
	scale   float32 // of the weights
	bias    float32
	routes  bool // features of the place were learned too
	meta    Meta
}

// Meta says where a model comes from, and what its sums mean.
type Meta struct {
	Name    string  // "2002.1": for people and logs
	Spam    uint32  // mails it was trained on
	Ham     uint32  //
	Slope   float64 // probability = logistic(slope * sum + offset)
	Offset  float64 //
	Yes, No float64 // from which probability on a mail is spam, up to which it is good
}

// The format of a model file: magic, length of what follows, its CRC-32C, and then, in little
// endian, the fields of Meta, the bias, the scale and a weight for each slot.
const (
	modelMagic   = "stagecoach spam model 1\n"
	maxModelName = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteTo writes a model. Equal models give equal bytes.
func (m *Model) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	name := m.meta.Name[:min(len(m.meta.Name), maxModelName)]
	b.WriteByte(byte(len(name)))
	b.WriteString(name)
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) } //nolint:errcheck // a buffer does not fail
	put(m.routes)
	put(m.meta.Spam)
	put(m.meta.Ham)
	put([]float64{m.meta.Slope, m.meta.Offset, m.meta.Yes, m.meta.No})
	put([]float32{m.bias, m.scale})
	put(m.weights)
	head := []byte(modelMagic)
	head = binary.LittleEndian.AppendUint32(head, uint32(b.Len()))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(b.Bytes(), castagnoli))
	n, err := w.Write(head)
	if err != nil {
		return int64(n), err
	}
	k, err := b.WriteTo(w)
	return int64(n) + k, err
}

// ReadModel reads what WriteTo wrote.
func ReadModel(r io.Reader) (*Model, error) {
	raw, err := io.ReadAll(io.LimitReader(r, 4<<20))
	if err != nil {
		return nil, err
	}
	m, err := parseModel(raw)
	if err != nil {
		return nil, fmt.Errorf("spam model: %w", err)
	}
	return m, nil
}

func parseModel(raw []byte) (*Model, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(modelMagic))
	if !ok || len(rest) < 9 {
		return nil, errors.New("not a model of this version")
	}
	length, sum := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
	rest = rest[8:]
	if int64(length) != int64(len(rest)) || crc32.Checksum(rest, castagnoli) != sum {
		return nil, errors.New("the file is damaged")
	}
	n := int(rest[0])
	if n > maxModelName || len(rest) < 1+n {
		return nil, errors.New("the name is too long")
	}
	m := &Model{weights: make([]int8, tableSize)}
	m.meta.Name = string(rest[1 : 1+n])
	in := bytes.NewReader(rest[1+n:])
	var numbers [4]float64
	var scales [2]float32
	for _, v := range []any{&m.routes, &m.meta.Spam, &m.meta.Ham, &numbers, &scales, m.weights} {
		if err := binary.Read(in, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	for _, v := range append(numbers[:], float64(scales[0]), float64(scales[1])) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("a number is none")
		}
	}
	m.meta.Slope, m.meta.Offset, m.meta.Yes, m.meta.No = numbers[0], numbers[1], numbers[2], numbers[3]
	m.bias, m.scale = scales[0], scales[1]
	return m, nil
}

// Meta says where the model comes from.
func (m *Model) Meta() Meta { return m.meta }

//go:embed default.model
var defaultModel []byte

// Default returns the model in the binary, which docs/filter.md tells how to rebuild.
func Default() (*Model, error) {
	m, err := parseModel(defaultModel)
	if err != nil {
		return nil, fmt.Errorf("the spam model in the binary: %w", err)
	}
	return m, nil
}

// freeze makes a model of what was learned.
func (l *learner) freeze(routes bool) *Model {
	m := &Model{weights: make([]int8, tableSize), routes: routes}
	var top float32
	for _, c := range l.cells {
		top = max(top, c.w, -c.w)
	}
	m.scale = top / 127
	if top > 0 {
		for i, c := range l.cells {
			m.weights[i] = int8(math.RoundToEven(float64(c.w / m.scale)))
		}
	}
	for _, b := range l.bias {
		m.bias += b
	}
	m.meta.Slope, m.meta.Yes, m.meta.No = 1, 0.9, 0.1
	return m
}

// sum adds up what the model knows of a mail.
func (m *Model) sum(s *[families][]uint32) float64 {
	total := float64(m.bias)
	for g := range s {
		if len(s[g]) == 0 || family(g) == routes && !m.routes {
			continue
		}
		var t int32
		for _, i := range s[g] {
			t += int32(m.weights[i])
		}
		total += float64(float32(t) * m.scale * value(family(g), len(s[g])))
	}
	return total
}

// known counts the words of a mail of which the model has learned something.
func (m *Model) known(s *[families][]uint32) int {
	n := 0
	for _, i := range s[words] {
		if m.weights[i] != 0 {
			n++
		}
	}
	return n
}

// probability turns a sum into what it means.
func (m *Model) probability(sum float64) float64 {
	return 1 / (1 + math.Exp(-(m.meta.Slope*sum + m.meta.Offset)))
}
