package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"stagecoach/name/authority"
	"stagecoach/name/cert"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
	"stagecoach/stage/sign"
	"stagecoach/tool/setup"
)

// A step makes one thing, where it is not there yet. What is there is never replaced.
type step struct {
	path  string
	what  string
	there func(context.Context) (bool, error)
	make  func(context.Context) error
}

// steps are all there is to make, in the order in which one needs the other. The configuration
// comes last: with it the service can start.
func (p *plan) steps() []step {
	s := p.service
	all := []step{p.folder(s.State, "state, for the service alone"), p.folder(filepath.Dir(s.Key("")), "keys for the name server")}
	for _, role := range setup.Roles() {
		all = append(all, p.secret(s.Key(role), roleHelp[role], func() error { return p.makeKey(role) }))
	}
	for _, kind := range []string{"rsa", "ed25519"} {
		file := s.DKIM(kind)
		all = append(all, p.secret(file, "signs mail (DKIM): "+kind, func() error { return ensureKey(file, kind) }))
	}
	all = append(all,
		p.secret(s.Return(), "return addresses of forwarded mail (SRS)", func() error { _, err := ensureSecret(s.Return()); return err }),
		p.folder(filepath.Dir(s.Account()), "what the certificates' authority was asked for"),
		p.secret(s.Account(), "account at the certificates' authority (ACME)", func() error { _, err := cert.FileKey(s.Account()); return err }),
		p.folder(filepath.Dir(s.DNSSEC()), "state of the name server"),
		p.folder(s.DNSSEC(), "keys of the zone"),
		p.zoneKeys(),
		p.zoneFiles(),
		p.usersRepository(),
	)
	if !p.user.address.IsZero() {
		all = append(all, p.firstUser())
	}
	return append(all, p.configuration())
}

var roleHelp = map[string]string{
	setup.RoleCert:     "writes requests for certificates into the zone",
	setup.RoleIssuer:   "writes certificates into the zone",
	setup.RoleSigner:   "writes DKIM keys into the zone",
	setup.RoleOperator: "writes all of the zone: for you, with nsupdate",
	setup.RoleTransfer: "reads all of the zone: for a second name server",
	setup.RoleNotify:   "says that the zone has changed",
}

// make does what is missing, and returns what it made.
func (p *plan) make(ctx context.Context, t *talk) (made []string, err error) {
	t.title("On this machine")
	for _, s := range p.steps() {
		there, err := s.there(ctx)
		if err != nil {
			return made, err
		}
		if !there {
			if err := s.make(ctx); err != nil {
				if errors.Is(err, fs.ErrPermission) {
					err = fmt.Errorf("%w (run it with sudo, or name places of your own with --state and --config)", err)
				}
				return made, fmt.Errorf("%s: %w", s.path, err)
			}
			made = append(made, s.path)
		}
		p.line(t, s, there, "made")
	}
	return made, keepOwner(p.service.State)
}

// preview says what make would do.
func (p *plan) preview(ctx context.Context, t *talk) error {
	t.title("What would be done")
	for _, s := range p.steps() {
		there, err := s.there(ctx)
		if err != nil {
			return err
		}
		p.line(t, s, there, "make")
	}
	if !p.known {
		t.title("The zone")
		t.say("%s", strings.TrimRight(p.domain.Zone([]string{"; here the DKIM keys follow"}, p.now), "\n"))
	}
	t.title(p.config)
	t.say("%s", strings.TrimRight(p.domain.Config(p.service), "\n"))
	return nil
}

func (p *plan) line(t *talk, s step, there bool, verb string) {
	if there {
		verb = "kept"
	}
	t.say("  %s  %-44s  %s", verb, s.path, s.what)
}

// exists is whether something is at a path.
func exists(path string) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
}

// folder is one that only its owner can enter.
func (p *plan) folder(path, what string) step {
	return step{path, what, func(context.Context) (bool, error) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, err
		case !info.IsDir():
			return false, fmt.Errorf("%s is no folder", path)
		case info.Mode().Perm()&0o077 != 0:
			return false, fmt.Errorf("%s can be entered by others (mode %04o): if it is the service's own, run chmod 700 %s", path, info.Mode().Perm(), path)
		}
		return true, nil
	}, func(context.Context) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.Mkdir(path, 0o700)
	}}
}

// secret is a file that only its owner can read.
func (p *plan) secret(path, what string, write func() error) step {
	return step{path, what, func(context.Context) (bool, error) {
		_, err := readPrivate(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}, func(context.Context) error { return write() }}
}

// makeKey writes the key of a role: that of the zone repository where it has one.
func (p *plan) makeKey(role string) error {
	key := p.domain.NewKey(role)
	if k, ok := p.keyInZone(key.Name); ok {
		key = k
	}
	return writeNew(p.service.Key(role), []byte(key.Flag()+"\n"))
}

func (p *plan) keyInZone(name string) (dns.Key, bool) {
	rrs, err := dns.ParseZone(strings.NewReader(string(p.zone[p.domain.Name+"._keys"])), p.domain.Name)
	if err != nil {
		return dns.Key{}, false
	}
	for _, rr := range rrs {
		if record, ok := rr.(*dns.DNSKEYRecord); ok && dns.Canonical(record.Hdr.Name) == name {
			if k, err := dns.KeyFromRecord(record); err == nil {
				return k, true
			}
		}
	}
	return dns.Key{}, false
}

// zoneKeys are the keys of DNSSEC, made now so that the DS can be told.
func (p *plan) zoneKeys() step {
	signing := &authority.Signing{Dir: p.service.DNSSEC()}
	return step{filepath.Join(p.service.DNSSEC(), p.domain.Name+".keys"), "signs the zone (DNSSEC): ECDSA P-256", func(context.Context) (bool, error) {
		ds, err := signing.DS(p.domain.Name, p.now)
		return len(ds) > 0, err
	}, func(context.Context) error {
		_, err := signing.MakeKeys(p.domain.Name, p.now)
		return err
	}}
}

// zoneFiles put the zone into its repository, with its keys and their grants.
func (p *plan) zoneFiles() step {
	path := p.service.Zones()
	return step{path, "repository of the zone", func(context.Context) (bool, error) { return p.known, nil },
		func(ctx context.Context) error {
			files, err := p.newZone()
			if err != nil {
				return err
			}
			for _, problem := range authority.CheckFiles(files, nil) {
				return problem
			}
			return commitFirst(ctx, path, p.zone, p.change("Zone of "+p.domain.Name, files))
		}}
}

func (p *plan) newZone() (map[string][]byte, error) {
	keys := map[string]dns.Key{}
	for _, role := range setup.Roles() {
		text, err := readPrivate(p.service.Key(role))
		if err == nil {
			keys[role], err = dns.ParseKey(strings.TrimSpace(string(text)))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.service.Key(role), err)
		}
	}
	dkim, err := p.dkimRecords()
	if err != nil {
		return nil, err
	}
	return p.domain.Files(p.domain.Zone(dkim, p.now), keys), nil
}

// dkimRecords are those of the keys that "serve" signs with.
func (p *plan) dkimRecords() (out []string, err error) {
	c, err := defaultConfig()
	if err != nil {
		return nil, err
	}
	for _, kind := range []string{"rsa", "ed25519"} {
		var key sign.Key
		if key, err = namedKey(c.Sign.Selector + "-" + kind + "=" + p.service.DKIM(kind)); err != nil {
			return nil, err
		}
		record, err := recordOf(key, p.domain.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, record)
	}
	return out, nil
}

func (p *plan) change(subject string, files map[string][]byte) repo.Change {
	return repo.Change{Files: files, Message: subject + "\n", Name: "stagecoach init", Email: "postmaster@" + p.domain.Name, When: p.now}
}

// commitFirst makes a repository with a first commit, or adds the commit to the one that is there.
func commitFirst(ctx context.Context, path string, have map[string][]byte, first repo.Change) error {
	if have == nil {
		return repo.Create(ctx, path, first)
	}
	r, err := repo.Open(path, repo.Options{Limits: zoneLimits})
	if err != nil {
		return err
	}
	base, err := r.Fetch(ctx)
	if err != nil {
		return err
	}
	for name := range first.Files {
		if _, there := base.Files[name]; there {
			return fmt.Errorf("%s is there already", name)
		}
	}
	_, err = r.Commit(ctx, base, first)
	return err
}

// filesOf returns what a repository holds, nil where there is none.
func filesOf(ctx context.Context, path string) (map[string][]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	r, err := repo.Open(path, repo.Options{Limits: zoneLimits})
	if err != nil {
		return nil, err
	}
	s, err := r.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	return s.Files, nil
}

func (p *plan) configuration() step {
	return step{p.config, "configuration", exists(p.config), func(context.Context) error {
		if err := os.MkdirAll(filepath.Dir(p.config), 0o755); err != nil {
			return err
		}
		if err := writeNew(p.config, []byte(p.domain.Config(p.service))); err != nil {
			return err
		}
		return os.Chmod(p.config, 0o644) // it names secrets, but holds none
	}}
}

// A glance is what is to be known of a configuration before its secrets can be read.
type glance struct {
	Domain string
	State  string
	Users  struct{ Remote string }
	Zones  struct {
		Remote string
		Listen []string
	}
}

func glanceConfig(file string) (glance, error) {
	var g glance
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err == nil {
		err = toml.Unmarshal(text, &g)
	}
	if err != nil {
		return g, fmt.Errorf("%s: %w", file, err)
	}
	return g, nil
}

// keepOwner gives what root has made in the state folder to whom the folder belongs.
func keepOwner(state string) error {
	info, err := os.Stat(state)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 {
		return nil
	}
	return giveTree(state, int(owner.Uid), int(owner.Gid))
}

// giveTree changes the owner of a folder and of all that is in it.
func giveTree(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}
