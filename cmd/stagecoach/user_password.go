package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/blake2b"

	"stagecoach/account"
)

// passwordOptions say where a password comes from and how it is kept. It is never an argument.
type passwordOptions struct {
	Ask  bool   `help:"Ask for the password on the terminal, or take the first line of standard input, instead of making one."`
	Hash string `help:"How it is kept: scram (for logins by SCRAM and by password), argon2id (by password only; harder to guess for who gets the file), blake2b (as the OCaml system reads it; weak)." enum:"scram,argon2id,blake2b" default:"scram"`
}

// minPassword is the least length, in characters, of one that a person chose (NIST SP 800-63B
// section 3.1.1.2).
const minPassword = 8

// password returns a password and whether it was made here.
func (o passwordOptions) password() (password string, made bool, err error) {
	if !o.Ask {
		return passphrase(), true, nil
	}
	password, err = readPassword(os.Stdin, os.Stderr)
	if err == nil && utf8.RuneCountInString(password) < minPassword {
		err = errors.New("a password has 8 characters at least; without --ask a good one is made")
	}
	return password, false, err
}

// kept returns the form in which a password stands in the file.
func (o passwordOptions) kept(password string) (string, error) {
	switch o.Hash {
	case "argon2id":
		return account.HashPassword(password)
	case "blake2b":
		sum := blake2b.Sum512([]byte(password))
		return hex.EncodeToString(sum[:]), nil
	}
	return account.ScramPassword(password)
}

// passphrase returns five words that can be read out and typed on any keyboard, of 80 random
// bits: proquints (arXiv 0901.4016), in which 16 bits are consonant, vowel, consonant, vowel,
// consonant.
func passphrase() string {
	const consonants, vowels = "bdfghjklmnprstvz", "aiou"
	var random [10]byte
	rand.Read(random[:]) //nolint:errcheck // it does not fail
	var words []string
	for i := 0; i < len(random); i += 2 {
		n := binary.BigEndian.Uint16(random[i:])
		words = append(words, string([]byte{
			consonants[n>>12], vowels[n>>10&3], consonants[n>>6&15], vowels[n>>4&3], consonants[n&15],
		}))
	}
	return strings.Join(words, "-")
}
