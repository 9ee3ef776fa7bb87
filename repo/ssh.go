package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// shell is git over SSH.
type shell struct {
	at     location
	user   string
	signer ssh.Signer
	known  hostKeys
}

const sshPort = 22

func newSSH(at location, o Options) (far, error) {
	if o.Key == "" {
		return far{}, errors.New("SSH needs a private key (--ssh-key)")
	}
	if strings.TrimSpace(o.HostKeys) == "" {
		return far{}, errors.New("SSH needs the server's host key (--ssh-authenticator)")
	}
	signer, err := parseKey(o.Key, o.RSA)
	if err != nil {
		return far{}, err
	}
	known, err := parseHostKeys(o.HostKeys, at.hostPort(sshPort))
	if err != nil {
		return far{}, err
	}
	s := shell{at: at, user: at.user, signer: signer, known: known}
	if s.user == "" {
		me, err := user.Current()
		if err != nil {
			return far{}, fmt.Errorf("no user in the remote, and none here: %w", err)
		}
		s.user = me.Username
	}
	return far{s.dial}, nil
}

// dial logs in and starts the service. A server has several host keys and shows the one that
// both sides like best, so that one that we know by its fingerprint alone is asked for kind
// by kind.
func (s shell) dial(ctx context.Context, service string, limit int64) (session, error) {
	var last error
	for _, algorithms := range s.known.algorithms() {
		st, err := s.dialWith(ctx, service, limit, algorithms)
		if err == nil {
			return st, nil
		}
		if last == nil || errors.Is(err, ErrHostKey) {
			last = err
		}
		if !errors.Is(err, ErrHostKey) && !isNoCommonKey(err) {
			return nil, orTimeout(ctx, err)
		}
	}
	return nil, last
}

func isNoCommonKey(err error) bool {
	var n *ssh.AlgorithmNegotiationError
	return errors.As(err, &n)
}

func (s shell) dialWith(ctx context.Context, service string, limit int64, algorithms []string) (_ *stream, err error) {
	address := s.at.hostPort(sshPort)
	conn, release, err := dialTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User:              s.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(s.signer)},
		HostKeyCallback:   s.known.check,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-Stagecoach",
	})
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	run, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := run.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := run.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said := &complaint{}
	run.Stderr = said
	if err := run.Start(service + " " + shellQuote(s.at.path)); err != nil {
		return nil, err
	}
	return &stream{
		in: in, out: bounded(out, limit),
		fault: func() string {
			run.Wait() //nolint:errcheck // only to have all of what it says
			return said.text()
		},
		close: func() error { client.Close(); release(); return nil },
	}, nil
}

// shellQuote quotes a path for the shell at the far end. A path in somebody's home keeps
// its tilde outside of the quotes.
func shellQuote(path string) string {
	home := ""
	if strings.HasPrefix(path, "~") {
		i := strings.IndexByte(path, '/')
		if i < 0 {
			i = len(path)
		}
		if isPlainName(path[1:i]) {
			home, path = path[:i], path[i:]
		}
	}
	return home + "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

func isPlainName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// A complaint keeps the beginning of what a program wrote to its standard error.
type complaint struct {
	mu sync.Mutex
	b  []byte
}

var _ io.Writer = (*complaint)(nil)

func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b = append(c.b, p[:min(len(p), 512-len(c.b))]...)
	return len(p), nil
}

func (c *complaint) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(string(c.b))
}
