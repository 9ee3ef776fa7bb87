package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stagecoach/account"
	"stagecoach/lab/peer"
	"stagecoach/mail"
	"stagecoach/repo"
)

// bareUsers makes a bare repository with one commit.
func bareUsers(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.git")
	err := repo.Create(t.Context(), path, repo.Change{Files: map[string][]byte{"README.md": []byte("users\n")}, Message: "start", Name: "t", Email: "t@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Over a real sshd: changes are pushed, several people at once lose nothing, a server with
// another key gets nothing, and what the far side refuses is said.
func TestUserOverSSH(t *testing.T) {
	t.Parallel()
	git := peer.Need(t, "git")[0]
	bare := bareUsers(t)
	remote, seed, fingerprint := startSSHD(t, bare)
	key := filepath.Join(t.TempDir(), "ssh.key")
	if err := os.WriteFile(key, []byte("ed25519:"+seed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := []string{"-r", remote, "--domain", "x.example", "--ssh-key", "@" + key, "--ssh-authenticator", fingerprint}
	names := []string{"ann", "bob", "carl"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if out, err := program(t, append([]string{"user", "add", name, "-t", name + "@far.example", "--hash", "blake2b"}, place...)...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	all.Wait()
	out, err := program(t, append([]string{"user", "list"}, place...)...)
	if err != nil || strings.Count(out, "(unconfirmed)") != len(names) {
		t.Errorf("%v\n%s", err, out)
	}
	log, err := exec.Command(git, "--git-dir", bare, "log", "--format=%s", "main").Output()
	if err != nil || strings.Count(string(log), "Add ") != len(names) {
		t.Errorf("%v\n%s", err, log)
	}
	other := append([]string{"user", "add", "eve", "-t", "eve@far.example"}, place...)
	other[len(other)-1] = "SHA256:" + strings.Repeat("A", 43)
	if out, err := program(t, other...); err == nil || !strings.Contains(out, "host key") {
		t.Errorf("%v\n%s", err, out)
	}
	hooks := filepath.Join(bare, "hooks")
	err = errors.Join(os.MkdirAll(hooks, 0o755), os.WriteFile(filepath.Join(hooks, "pre-receive"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := program(t, append([]string{"user", "disable", "ann"}, place...)...); err == nil || !strings.Contains(out, "does not take the change") {
		t.Errorf("%v\n%s", err, out)
	}
}

// As root the command becomes the owner of the repository: the service can change it afterwards.
func TestUserAsOwner(t *testing.T) {
	peer.NeedRoot(t)
	git := peer.Need(t, "git", "setpriv")
	bare := bareUsers(t)
	for dir := filepath.Dir(bare); dir != filepath.Dir(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) //nolint:errcheck // what matters is seen below
		if dir == os.TempDir() {
			os.Chmod(dir, 0o1777) //nolint:errcheck // as it was
			break
		}
	}
	if out, err := exec.Command("chown", "-R", "65534:65534", bare).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for _, name := range []string{"ann", "bob", "carl"} {
		if out, err := program(t, "user", "add", name, "-t", name+"@far.example", "-r", bare, "--domain", "x.example", "--hash", "blake2b"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	err := filepath.WalkDir(bare, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if out, err := exec.Command("stat", "-c", "%u", path).Output(); err != nil || strings.TrimSpace(string(out)) != "65534" {
			t.Errorf("%s belongs to %s (%v)", path, out, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	cmd := exec.Command(git[1], "--reuid=65534", "--clear-groups", git[0], "--git-dir", bare, "fsck", "--strict")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A message, a name: what the history shows is never a password, and never who else is here.
func TestWhoIsHere(t *testing.T) {
	t.Setenv("SUDO_USER", "ev<il>\nname")
	by := whoIsHere()
	if strings.ContainsAny(by.Name+by.Email, "<>\n") || !strings.Contains(by.Email, "@") {
		t.Errorf("%+v", by)
	}
}

func TestPassphrase(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		p := passphrase()
		if len(p) != 29 || strings.Count(p, "-") != 4 || seen[p] {
			t.Fatalf("%q", p)
		}
		seen[p] = true
	}
}

// What the command writes opens the door by PLAIN and by SCRAM, and SCRAM is offered when
// everybody has such keys.
func TestKeptPasswords(t *testing.T) {
	files := map[string][]byte{}
	for name, kind := range map[string]string{"ann": "scram", "bob": "argon2id", "carl": "blake2b"} {
		kept, err := passwordOptions{Hash: kind}.kept("correct horse")
		if err != nil {
			t.Fatal(err)
		}
		files[name] = []byte(`{"targets":[],"password":"` + kept + `"}`)
	}
	b, err := account.Parse(files, account.Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	d := account.Static(b)
	for name := range files {
		if _, err := d.Authenticate(t.Context(), name, "correct horse"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.Authenticate(t.Context(), name, "correct horsf"); err == nil {
			t.Errorf("%s: a wrong password opens", name)
		}
	}
	delete(files, "bob")
	delete(files, "carl")
	if b, err = account.Parse(files, account.Settings{Domain: "x.example"}); err != nil || !b.AllScram() || b.AllScram() && len(files) != 1 {
		t.Error("SCRAM is not offered", err)
	}
}

type refusing struct{ mail.Handler }

func (refusing) Handle(context.Context, *mail.Mail) error { return errors.New("nothing goes here") }
