package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
)

// FieldName is the name of the field that marks a mail which we forwarded: a word for each
// account that it went through, which says nothing to others.
const FieldName = "X-Stagecoach-Forwarded"

// What is read of the fields of this name, and what is written by one forwarding: a mail that
// went through more accounts at once is marked for the first of them.
const (
	maxMarks    = 4096
	maxNewMarks = 500
)

// mark refuses a mail that went through one of these accounts before, and marks it for all
// of them. The field goes on top, where no signature reaches.
func (f *Forwarder) mark(h *mail.Header, through []*account.User) error {
	if len(f.Mark) == 0 || len(through) == 0 {
		return nil
	}
	old := marks(h)
	var fresh []string
	for _, u := range through {
		w := f.word(u.Address())
		if old[w] {
			return errLoop
		}
		if len(fresh) < maxNewMarks {
			fresh = append(fresh, w)
		}
	}
	h.Prepend(mail.NewField(FieldName, strings.Join(fresh, "\r\n\t")))
	return nil
}

func marks(h *mail.Header) map[string]bool {
	found := map[string]bool{}
	for field := range h.Fields(FieldName) {
		for w := range strings.FieldsSeq(field.Value()) {
			if len(found) >= maxMarks {
				return found
			}
			found[w] = true
		}
	}
	return found
}

// word is the mark of an account: 128 bits of an HMAC.
func (f *Forwarder) word(a mail.Address) string {
	mac := hmac.New(sha256.New, f.Mark)
	mac.Write([]byte("forwarded\x00" + strings.ToLower(a.String())))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
