// Package postfix runs instances of Postfix beside the machine's own, for tests and for
// comparisons: each has a configuration, a queue and a port of its own. It needs root, and
// Linux with Postfix installed.
package postfix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// base is what every instance has in main.cf. All that bears on speed or safety is left at
// Postfix's defaults.
const base = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = %[2]s
mail_owner = postfix
setgid_group = postdrop
mydestination =
local_recipient_maps =
alias_maps =
inet_protocols = ipv4
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`

// masterCF is Debian's master.cf without chroot.
const masterCF = `%s inet n - n - - smtpd
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
local     unix  - n n -     - local
virtual   unix  - n n -     - virtual
lmtp      unix  - - n -     - lmtp
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
`

// An Instance is a running Postfix.
type Instance struct {
	Listen string // where its smtpd listens, as HOST:PORT
	Dir    string // its folder: conf, queue, data, mail (for mailboxes of its own user), log
	PID    int    // of its master
}

// UID returns the number of Postfix's user, who owns Dir/mail.
func UID() (int, error) {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(owner.Uid)
}

// Start starts an instance in dir, which is made, with more lines of main.cf. The port is a
// free one on host, an IPv4 address. It returns when the greeting has been heard.
func Start(ctx context.Context, dir, host, settings string) (*Instance, error) {
	if _, err := exec.LookPath("postfix"); err != nil {
		return nil, err
	}
	listen, err := freeAddress(host)
	if err != nil {
		return nil, err
	}
	i := &Instance{Listen: listen, Dir: dir}
	if err := i.configure(ctx, host, settings); err != nil {
		return nil, fmt.Errorf("postfix: %w", err)
	}
	if err := i.run(ctx, "start"); err != nil {
		return nil, err
	}
	if err := i.await(ctx); err != nil {
		return nil, errors.Join(err, i.Stop(context.WithoutCancel(ctx)))
	}
	return i, nil
}

func freeAddress(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// configure makes the folders, which other users than root must reach, and the files.
func (i *Instance) configure(ctx context.Context, host, settings string) error {
	for _, d := range []string{"", "conf", "queue", "data", "mail"} {
		d = filepath.Join(i.Dir, d)
		if err := os.MkdirAll(d, 0o755); err != nil { //nolint:gosec // Postfix's users read it
			return err
		}
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // likewise
			return err
		}
	}
	uid, err := UID()
	if err != nil {
		return err
	}
	for _, d := range []string{"data", "mail"} {
		if err := os.Chown(filepath.Join(i.Dir, d), uid, -1); err != nil {
			return err
		}
	}
	daemons, err := exec.CommandContext(ctx, "postconf", "-dhx", "daemon_directory").Output()
	if err != nil {
		return fmt.Errorf("postconf: %w", err)
	}
	text := fmt.Sprintf(base, i.Dir, strings.TrimSpace(string(daemons))) + "inet_interfaces = " + host + "\n" + settings
	if err := os.WriteFile(filepath.Join(i.Dir, "conf", "main.cf"), []byte(text), 0o644); err != nil { //nolint:gosec // likewise
		return err
	}
	return os.WriteFile(filepath.Join(i.Dir, "conf", "master.cf"), fmt.Appendf(nil, masterCF, i.Listen), 0o644) //nolint:gosec // likewise
}

// await waits for the greeting, and finds the master.
func (i *Instance) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for !i.greets(ctx) {
		if ctx.Err() != nil {
			return fmt.Errorf("postfix says nothing on %s:\n%s", i.Listen, i.Log())
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, err := os.ReadFile(filepath.Join(i.Dir, "queue", "pid", "master.pid"))
	if err != nil {
		return err
	}
	i.PID, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return err
}

func (i *Instance) greets(ctx context.Context) bool {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", i.Listen)
	if err != nil {
		return false
	}
	defer c.Close()
	var b [3]byte
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read tells
	_, err = c.Read(b[:])
	return err == nil && string(b[:]) == "220"
}

// Stop ends the instance at once, whatever is in its queue, and returns when nothing listens.
func (i *Instance) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := i.run(ctx, "abort"); err != nil {
		return err
	}
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", i.Listen)
		if err != nil && ctx.Err() == nil {
			return nil
		}
		if err == nil {
			c.Close()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("postfix still listens on %s", i.Listen)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Log returns what the instance has logged, the last of it.
func (i *Instance) Log() string {
	text, err := os.ReadFile(filepath.Join(i.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-20_000):])
}

func (i *Instance) run(ctx context.Context, verb string) error {
	out, err := exec.CommandContext(ctx, "postfix", "-c", filepath.Join(i.Dir, "conf"), verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix %s: %w: %s\n%s", verb, err, out[max(0, len(out)-1000):], i.Log())
	}
	return nil
}
