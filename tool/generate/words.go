package generate

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
)

const (
	lower    = "abcdefghijklmnopqrstuvwxyz"
	digits   = "0123456789"
	alphanum = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits
	atext    = alphanum + "!#$%&'*+-/=?^_`{|}~"
)

// scripts are words of the charsets that write them.
var scripts = []struct {
	charset string
	words   []string
}{
	{"utf-8", []string{"grüße", "日本語", "Ελλάδα", "привет", "emoji🙂", "naïve", "שלום", "a\u0301", "€uro", "x"}},
	{"UTF-8", []string{"Zoë", "𝔘𝔫𝔦", "ok", "ﬁ"}},
	{"iso-8859-1", []string{"café", "señor", "Straße", "plain", "übel"}},
	{"ISO-8859-15", []string{"œuvre", "5€"}},
	{"windows-1252", []string{"“quoted”", "dash–dash", "plain"}},
	{"koi8-r", []string{"привет", "мир", "plain"}},
	{"iso-2022-jp", []string{"日本", "メール"}},
	{"gb2312", []string{"中文", "邮件"}},
}

// foreign makes text in a charset, and returns its octets too.
func (g *source) foreign(words int) (text, name string, octets []byte) {
	script := scripts[g.IntN(len(scripts))]
	var list []string
	for range words {
		list = append(list, script.words[g.IntN(len(script.words))])
	}
	text = strings.Join(list, " ")
	return text, script.charset, encode(script.charset, text)
}

func encode(name, text string) []byte {
	if strings.EqualFold(name, "utf-8") {
		return []byte(text)
	}
	enc, _ := charset.Lookup(name)
	if enc == nil {
		panic("generate: no charset " + name)
	}
	out, err := enc.NewEncoder().String(text)
	if err != nil {
		panic("generate: " + text + " cannot be written in " + name)
	}
	return []byte(out)
}

// word makes a plain word.
func (g *source) word() string {
	switch g.IntN(12) {
	case 0:
		return g.letters(atext, g.between(1, 60))
	case 1:
		return g.pick("From", "--", ".", "=20", "=?", "?=", "a=b;c", "<x>", "(y", "\"z", "\\", "[1]", "a:b")
	}
	return g.letters(lower, g.between(1, 12))
}

// fold is white space where a line may be folded.
func (g *source) fold() string {
	return g.pick(" ", " ", " ", " ", "\r\n ", "\r\n ", "\r\n\t", " \r\n ", "\t", "  ")
}

// comments is white space where a comment may stand too (RFC 5322 section 3.2.2).
func (g *source) comments() string {
	switch g.IntN(12) {
	case 0:
		return g.fold() + "(" + g.letters(alphanum+" ", g.between(0, 20)) + ")" + g.fold()
	case 1:
		return " (nested (and \\) quoted) " + g.letters("@<>,;:.", g.between(0, 4)) + ") "
	}
	return g.fold()
}

// encodedWords writes a text as encoded words of RFC 2047, white space between them.
func (g *source) encodedWords(text, name string) string {
	var words []string
	base := g.one(2)
	for len(text) > 0 {
		n := 0
		for limit := g.between(1, 12); n < len(text) && limit > 0; limit-- {
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
		}
		octets := encode(name, text[:n]) // each word is whole in itself (section 5)
		text = text[n:]
		if base {
			words = append(words, "=?"+name+"?"+g.pick("b", "B")+"?"+base64.StdEncoding.EncodeToString(octets)+"?=")
		} else {
			words = append(words, "=?"+name+"?"+g.pick("q", "Q")+"?"+g.q(octets)+"?=")
		}
	}
	out := words[0]
	for _, w := range words[1:] {
		out += g.fold() + w
	}
	return out
}

// q writes octets so that they may stand in a phrase (RFC 2047 section 5, rule 3).
func (g *source) q(octets []byte) string {
	var b strings.Builder
	for _, c := range octets {
		switch {
		case c == ' ' && !g.one(4):
			b.WriteByte('_')
		case strings.IndexByte(alphanum+"!*+-/", c) >= 0 && !g.one(10):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, g.pick("=%02X", "=%02X", "=%02x"), c)
		}
	}
	return b.String()
}
