package authres

import (
	"strings"

	"stagecoach/mail"
)

// Strike removes the Authentication-Results fields that a stranger wrote in our name, and
// returns how many (RFC 8601 section 5). isOurs is asked for each authserv-id, in lower case
// and without a final dot. A field whose authserv-id cannot be read might be ours to some
// reader, so it goes too; one with a version that we do not know goes if its id is ours.
// Where a field stands on top of the one that we are about to add, it is still a stranger's.
func Strike(h *mail.Header, isOurs func(authservID string) bool) int {
	return h.Strike(func(f mail.Field) bool {
		return f.Is(FieldName) && mayBe(f.Value(), isOurs)
	})
}

func mayBe(body string, isOurs func(string) bool) bool {
	p := newParser(body)
	if strings.ContainsAny(p.s, "\r\n\x00") {
		return true
	}
	if _, err := p.next(); err != nil {
		return true
	}
	start := p.i
	id, err := p.value()
	if err != nil || isOurs(canonicalID(id)) {
		return true
	}
	// Another reader may take the id up to the first blank or semicolon.
	rough := p.s[start:]
	if i := strings.IndexAny(rough, " ;("); i >= 0 {
		rough = rough[:i]
	}
	return isOurs(canonicalID(strings.Trim(rough, `"`)))
}

func canonicalID(s string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
}
