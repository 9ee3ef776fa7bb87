package spam

import (
	"unicode"
	"unicode/utf8"
)

// fold appends text to dst in the form in which words are compared: lower case without
// accents, wide and decorated letters as plain ones, runs of white space as one blank,
// invisible characters gone. It counts what it undid.
func fold(dst, text []byte, odd *oddities) []byte {
	space := len(dst) == 0 || dst[len(dst)-1] == ' '
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c >= 'A' && c <= 'Z':
				odd.upper++
				dst = append(dst, c+'a'-'A')
				space = false
			case c <= ' ' || c == 0x7f:
				if !space {
					dst = append(dst, ' ')
					space = true
				}
			default:
				dst = append(dst, c)
				space = false
			}
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		r = foldRune(r, odd)
		switch {
		case r == 0:
		case r == ' ':
			if !space {
				dst = append(dst, ' ')
				space = true
			}
		default:
			dst = utf8.AppendRune(dst, r)
			space = false
		}
	}
	return dst
}

// oddities counts what fold undid, and what kinds of letters there are.
type oddities struct {
	upper, invisible, decorated, foreign, han int
}

// foldRune returns the plain form of a rune beyond ASCII, 0 for an invisible one.
func foldRune(r rune, odd *oddities) rune {
	switch {
	case r >= 0xc0 && r < 0x180:
		return rune(latin[r-0xc0])
	case r == 0xad || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2064 || r == 0xfeff || r >= 0xe0000 && r < 0xe0080 || r == 0x34f:
		odd.invisible++
		return 0
	case r == 0xa0 || r == 0x3000 || r >= 0x2000 && r <= 0x200a || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f:
		return ' '
	case r == 0x2018 || r == 0x2019:
		return '\''
	case r == 0x201c || r == 0x201d:
		return '"'
	case r >= 0xff01 && r <= 0xff5e: // wide forms
		odd.decorated++
		return unicode.ToLower(r - 0xff01 + '!')
	case r >= 0x1d400 && r < 0x1d6a4: // mathematical letters, 26 upper and 26 lower by turns
		odd.decorated++
		return 'a' + (r-0x1d400)%26
	case r >= 0x24b6 && r <= 0x24e9: // circled
		odd.decorated++
		return 'a' + (r-0x24b6)%26
	case r >= 0x300 && r < 0x370: // combining marks
		return 0
	case r >= 0x2e80 && r < 0xa000 || r >= 0xac00 && r < 0xd7a4 || r >= 0x20000 && r < 0x30000:
		odd.han++
		return r
	}
	if unicode.IsLetter(r) {
		odd.foreign++
	}
	return unicode.ToLower(r)
}

// The letters of Latin-1 and Latin Extended-A without their marks, from U+00C0 on.
const latin = "aaaaaaaceeeeiiiidnoooooxouuuuypsaaaaaaaceeeeiiiidnooooo/ouuuuypyaaaaaaccccccccddddeeeeeeeeeegggg" +
	"gggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"

// lookAlike returns the Latin letter for which a Greek or Cyrillic one passes, or r.
func lookAlike(r rune) rune {
	if r < 0x370 || r > 0x52f {
		return r
	}
	for i, c := range lookAlikes {
		if c == r {
			return rune(lookAlikeTo[indexOfRune(i)])
		}
	}
	return r
}

const (
	lookAlikes  = "аеорсухіјѕԁһвнкмтαορντικυχγω"
	lookAlikeTo = "aeopcyxijsdhbhkmtaopvtikuxyw"
)

// indexOfRune turns an octet index in lookAlikes, where every rune has two octets, into one of
// runes.
func indexOfRune(i int) int { return i / 2 }
