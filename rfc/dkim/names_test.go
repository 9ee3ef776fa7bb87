package dkim

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"stagecoach/rfc/dns/dnstest"
)

// keys answers with the texts of key records, by name; several at a name are parted by "\n".
func keys(t testing.TB, texts map[string]string) *dnstest.Names {
	t.Helper()
	var zone strings.Builder
	for name, all := range texts {
		for text := range strings.SplitSeq(all, "\n") {
			zone.WriteString(name + ". 60 IN TXT")
			for first := true; first || text != ""; first = false {
				n := min(255, len(text))
				zone.WriteString(" " + quoteText(text[:n]))
				text = text[n:]
			}
			zone.WriteString("\n")
		}
	}
	return dnstest.Zone(t, zone.String())
}

func quoteText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
