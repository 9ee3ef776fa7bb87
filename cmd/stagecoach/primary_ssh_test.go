package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"stagecoach/lab/peer"
)

// The articles' command line, over a real sshd: an UPDATE is pushed, the hook of the far side is
// run by sshd, and a server with another host key gets nothing.
func TestPrimaryOverSSH(t *testing.T) {
	t.Parallel()
	nsupdate := peer.Need(t, "nsupdate")[0]
	r := newZoneRepo(t)
	remote, seed, fingerprint := startSSHD(t, r.bare)
	key := filepath.Join(t.TempDir(), "ssh.key")
	wrapper := filepath.Join(t.TempDir(), "stagecoach") // as sshd hands no environment on
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(key, "ed25519:"+seed+"\n", 0o600)
	write(wrapper, fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asProgram, os.Args[0]), 0o755)

	other := "SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	if out, err := program(t, "primary", "-r", remote, "--ssh-key", "@"+key, "--ssh-authenticator", other, "--no-dnssec",
		"--listen", "127.0.0.1:0", "--control", filepath.Join(t.TempDir(), "sock")); err == nil || !strings.Contains(out, "host key") {
		t.Errorf("a server with another key: %v\n%s", err, out)
	}
	p, port, _ := startPrimary(t, remote, "--axfr", "--ssh-key", "@"+key, "--ssh-authenticator", fingerprint)
	mustProgram(t, "zone", "hook", "install", r.bare, "--primary", "127.0.0.1:"+port, "--program", wrapper)
	cmd := exec.Command(nsupdate, "-y", "hmac-sha256:personal._update.x25519.example:"+zoneSecret)
	cmd.Stdin = strings.NewReader("server 127.0.0.1 " + port + "\nzone x25519.example\nupdate add a.x25519.example. 3600 A 192.0.2.7\nsend\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, p.log)
	}
	if got := r.must(r.bare, "log", "-1", "--format=%s", "main"); got != "127.0.0.1 changed x25519.example" {
		t.Errorf("the commit is %q", got)
	}
	r.must(r.work, "pull", "-q", "origin", "main")
	if out := r.push(map[string]string{"x25519.example": zoneText(3000000000, "b\tA\t192.0.2.8\n")}); !strings.Contains(out, "with serial 3000000000") {
		t.Errorf("a push by hand: %s", out)
	}
	dig(t, port, "192.0.2.8", "b.x25519.example", "+short")
	p.stop()
}

// startSSHD runs sshd for the present user. It returns the remote of a path there, the seed of the
// key that may log in, and the fingerprint of the host key.
func startSSHD(t *testing.T, path string) (remote, seed, fingerprint string) {
	t.Helper()
	sshd, dir := peer.Need(t, "sshd")[0], t.TempDir()
	_, client, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, host, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	hostPEM, err := ssh.MarshalPrivateKey(host, "")
	if err != nil {
		t.Fatal(err)
	}
	signers := make([]ssh.PublicKey, 2)
	for i, k := range []ed25519.PrivateKey{client, host} {
		if signers[i], err = ssh.NewPublicKey(k.Public()); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	port := itoa(int(freePort(t, loopback)))
	for name, text := range map[string]string{
		"authorized": string(ssh.MarshalAuthorizedKey(signers[0])),
		"host":       string(pem.EncodeToMemory(hostPEM)),
		"config": "Port " + port + "\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n" +
			"PermitRootLogin prohibit-password\nAuthorizedKeysFile " + dir + "/authorized\nHostKey " + dir + "/host\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) //nolint:errcheck // sshd says so itself
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "config"))
	log := &lockedBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it has ended
	waitFor(t, "127.0.0.1:"+port, log)
	return "ssh://" + me.Username + "@127.0.0.1:" + port + path + "#main", base64.StdEncoding.EncodeToString(client.Seed()), ssh.FingerprintSHA256(signers[1])
}
