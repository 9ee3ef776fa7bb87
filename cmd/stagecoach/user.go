package main

import (
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/repo"
	"stagecoach/rfc/fortuna"
)

type userCmd struct {
	usersPlace `embed:""`

	Add     userAddCmd     `cmd:"" help:"Add a user, with a password that is made and shown once."`
	List    userListCmd    `cmd:"" help:"List the users."`
	Show    userShowCmd    `cmd:"" help:"Show one user, and what to type into mail programs."`
	Passwd  userPasswdCmd  `cmd:"" help:"Give a user another password."`
	Alias   userAliasCmd   `cmd:"" help:"Give a user more addresses, or take them away."`
	Target  userTargetCmd  `cmd:"" help:"Change where a user's mail goes."`
	Confirm userConfirmCmd `cmd:"" help:"Confirm a target by the token that was mailed there."`
	Disable userDisableCmd `cmd:"" help:"No login and no mail; the addresses stay taken."`
	Enable  userEnableCmd  `cmd:"" help:"End disable."`
	Remove  userRemoveCmd  `cmd:"" help:"Remove a user."`
}

// usersPlace says where the users are: as the service's configuration says, or the flags.
type usersPlace struct {
	Config           string `short:"c" help:"The configuration file of the service, which says where the users are." default:"/etc/stagecoach.toml" placeholder:"FILE"`
	Remote           string `short:"r" help:"The users repository instead: a folder, a bare repository, or user@host:path#branch over SSH." placeholder:"REMOTE"`
	Domain           string `help:"The main domain of the repository." placeholder:"DOMAIN"`
	SSHKey           Secret `name:"ssh-key" help:"Key for SSH: ed25519:BASE64, rsa:SEED, or @FILE." placeholder:"SECRET"`
	SSHAuthenticator string `name:"ssh-authenticator" help:"Host key of the SSH server: SHA256:FINGERPRINT, or the path of a known_hosts file." placeholder:"KEY"`
	Server           string `help:"Host name of the submission server, to be printed in settings." placeholder:"HOST"`
}

// userFacts are what the configuration of the service says about users. The rest is not read:
// it may name secrets that are for the service alone.
type userFacts struct {
	identityOptions
	State      string            `toml:"state"`
	Users      userOptions       `toml:"users"`
	Submit     submitOptions     `toml:"submit"`
	Autoconfig autoconfigOptions `toml:"autoconfig"`
}

// facts returns what the configuration says, with the flags over it. Without a configuration the
// flags must be enough.
func (o *usersPlace) facts() (*userFacts, error) {
	all, err := defaultConfig()
	if err != nil {
		return nil, err
	}
	f := &userFacts{identityOptions: all.identityOptions, State: all.State, Users: all.Users, Submit: all.Submit}
	text, err := os.ReadFile(o.Config)
	switch {
	case err == nil:
		if err := toml.Unmarshal(text, f); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Config, explain(err))
		}
	case o.Remote == "":
		return nil, fmt.Errorf("no users repository is named (-r), and the configuration cannot be read: %w", err)
	case !errors.Is(err, fs.ErrNotExist) || o.Config != "/etc/stagecoach.toml":
		return nil, err
	}
	if o.Remote != "" { // another place has other keys
		f.Users.Remote, f.Users.SSHKey, f.Users.SSHAuthenticator = o.Remote, Secret{}, ""
	}
	if !o.SSHKey.IsZero() {
		f.Users.SSHKey = o.SSHKey
	}
	f.Users.SSHAuthenticator = cmp.Or(o.SSHAuthenticator, f.Users.SSHAuthenticator)
	f.Domain = cmp.Or(o.Domain, f.Domain)
	if f.Domain == "" {
		return nil, errors.New("no --domain: which domain do the users belong to?")
	}
	if err := errors.Join(f.identityOptions.check(), f.Users.check()); err != nil {
		return nil, err
	}
	return f, nil
}

// A usersEditor is the users repository, opened to be changed.
type usersEditor struct {
	facts    *userFacts
	server   string // of submission
	keeper   account.Keeper
	settings account.Settings
	by       account.Author
}

// open opens the repository. Run by root, it goes on as the owner of a repository on this
// machine, so that the service, which is that owner, can still write there.
func (o *usersPlace) open() (*usersEditor, error) {
	f, err := o.facts()
	if err != nil {
		return nil, err
	}
	if f.Users.SSHKey.literal {
		fmt.Fprintln(os.Stderr, "stagecoach: the SSH key was given literally: every user of this machine can read it in the process list; write @FILE instead")
	}
	remote, err := repo.Open(f.Users.Remote, repo.Options{
		Key: f.Users.SSHKey.Text(), HostKeys: f.Users.SSHAuthenticator,
		RSA: func(seed string) (*rsa.PrivateKey, error) { return fortuna.RSA([]byte(seed), 4096) },
	})
	if err != nil {
		return nil, fmt.Errorf("users repository: %w", err)
	}
	postmaster, err := f.postmaster()
	if err != nil {
		return nil, fmt.Errorf("postmaster: %w", err)
	}
	return &usersEditor{
		facts: f, server: cmp.Or(o.Server, f.Autoconfig.Server, f.Name), keeper: remote, by: whoIsHere(),
		settings: account.Settings{Domain: f.Domain, Postmaster: postmaster, Separator: f.Users.Separator},
	}, nil
}

// whoIsHere is whom the history names: who called sudo, else the user of the process.
func whoIsHere() account.Author {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>\n\x00", r) {
			return '_'
		}
		return r
	}, cmp.Or(name, "stagecoach"))
	return account.Author{Name: name, Email: name + "@" + host}
}

// book reads the users.
func (e *usersEditor) book(ctx context.Context) (*account.Book, error) {
	s, err := e.keeper.Fetch(ctx)
	if errors.Is(err, repo.ErrEmpty) {
		err = fmt.Errorf("%w; make a first one by hand: git commit --allow-empty -m start", err)
	}
	if err != nil {
		return nil, err
	}
	return account.Parse(s.Files, e.settings)
}

// edit changes the users and says what was done, or that nothing was to do.
func (e *usersEditor) edit(ctx context.Context, done string, change func(*account.Draft) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := becomeOwner(e.facts.Users.Remote); err != nil {
		return err
	}
	changed, err := account.Edit(ctx, e.keeper, e.settings, e.by, change)
	switch {
	case err != nil:
		return err
	case changed:
		fmt.Println(done)
	default:
		fmt.Println("nothing to change")
	}
	return nil
}

// entry changes the entry of a user who exists.
func (e *usersEditor) entry(ctx context.Context, name, subject, done string, change func(*account.Draft, *account.User, *account.Entry) error) error {
	return e.edit(ctx, done, func(d *account.Draft) (string, error) {
		u, err := userNamed(d.Book, name)
		if err != nil {
			return "", err
		}
		was, err := d.Entry(u)
		if err != nil {
			return "", err
		}
		now, err := d.Entry(u)
		if err != nil {
			return "", err
		}
		if err := change(d, u, now); err != nil {
			return "", err
		}
		if same(was, now) { // a file in another hand's style stays as it is
			return subject, nil
		}
		return subject, d.Put(now)
	})
}

func same(a, b *account.Entry) bool {
	return slices.Equal(a.Targets, b.Targets) && slices.Equal(a.Pending, b.Pending) && slices.Equal(a.Aliases, b.Aliases) &&
		a.Password == b.Password && a.Disabled == b.Disabled
}

// userNamed finds the one user of a name: "ann", "ann@domain", or an alias.
func userNamed(b *account.Book, name string) (*account.User, error) {
	a, err := addressIn(b.Main(), name)
	if err != nil {
		return nil, err
	}
	u, ok := b.Holder(a)
	if !ok {
		return nil, fmt.Errorf("there is no user %s", a)
	}
	return u, nil
}

// addressIn reads a name or a whole address. Local parts of ours have no case; ours are small.
func addressIn(domain, name string) (mail.Address, error) {
	if !strings.Contains(name, "@") {
		name += "@" + domain
	}
	a, err := mail.ParseAddress(name)
	if err != nil {
		return a, err
	}
	return mail.NewAddress(strings.ToLower(a.Local()), a.Domain())
}

// onThisMachine returns the folder of a remote that is a path here, "" for any other.
func onThisMachine(remote string) string {
	path := strings.TrimPrefix(remote, "file://")
	if i := strings.LastIndexByte(path, '#'); i >= 0 {
		path = path[:i]
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return ""
	}
	return filepath.Clean(path)
}
