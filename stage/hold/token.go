package hold

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"stagecoach/mail"
)

// prefix begins the local part that releases a mail.
const prefix = "release+"

const macSize = 26 // letters: 128 bits

// releaseAddress returns the address that releases a mail of a user: the mail's ID, which the user is
// part of, and an HMAC over it. With both in it, it is known also when the mail is gone.
func releaseAddress(key []byte, it Item) (mail.Address, error) {
	user, err := mail.ParseAddress(it.User)
	if err != nil {
		return mail.Address{}, err
	}
	return mail.NewAddress(prefix+it.ID+token(key, user.Domain(), it.ID), user.Domain())
}

func token(key []byte, domain, id string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("release\x00" + domain + "\x00" + id))
	return letters.EncodeToString(mac.Sum(nil)[:16])
}

// Like reports whether an address has the form of one that releases. It is for an edge that does not
// have the key; whether the token is one is seen by who has it.
func Like(a mail.Address) bool {
	_, _, ok := tokenOf(a)
	return ok
}

func tokenOf(a mail.Address) (id, mac string, ok bool) {
	text, ok := strings.CutPrefix(strings.ToLower(a.Local()), prefix)
	if !ok || len(text) != idSize+macSize || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", "", false
	}
	return text[:idSize], text[idSize:], true
}

// released returns which mail an address releases. The token is compared in constant time.
func released(key []byte, a mail.Address) (id string, ok bool) {
	id, mac, ok := tokenOf(a)
	if !ok || len(key) == 0 {
		return "", false
	}
	return id, hmac.Equal([]byte(mac), []byte(token(key, a.Domain(), id)))
}
