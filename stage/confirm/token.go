package confirm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"stagecoach/mail"
)

// prefix begins the local part to which a target answers.
const prefix = "confirm+"

// tokenSize is the length of a token: 128 bits in base32, small letters, as some programs do
// not keep the case of an address.
const tokenSize = 26

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token returns what confirms a target of a user: an HMAC over both, so that nothing has to be
// remembered about it.
func Token(key []byte, user, target mail.Address) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("confirm\x00" + strings.ToLower(user.String()) + "\x00" + strings.ToLower(target.String())))
	return letters.EncodeToString(mac.Sum(nil)[:16])
}

// Like reports whether an address has the form of one that confirms. It is for an edge that does
// not have the key; whether the token is one is seen by who has it.
func Like(a mail.Address) bool {
	_, ok := tokenOf(a)
	return ok
}

// tokenOf takes the token out of an address.
func tokenOf(a mail.Address) (string, bool) {
	token, ok := strings.CutPrefix(strings.ToLower(a.Local()), prefix)
	return token, ok && len(token) == tokenSize && strings.Trim(token, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
