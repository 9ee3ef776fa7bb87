package dkim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A tag is one name=value of a tag-list (RFC 6376 section 3.2).
type tag struct {
	name  string
	value string // without white space at its ends
	start int    // where the value, white space included, stands in the list
	end   int
}

type tagList []tag

// maxTags is far above what any standard defines.
const maxTags = 64

var errTags = errors.New("the tag-list is malformed")

// parseTags reads a tag-list. It is strict where two readers could disagree: no tag twice, no
// control character, nothing that is not UTF-8 (RFC 8616 section 3 allows that much).
func parseTags(s string) (tagList, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%w: it is not UTF-8", errTags)
	}
	var list tagList
	for start := 0; start <= len(s); {
		end := len(s)
		if i := strings.IndexByte(s[start:], ';'); i >= 0 {
			end = start + i
		}
		spec := trimFWS(s[start:end])
		if spec == "" && end == len(s) && len(list) > 0 {
			return list, nil // after the last ";"
		}
		t, err := parseTag(s, spec, start, end)
		if err != nil {
			return nil, err
		}
		if _, twice := list.find(t.name); twice {
			return nil, fmt.Errorf("%w: a tag stands twice", errTags)
		}
		if list = append(list, t); len(list) > maxTags {
			return nil, fmt.Errorf("%w: too many tags", errTags)
		}
		start = end + 1
	}
	return list, nil
}

func parseTag(s, spec string, start, end int) (tag, error) {
	name, value, ok := strings.Cut(spec, "=")
	if !ok {
		return tag{}, fmt.Errorf("%w: a tag has no value", errTags)
	}
	name, value = trimFWS(name), trimFWS(value)
	if !isTagName(name) {
		return tag{}, fmt.Errorf("%w: a tag has no proper name", errTags)
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\r' && i+2 < len(value) && value[i+1] == '\n' && isWSP(value[i+2]):
			i += 2
		case c < ' ' && c != '\t' || c == 0x7f:
			return tag{}, fmt.Errorf("%w: a control character", errTags)
		}
	}
	return tag{name, value, start + strings.IndexByte(s[start:end], '=') + 1, end}, nil
}

func (l tagList) find(name string) (string, bool) {
	for _, t := range l {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

// get returns the value of a tag, or what stands for it when it is missing.
func (l tagList) get(name, missing string) string {
	if v, ok := l.find(name); ok {
		return v
	}
	return missing
}

func isTagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := lower(s[i])
		if !(c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '_')) {
			return false
		}
	}
	return s != ""
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

func trimFWS(s string) string { return strings.Trim(s, " \t\r\n") }

// dropFWS removes white space from inside a value in which it has no meaning.
func dropFWS(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}

// splitList splits a list of words at colons, white space around them dropped.
func splitList(s string) []string {
	words := strings.Split(s, ":")
	for i := range words {
		words[i] = trimFWS(words[i])
	}
	return words
}

// contains reports whether a colon-separated list has one of the words, without case.
func contains(list string, words ...string) bool {
	for _, have := range splitList(list) {
		for _, w := range words {
			if strings.EqualFold(have, w) {
				return true
			}
		}
	}
	return false
}

func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(dropFWS(s))
}
