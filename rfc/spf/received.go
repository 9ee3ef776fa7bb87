package spf

import (
	"fmt"
	"strings"

	"stagecoach/mail"
)

// FieldName is the name of the header field.
const FieldName = "Received-SPF"

// Field returns the Received-SPF header field of RFC 7208 section 9.1, written by receiver.
func (o Outcome) Field(receiver string) mail.Field {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", o.Result, commentText(receiver+": "+o.sentence()))
	pairs := []struct{ key, value string }{
		{"client-ip", o.IP.String()},
		{"envelope-from", o.Sender},
		{"helo", o.Hello},
		{"identity", string(o.Identity)},
		{"mechanism", o.Mechanism},
		{"receiver", receiver},
	}
	if o.Problem != nil {
		pairs = append(pairs, struct{ key, value string }{"problem", o.Problem.Error()})
	}
	sep := "\r\n\t"
	for _, p := range pairs {
		if p.value == "" {
			continue
		}
		b.WriteString(sep + p.key + "=" + value(p.value))
		sep = ";\r\n\t"
	}
	return mail.NewField(FieldName, b.String())
}

// sentence says the result for people.
func (o Outcome) sentence() string {
	domain := "domain of " + o.Sender
	switch o.Result {
	case Pass:
		return fmt.Sprintf("%s designates %s as permitted sender", domain, o.IP)
	case Fail, SoftFail:
		return fmt.Sprintf("%s does not designate %s as permitted sender", domain, o.IP)
	case Neutral:
		return fmt.Sprintf("%s neither permits nor denies %s", domain, o.IP)
	case None:
		return domain + " does not say who may send"
	case TempError:
		return domain + " could not be looked up"
	default:
		return domain + " has a record that is broken"
	}
}

// maxValue keeps the lines of the field below what RFC 5322 section 2.1.1 allows.
const maxValue = 300

func commentText(s string) string {
	return clean(strings.NewReplacer("(", "[", ")", "]", `\`, "/").Replace(s))
}

// value writes a dot-atom where it is one, else a quoted string.
func value(s string) string {
	s = clean(s)
	plain := s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
	for i := 0; i < len(s) && plain; i++ {
		plain = isAlpha(s[i]) || isDigit(s[i]) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", s[i]) >= 0
	}
	if plain {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// clean keeps text of strangers to one line of printable octets.
func clean(s string) string {
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
