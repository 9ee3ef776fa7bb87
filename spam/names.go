package spam

// names remembers what the features of one message were made of, for explanations.
type names struct {
	phrase map[uint32]string // of facts and marks
	token  map[uint32]string // of words, by the text
	grams  map[uint32]string // the word in which four octets stand first
}

func newNames() *names {
	return &names{phrase: map[uint32]string{}, token: map[uint32]string{}, grams: map[uint32]string{}}
}

func (n *names) fact(slot uint32, phrase string) { n.phrase[slot] = phrase }

func (n *names) word(slot uint32, text, field []byte) {
	switch {
	case text == nil && field == nil:
	case field == nil:
		n.token[slot] = string(text)
	case text == nil:
		n.token[slot] = "the field " + string(field)
	default:
		n.token[slot] = string(field) + ":" + string(text)
	}
}

// gram attributes four octets that end at i to the word that most of them are in.
func (n *names) gram(slot uint32, text []byte, i int) {
	at := i - 1
	if text[at] == ' ' || isPunct(text[at]) {
		at = i - 2
	}
	if text[at] == ' ' || isPunct(text[at]) {
		return
	}
	start, end := at, at
	for start > 0 && text[start-1] != ' ' && !isPunct(text[start-1]) && at-start < maxWord {
		start--
	}
	for end < len(text) && text[end] != ' ' && !isPunct(text[end]) && end-at < maxWord {
		end++
	}
	n.grams[slot] = string(text[start:end])
}
