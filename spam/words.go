package spam

import (
	"unicode"
	"unicode/utf8"
)

// tokens takes normalised text apart: octets by fours, words, pairs of words, until there are so
// many.
func (r *reader) tokens(text []byte, manyGrams, manyWords int) {
	r.fourGrams(text, manyGrams)
	r.most = manyWords
	var last, before hash
	for i := 0; i < len(text) && len(r.f.slots[words]) < r.most; {
		c := text[i]
		if c == ' ' || isPunct(c) {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if n := r.ideographs(text[i:]); n > 0 {
				i += n
				last, before = 0, 0
				continue
			}
		}
		n := wordLength(text[i:])
		h := r.word(text[i : i+n])
		if last != 0 {
			r.pair(last, h, 1)
			if before != 0 {
				r.pair(before, h, 2)
			}
		}
		before, last = last, h
		i += n
	}
}

// isPunct reports whether c stands between words. Some signs belong to them: $100, 50%, c++.
func isPunct(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf:
		return false
	case c == '$' || c == '%' || c == '!' || c == '#':
		return false
	}
	return true
}

const maxWord = 40

func wordLength(s []byte) int {
	n := 0
	if c := s[0]; c == '!' || c == '#' || c == '%' || c == '$' {
		for n < len(s) && n < 8 && s[n] == c {
			n++
		}
		if c != '$' {
			return n
		}
	}
	for n < len(s) && n < maxWord {
		c := s[n]
		if c == '\'' || c == '-' || c == '.' || c == ',' { // inside a word or number
			if n == 0 || n+1 >= len(s) || isPunct(s[n+1]) || s[n+1] == '!' || s[n+1] >= utf8.RuneSelf {
				break
			}
			if digit := s[n-1] >= '0' && s[n-1] <= '9' && s[n+1] >= '0' && s[n+1] <= '9'; (c == '.' || c == ',') && !digit {
				break
			}
			n++
			continue
		}
		if c == '%' && n > 0 {
			n++
			break
		}
		if isPunct(c) || c == '!' || c == '#' || c == '$' && n > 0 && s[n-1] != '$' {
			break
		}
		n++
	}
	for n < len(s) && n > 1 && !utf8.RuneStart(s[n]) { // cut at a rune
		n--
	}
	return max(n, 1)
}

// word adds a word, and returns what pairs are made of. Numbers count by their shape.
func (r *reader) word(w []byte) hash {
	h := newHash(words)
	digits, foreign := 0, false
	for _, c := range w {
		if c >= '0' && c <= '9' {
			digits++
			c = '0'
		}
		if c >= utf8.RuneSelf {
			foreign = true
		}
		h = h.octet(c)
	}
	r.words++
	if foreign {
		r.disguise(w)
	}
	if digits > 0 && digits < len(w) {
		r.mixed++
	}
	r.put(words, h, w, nil)
	return h
}

// disguise looks for words in which letters of two scripts stand together, and reads them as
// they look.
func (r *reader) disguise(w []byte) {
	latin, alike := false, false
	h := newHash(words)
	for i := 0; i < len(w); {
		c, n := utf8.DecodeRune(w[i:])
		i += n
		if c < utf8.RuneSelf {
			latin = latin || c >= 'a' && c <= 'z'
			h = h.octet(byte(c))
			continue
		}
		if plain := lookAlike(c); plain < utf8.RuneSelf {
			alike = true
			h = h.octet(byte(plain))
			continue
		}
		h = h.octet(byte(c >> 8)).octet(byte(c))
	}
	if latin && alike {
		r.fact("words with look-alike letters of another script")
		r.put(words, h, w, nil)
	}
}

func (r *reader) pair(a, b hash, distance byte) {
	if len(r.f.slots[words]) < r.most {
		r.put(words, a.with(b).octet(distance), nil, nil)
	}
}

// ideographs adds the runes of scripts without blanks, alone and by twos, and returns how many
// octets it took.
func (r *reader) ideographs(s []byte) int {
	n, last := 0, rune(0)
	for n < len(s) && len(r.f.slots[words]) < r.most {
		c, size := utf8.DecodeRune(s[n:])
		if c < 0xe00 || !(c < 0xe80 || c >= 0x2e80 && c < 0xd7a4 || c >= 0x20000 && c < 0x30000) || !unicode.IsLetter(c) && last == 0 {
			break
		}
		if unicode.IsLetter(c) {
			r.words++
			r.put(words, newHash(words).bytes(s[n:n+size]), s[n:n+size], nil)
			if last != 0 {
				p := n - utf8.RuneLen(last)
				r.put(words, newHash(words).octet(2).bytes(s[p:n+size]), s[p:n+size], nil)
			}
			last = c
		} else {
			last = 0
		}
		n += size
		if last == 0 {
			break
		}
	}
	return n
}

// fourGrams adds the octets of the text by fours.
func (r *reader) fourGrams(text []byte, most int) {
	if len(text) < 4 {
		return
	}
	seed := uint64(newHash(grams))
	g := uint32(text[0])<<16 | uint32(text[1])<<8 | uint32(text[2])
	for i := 3; i < len(text) && len(r.f.slots[grams]) < most; i++ {
		c := text[i]
		if c >= '0' && c <= '9' {
			c = '0'
		}
		g = g<<8 | uint32(c)
		x := (uint64(g) ^ seed) * prime
		slot := uint32((x ^ x>>29) * 0xbf58476d1ce4e5b9 >> (64 - tableBits))
		if r.f.add(grams, slot) && r.names != nil {
			r.names.gram(slot, text, i)
		}
	}
}
