package repo

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Options say how a Remote is reached, and how much it may hold.
type Options struct {
	// Key is the private key for SSH: "ed25519:" and the base64 of a 32-octet seed,
	// "rsa:" and a seed that RSA turns into a key, an unencrypted private key in PEM or
	// OpenSSH form, or the path of a file with one of these, which nobody else may read.
	Key string

	// HostKeys names the keys by which an SSH server is known, one a line: "SHA256:" and the
	// fingerprint as ssh-keygen -l prints it, "ed25519:SHA256:…" or "rsa:SHA256:…", a line
	// of a known_hosts file, a public key as a .pub file has it or its base64 alone, or the
	// path of a file with such lines. SSH without a known host key is refused.
	HostKeys string

	// RSA derives a key from the seed text of an "rsa:" key. Nil refuses such keys.
	RSA func(seed string) (*rsa.PrivateKey, error)

	Limits  Limits
	Timeout time.Duration // of one Fetch; default 60 seconds
}

// Limits bound what a Snapshot may hold, so that a wrong or hostile repository cannot
// exhaust memory. Zero values mean the defaults.
type Limits struct {
	Files    int   // files and folders; default 100,000
	FileSize int64 // octets of one file; default 1 MiB
	Total    int64 // octets of all files, and of what is transferred; default 256 MiB
	Depth    int   // folders within folders; default 16
}

func (l Limits) withDefaults() Limits {
	if l.Files == 0 {
		l.Files = 100_000
	}
	if l.FileSize == 0 {
		l.FileSize = 1 << 20
	}
	if l.Total == 0 {
		l.Total = 256 << 20
	}
	if l.Depth == 0 {
		l.Depth = 16
	}
	return l
}

// What Fetch says of a repository that answers but cannot be used; errors.Is finds them.
var (
	ErrEmpty    = errors.New("the repository has no commit")
	ErrNoBranch = errors.New("the repository has no such branch")
	ErrLimit    = errors.New("over the limit")
	ErrFileKind = errors.New("neither a plain file nor a folder")
	ErrHostKey  = errors.New("the server's host key is not the known one")
)

// A Remote is a place where files are kept under version. It is safe for concurrent use.
type Remote struct {
	at      location
	source  source
	limits  Limits
	timeout time.Duration

	mu   sync.Mutex
	last *Snapshot
}

// A source reads one kind of place. When the version is still that of last, it returns last.
type source interface {
	fetch(ctx context.Context, branch string, l Limits, last *Snapshot) (*Snapshot, error)
}

// Open makes a Remote of its text:
//
//	path[#branch]                       a bare repository, a checkout, or a plain folder here
//	file:///path[#branch]               the same
//	[user@]host:path[#branch]           SSH
//	ssh://[user@]host[:port]/path[#branch]
//	git://host[:port]/path[#branch]     nothing protects it on its way
//	http[s]://[user[:password]@]host[:port]/path[#branch]
//
// A local path that has a colon before its first slash is written with "./" in front. Of a
// checkout what was committed counts, not what lies in the working folder. Open reads key
// files, but does not look at the place itself.
func Open(text string, o Options) (*Remote, error) {
	at, err := parseLocation(text)
	if err != nil {
		return nil, err
	}
	r := &Remote{at: at, limits: o.Limits.withDefaults(), timeout: o.Timeout}
	if r.timeout == 0 {
		r.timeout = time.Minute
	}
	switch at.scheme {
	case schemeLocal:
		r.source = &local{path: at.path}
	case schemeSSH:
		s, err := newSSH(at, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		r.source = s
	case schemeGit:
		r.source = far{daemon{at}.dial}
	default:
		r.source = far{web{at}.dial}
	}
	return r, nil
}

// String returns the text of the remote without a password.
func (r *Remote) String() string { return r.at.String() }

// Fetch returns what the remote holds now. While nothing has changed it returns the same
// Snapshot again, at the cost of asking for the version.
func (r *Remote) Fetch(ctx context.Context) (*Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	s, err := r.source.fetch(ctx, r.at.branch, r.limits, r.last)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.at, err)
	}
	r.last = s
	return s, nil
}
