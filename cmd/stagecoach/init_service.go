package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stagecoach/tool/setup"
)

type serviceCmd struct {
	Install serviceInstallCmd `cmd:"" help:"Install the service for systemd, and start it."`
	Unit    serviceUnitCmd    `cmd:"" help:"Print the unit."`
}

type serviceUnitCmd struct {
	Config  string `short:"c" help:"The configuration file." default:"/etc/stagecoach.toml" placeholder:"FILE"`
	State   string `help:"The state folder." default:"/var/lib/stagecoach" placeholder:"DIR"`
	Program string `help:"This program, as systemd finds it." default:"/usr/local/bin/stagecoach" placeholder:"PATH"`
}

// Help shows an example.
func (serviceUnitCmd) Help() string {
	return "Example: stagecoach service unit >/etc/systemd/system/stagecoach.service"
}

// Run prints the unit.
func (c serviceUnitCmd) Run() error {
	_, err := fmt.Print(setup.Unit{Program: c.Program, Config: c.Config, State: c.State}.Text())
	return err
}

type serviceInstallCmd struct {
	Config  string `short:"c" help:"The configuration file." default:"/etc/stagecoach.toml" placeholder:"FILE"`
	Program string `help:"This program, as systemd is to find it (default: where it is if that is below /usr or /opt, else a copy at /usr/local/bin/stagecoach)." placeholder:"PATH"`
	Root    string `help:"Write everything below this folder and start nothing, to make an image." placeholder:"DIR"`
	Force   bool   `help:"Replace a unit that somebody has changed."`
}

// Help shows examples.
func (serviceInstallCmd) Help() string {
	return `The service runs as the user "stagecoach", who may open low ports and write the state folder, and no
more; "stagecoach service unit" shows all of it. A second run, with a newer program, is the upgrade. Settings of
your own for systemd belong into "systemctl edit stagecoach".

Examples:

  stagecoach service install
  stagecoach service install --config /srv/mail/stagecoach.toml
  stagecoach service install --root ./image --program /usr/bin/stagecoach`
}

// Run installs and starts the service.
func (c serviceInstallCmd) Run(ctx context.Context) error {
	return c.run(ctx, newTalk(os.Stdin, os.Stdout, true))
}

func (c serviceInstallCmd) run(ctx context.Context, t *talk) error {
	if c.Root == "" && os.Geteuid() != 0 {
		return errors.New("only root can install a service: run it with sudo")
	}
	config, err := filepath.Abs(c.Config)
	if err != nil {
		return err
	}
	have, err := glanceConfig(filepath.Join(c.Root, config))
	if err != nil {
		return err
	}
	if have.Domain == "" {
		return fmt.Errorf("%s: there is no configuration; \"stagecoach init DOMAIN\" makes one", config)
	}
	t.title("The service")
	i := &installer{talk: t, root: c.Root, force: c.Force, config: have}
	i.unit = setup.Unit{Config: config, State: cmp.Or(have.State, setup.DefaultState)}
	if i.unit.Program, err = i.program(c.Program); err != nil {
		return err
	}
	if err := i.files(); err != nil || c.Root != "" {
		return err
	}
	return i.start(ctx)
}

// An installer installs one service. What it wrote it may replace.
type installer struct {
	talk   *talk
	root   string // everything is below it; "" for this system, where commands are run too
	force  bool
	config glance
	unit   setup.Unit
}

// program returns where systemd finds us, and copies us there if need be: a program in somebody's
// home cannot be seen by the service.
func (i *installer) program(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", err
	}
	if i.root == "" && (strings.HasPrefix(self, "/usr/") || strings.HasPrefix(self, "/opt/")) {
		return self, nil
	}
	const to = "/usr/local/bin/stagecoach"
	text, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	return to, i.write(to, "the program", text, 0o755, nil)
}

// shell is what the user gets: whoever has an SSH key there may fetch and push, and no more.
func shell() string {
	if path, err := exec.LookPath("git-shell"); err == nil {
		return path
	}
	return "/usr/sbin/nologin"
}

// unitMark is the first line of the units that are ours.
const unitMark = "# Made by stagecoach service install. Changes belong into \"systemctl edit stagecoach\".\n"

func (i *installer) files() error {
	if err := i.write("/etc/sysusers.d/stagecoach.conf", "user stagecoach", []byte(i.unit.SysUser(shell())), 0o644, nil); err != nil {
		return err
	}
	return i.write("/etc/systemd/system/"+setup.UnitName, "unit", []byte(unitMark+i.unit.Text()), 0o644, func(old []byte) error {
		if i.force || bytes.HasPrefix(old, []byte(unitMark)) {
			return nil
		}
		return fmt.Errorf("/etc/systemd/system/%s is there already, and is not ours; --force replaces it", setup.UnitName)
	})
}

// write replaces a file in one step where it differs and may says nothing against it.
func (i *installer) write(name, what string, text []byte, mode fs.FileMode, may func(old []byte) error) error {
	path := filepath.Join(i.root, name)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && bytes.Equal(old, text) {
		i.talk.say("  kept  %-44s  %s", name, what)
		return nil
	}
	if err == nil && may != nil {
		if err := may(old); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	i.talk.say("  made  %-44s  %s", name, what)
	return syncFolder(filepath.Dir(path))
}

// start makes the user, gives the state to it, and has systemd start the service.
func (i *installer) start(ctx context.Context) error {
	if _, err := exec.LookPath("systemctl"); err != nil {
		return errors.New("there is no systemd here: have your supervisor run \"stagecoach serve --config " + i.unit.Config + "\"")
	}
	owner, err := i.user(ctx)
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(owner.Uid)
	gid, err2 := strconv.Atoi(owner.Gid)
	if err := errors.Join(err1, err2, i.hooks(), giveTree(i.unit.State, uid, gid)); err != nil {
		return err
	}
	if i.command(ctx, "systemctl", "is-active", "--quiet", setup.UnitName) != nil {
		if err := errors.Join(i.free(), i.check(ctx, uid, gid)); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err == nil {
		if err := i.command(ctx, "systemd-analyze", "verify", "--man=no", "/etc/systemd/system/"+setup.UnitName); err != nil {
			i.talk.warn("%v", err)
		}
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--quiet", setup.UnitName}, {"restart", setup.UnitName}} {
		if err := i.command(ctx, "systemctl", args...); err != nil {
			return err
		}
	}
	return i.settled(ctx)
}

// settled waits a moment, to see that the service stays up.
func (i *installer) settled(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second):
	}
	if err := i.command(ctx, "systemctl", "is-active", "--quiet", setup.UnitName); err != nil {
		return errors.New("the service does not stay up: journalctl -u stagecoach says why")
	}
	i.talk.say("  The service runs. Its log: journalctl -u stagecoach")
	return nil
}

// user makes the user of the service, by systemd-sysusers or useradd.
func (i *installer) user(ctx context.Context) (*user.User, error) {
	if u, err := user.Lookup(setup.UnitUser); err == nil {
		return u, nil
	}
	var err error
	if _, missing := exec.LookPath("systemd-sysusers"); missing == nil {
		err = i.command(ctx, "systemd-sysusers", "/etc/sysusers.d/stagecoach.conf")
	} else {
		err = i.command(ctx, "useradd", "--system", "--user-group", "--home-dir", i.unit.State, "--shell", shell(), "--comment", "Stagecoach mail service", setup.UnitUser)
	}
	if err != nil {
		return nil, err
	}
	return user.Lookup(setup.UnitUser)
}

// check sees, as the user of the service, whether it would start.
func (i *installer) check(ctx context.Context, uid, gid int) error {
	cmd := exec.CommandContext(ctx, i.unit.Program, "serve", "--check", "--config", i.unit.Config)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the configuration is not good yet: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// command runs a program; its error has what the program printed.
func (i *installer) command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// free sees whether somebody else has our ports, as an MTA of the distribution often does.
func (i *installer) free() error {
	c, err := readConfig(i.unit.Config)
	if err != nil {
		return err
	}
	addresses := slices.Concat(c.Verify.Listen, c.Submit.TLSListen, c.Submit.StartTLSListen, c.Autoconfig.Listen, i.config.Zones.Listen)
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			_, port, _ := net.SplitHostPort(address)
			return fmt.Errorf("port %s is taken (%s): another server runs here; \"ss -ltnp sport = :%s\" says which. Stop it, and remove it or disable it", port, address, port)
		case err != nil:
			return fmt.Errorf("%s: %w", address, err)
		}
		l.Close()
	}
	return nil
}

// hooks have a push to the zones checked, and seen at once.
func (i *installer) hooks() error {
	remote := i.config.Zones.Remote
	if info, err := os.Stat(filepath.Join(remote, "HEAD")); err != nil || !info.Mode().IsRegular() {
		return nil // elsewhere, or a checkout
	}
	if text, err := os.ReadFile(filepath.Join(remote, "hooks", "post-receive")); err == nil {
		if !bytes.Contains(text, []byte(hookMark)) {
			i.talk.warn("%s has hooks that are not ours, and stay: \"stagecoach zone hook install\" says more.", remote)
		}
		return nil
	}
	hook := zoneHookInstallCmd{Repo: remote, Program: i.unit.Program, Primary: "127.0.0.1"}
	if len(i.config.Zones.Listen) > 0 && !strings.HasPrefix(i.config.Zones.Listen[0], ":") {
		hook.Primary = i.config.Zones.Listen[0]
	}
	return hook.Run()
}
