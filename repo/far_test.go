package repo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"stagecoach/lab/peer"
)

// A sshServer is a real sshd for the present user.
type sshServer struct {
	user     string
	port     int
	seed     string            // base64 of the ed25519 seed that may log in
	hostKeys map[string]string // public keys by kind, as in a .pub file
}

func startSSH(t *testing.T) sshServer {
	t.Helper()
	programs := peer.Need(t, "sshd", "ssh-keygen")
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := sshServer{user: me.Username, port: freePort(t), hostKeys: map[string]string{},
		seed: base64.StdEncoding.EncodeToString(private.Seed())}
	pub, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"authorized": string(ssh.MarshalAuthorizedKey(pub))})
	config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nAuthorizedKeysFile %s/authorized\nPidFile none\n"+
		"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n", s.port, dir)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		file := filepath.Join(dir, kind)
		if out, err := exec.Command(programs[1], "-q", "-N", "", "-t", kind, "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		s.hostKeys[kind] = strings.TrimSpace(string(text))
		config += "HostKey " + file + "\n"
	}
	write(t, dir, map[string]string{"config": config})
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) //nolint:errcheck // sshd says so itself
	}
	cmd := exec.Command(programs[0], "-D", "-e", "-f", filepath.Join(dir, "config"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck
		cmd.Wait()         //nolint:errcheck
		if t.Failed() {
			t.Log(log.String())
		}
	})
	waitFor(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitFor(t *testing.T, address string) {
	t.Helper()
	for range 100 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nobody listens at %s", address)
}

func (s sshServer) remote(path string) string {
	return fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", s.user, s.port, path)
}

func (s sshServer) fingerprint(t *testing.T, kind string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.hostKeys[kind]))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

func TestSSH(t *testing.T) {
	t.Parallel()
	server := startSSH(t)
	work, bare := newRepo(t, "main")
	for i := range 40 { // enough for git to make deltas
		write(t, work, map[string]string{fmt.Sprintf("user%d", i): strings.Repeat("same in all of them\n", 50) + strconv.Itoa(i)})
	}
	commit(t, work, "first")
	write(t, work, map[string]string{"ann": "here"})
	id := commit(t, work, "second")
	runGit(t, work, "push", "-q", "origin", "main", "main:side")
	runGit(t, bare, "gc", "-q")

	options := Options{Key: "ed25519:" + server.seed, HostKeys: server.fingerprint(t, "ed25519")}
	r := open(t, server.remote(bare), options)
	first := fetch(t, r)
	if first.Version != id || first.Branch != "main" || len(first.Files) != 41 || string(first.Files["ann"]) != "here" {
		t.Errorf("version %s of %q with %d files, want %s of main with 41", first.Version, first.Branch, len(first.Files), id)
	}
	if !bytes.HasSuffix(first.Files["user17"], []byte("in all of them\n17")) {
		t.Errorf("user17 ends in %.40q", first.Files["user17"][len(first.Files["user17"])-20:])
	}
	if fetch(t, r) != first {
		t.Error("nothing has changed, but there is another snapshot")
	}
	write(t, work, map[string]string{"ann": "moved"})
	commit(t, work, "third")
	runGit(t, work, "push", "-q", "origin", "HEAD")
	if got := string(fetch(t, r).Files["ann"]); got != "moved" {
		t.Errorf("after a push ann is %q", got)
	}
	if s := fetch(t, open(t, server.remote(bare)+"#side", options)); s.Version != id {
		t.Errorf("side is %s, want %s", s.Version, id)
	}
	if _, err := open(t, server.remote(bare)+"#none", options).Fetch(t.Context()); !errors.Is(err, ErrNoBranch) {
		t.Errorf("branch that does not exist: %v", err)
	}
	if _, err := open(t, server.remote("/none.git"), options).Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "none.git") {
		t.Errorf("repository that does not exist: %v", err)
	}
	_, empty := newRepo(t, "main")
	if _, err := open(t, server.remote(empty), options).Fetch(t.Context()); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty repository: %v", err)
	}
}

func TestSSHHostKeys(t *testing.T) {
	t.Parallel()
	server := startSSH(t)
	work, bare := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "here"})
	commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	dir := t.TempDir()
	address := fmt.Sprintf("[127.0.0.1]:%d", server.port)
	keygen := peer.Need(t, "ssh-keygen")[0]
	write(t, dir, map[string]string{
		"known_hosts":  "# a comment\n" + address + " " + server.hostKeys["rsa"] + "\nother.example " + server.hostKeys["ed25519"] + "\n",
		"hashed_hosts": address + " " + server.hostKeys["ecdsa"] + "\n",
	})
	if out, err := exec.Command(keygen, "-H", "-f", filepath.Join(dir, "hashed_hosts")).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -H: %v\n%s", err, out)
	}
	blob := strings.Fields(server.hostKeys["ed25519"])[1]
	good := map[string]string{
		"ed25519 fingerprint":    server.fingerprint(t, "ed25519"),
		"rsa fingerprint":        server.fingerprint(t, "rsa"),
		"ecdsa fingerprint":      server.fingerprint(t, "ecdsa"),
		"kind and fingerprint":   "rsa:" + server.fingerprint(t, "rsa"),
		"public key":             server.hostKeys["ecdsa"],
		"base64 alone":           blob,
		"known_hosts line":       address + " " + server.hostKeys["ed25519"],
		"known_hosts file":       filepath.Join(dir, "known_hosts"),
		"hashed known_hosts":     filepath.Join(dir, "hashed_hosts"),
		"a wrong one beside it":  "SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32)) + "\n" + server.fingerprint(t, "rsa"),
		"with padding of base64": server.fingerprint(t, "ed25519") + "=",
	}
	for name, keys := range good {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fetch(t, open(t, server.remote(bare), Options{Key: "ed25519:" + server.seed, HostKeys: keys}))
		})
	}
	for name, keys := range map[string]string{
		"another fingerprint": "SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32)),
		"of the wrong kind":   "ed25519:" + server.fingerprint(t, "rsa"),
	} {
		_, err := open(t, server.remote(bare), Options{Key: "ed25519:" + server.seed, HostKeys: keys}).Fetch(t.Context())
		if !errors.Is(err, ErrHostKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, keys := range map[string]string{
		"none":         "",
		"another host": "other.example " + server.hostKeys["ed25519"],
		"nonsense":     "hello",
		"short":        "SHA256:AAAA",
	} {
		if _, err := Open(server.remote(bare), Options{Key: "ed25519:" + server.seed, HostKeys: keys}); err == nil {
			t.Errorf("host key %s: accepted", name)
		}
	}
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	server := startSSH(t)
	work, bare := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "here"})
	commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	seed, _ := base64.StdEncoding.DecodeString(server.seed)
	block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(seed), "")
	if err != nil {
		t.Fatal(err)
	}
	inPEM := string(pem.EncodeToMemory(block))
	dir := t.TempDir()
	for name, text := range map[string]string{"pem": inPEM, "seed": "ed25519:" + server.seed + "\n", "open": inPEM} {
		mode := os.FileMode(0o600)
		if name == "open" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	with := func(key string) error {
		r, err := Open(server.remote(bare), Options{Key: key, HostKeys: server.fingerprint(t, "ed25519")})
		if err == nil {
			_, err = r.Fetch(t.Context())
		}
		return err
	}
	for _, key := range []string{inPEM, filepath.Join(dir, "pem"), filepath.Join(dir, "seed")} {
		if err := with(key); err != nil {
			t.Error(err)
		}
	}
	stranger := "ed25519:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, key := range []string{stranger, filepath.Join(dir, "open"), "", "ed25519:abc", "rsa:seed", server.seed} {
		err := with(key)
		if err == nil {
			t.Errorf("key %.20q: accepted", key)
		} else if key != "" && strings.Contains(err.Error(), strings.TrimPrefix(key, "ed25519:")) && !strings.Contains(key, dir) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	derived := false
	_, err = Open(server.remote(bare), Options{Key: "rsa:some seed", HostKeys: server.fingerprint(t, "ed25519"),
		RSA: func(seed string) (*rsa.PrivateKey, error) {
			derived = seed == "some seed"
			return rsa.GenerateKey(rand.Reader, 2048)
		}})
	if err != nil || !derived {
		t.Errorf("rsa: derived %v, %v", derived, err)
	}
}

// A server that accepts and says nothing must not hold anybody up.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	key := "ed25519:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, at := range []string{"ssh://git@" + l.Addr().String() + "/x", "git://" + l.Addr().String() + "/x", "http://" + l.Addr().String() + "/x"} {
		r := open(t, at, Options{Key: key, HostKeys: "SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32)), Timeout: 50 * time.Millisecond})
		if _, err := r.Fetch(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	path := runGit(t, t.TempDir(), "--exec-path")
	work, bare := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "here"})
	id := commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	backend := &cgi.Handler{Path: filepath.Join(path, "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "ann" || p != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	r := open(t, "http://ann:secret@"+host+"/users.git#main", Options{})
	if s := fetch(t, r); s.Version != id || string(s.Files["ann"]) != "here" {
		t.Errorf("version %s, want %s", s.Version, id)
	}
	_, err := open(t, "http://ann:wrong-password@"+host+"/users.git", Options{}).Fetch(t.Context())
	if err == nil || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("wrong password: %v", err)
	}
	if s := r.String(); strings.Contains(s, "secret") {
		t.Errorf("String shows the password: %s", s)
	}
}

func TestGitDaemon(t *testing.T) {
	t.Parallel()
	git := peer.Need(t, "git")[0]
	work, bare := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "here"})
	id := commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	port := freePort(t)
	cmd := exec.Command(git, "daemon", "--listen=127.0.0.1", "--port="+strconv.Itoa(port), "--export-all", "--base-path="+filepath.Dir(bare), "--reuseaddr")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()         //nolint:errcheck
	defer cmd.Process.Kill() //nolint:errcheck
	waitFor(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if s := fetch(t, open(t, fmt.Sprintf("git://127.0.0.1:%d/users.git", port), Options{})); s.Version != id {
		t.Errorf("version %s, want %s", s.Version, id)
	}
}
