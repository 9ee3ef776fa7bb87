package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// A member is one key of a file with its value: a string, a bool or a []string.
type member struct {
	key   string
	line  int
	value any
}

// readObject reads a JSON object whose values are strings, booleans or arrays of strings.
// Unlike encoding/json it refuses a key that stands twice.
func readObject(data []byte) ([]member, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	r := &objectReader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if err := r.delim('{', "the file is no JSON object"); err != nil {
		return nil, err
	}
	var members []member
	lines := map[string]int{}
	for r.dec.More() {
		m, err := r.member()
		if err != nil {
			return nil, err
		}
		if first, twice := lines[m.key]; twice {
			return nil, fmt.Errorf("line %d: key %q stands in line %d already", m.line, m.key, first)
		}
		lines[m.key] = m.line
		members = append(members, m)
	}
	if _, err := r.token(); err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: something stands behind the object", r.line())
	}
	return members, nil
}

type objectReader struct {
	data []byte
	dec  *json.Decoder
}

// line returns where the last token ends.
func (r *objectReader) line() int {
	n := min(r.dec.InputOffset(), int64(len(r.data)))
	return 1 + bytes.Count(r.data[:n], []byte("\n"))
}

func (r *objectReader) token() (json.Token, error) {
	t, err := r.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("line %d: the file ends too early", r.line())
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: malformed JSON", r.line()) // its own text may show a secret
	}
	return t, nil
}

func (r *objectReader) delim(d json.Delim, otherwise string) error {
	t, err := r.token()
	if err == nil && t != d {
		err = fmt.Errorf("line %d: %s", r.line(), otherwise)
	}
	return err
}

func (r *objectReader) member() (member, error) {
	t, err := r.token()
	if err != nil {
		return member{}, err
	}
	key, ok := t.(string)
	if !ok {
		return member{}, fmt.Errorf("line %d: no key", r.line())
	}
	m := member{key: key, line: r.line()}
	m.value, err = r.value()
	if err != nil {
		return m, fmt.Errorf("key %.40q: %w", key, err)
	}
	return m, nil
}

func (r *objectReader) value() (any, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case string, bool:
		return v, nil
	case json.Delim:
		if v == '[' {
			return r.list()
		}
	}
	return nil, fmt.Errorf("line %d: neither a string, true, false, nor a list of strings", r.line())
}

func (r *objectReader) list() ([]string, error) {
	list := []string{}
	for r.dec.More() {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		s, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("line %d: not a list of strings", r.line())
		}
		list = append(list, s)
	}
	_, err := r.token()
	return list, err
}
