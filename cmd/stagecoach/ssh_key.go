package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

type sshKeyCmd struct {
	File    string `arg:"" help:"File of the key; it is made if it is not there."`
	Comment string `help:"What to write behind the public key." default:"stagecoach"`
}

// Help shows examples.
func (sshKeyCmd) Help() string {
	return `The file has ed25519: and 32 octets in base64, and is what --ssh-key takes: --ssh-key @ssh.key. What is
printed is the public key, for the file authorized_keys of the git server.

Example:

  stagecoach ssh-key ssh.key >>/home/git/.ssh/authorized_keys`
}

// Run makes the key if there is none, and prints its public half.
func (c sshKeyCmd) Run() error {
	text, err := os.ReadFile(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeSSHKey(c.File)
	}
	if err != nil {
		return err
	}
	seed, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "ed25519:")
	raw, err := base64.StdEncoding.DecodeString(seed)
	if !ok || err != nil || len(raw) != ed25519.SeedSize {
		return fmt.Errorf("%s: not ed25519: and 32 octets in base64", c.File)
	}
	public, err := ssh.NewPublicKey(crypto.PublicKey(ed25519.NewKeyFromSeed(raw).Public()))
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), c.Comment)
	return nil
}

// makeSSHKey writes a new key, for nobody else to read, unless somebody is faster.
func makeSSHKey(file string) ([]byte, error) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	text := []byte("ed25519:" + base64.StdEncoding.EncodeToString(seed) + "\n")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	return text, errors.Join(err, f.Sync(), f.Close())
}
