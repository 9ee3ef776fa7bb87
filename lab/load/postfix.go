package main

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

// mainCF is main.cf of the instance. smtpd_* and smtp_* limits, in_flow_delay, concurrency and
// the syncing of the queue are Postfix's defaults; TLS is off, as the load does not use it.
const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = %[2]s
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.load.example
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:%[3]s
default_process_limit = %[4]d
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`

// masterCF is Debian's master.cf without chroot, and without what only takes local mail.
const masterCF = `127.0.0.1:%d inet n - n - - smtpd
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

func writePostfixConfig(ctx context.Context, dir, sink string, port, processes int) error {
	for _, d := range []string{"", "conf", "queue", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
		return err
	}
	daemons, err := exec.CommandContext(ctx, "postconf", "-dhx", "daemon_directory").Output()
	if err != nil {
		return fmt.Errorf("postconf: %w", err)
	}
	_, sinkPort, _ := strings.Cut(sink, ":")
	main := fmt.Sprintf(mainCF, dir, strings.TrimSpace(string(daemons)), sinkPort, processes)
	if err := os.WriteFile(filepath.Join(dir, "conf", "main.cf"), []byte(main), 0o644); err != nil { //nolint:gosec // Postfix's users read it
		return err
	}
	return os.WriteFile(filepath.Join(dir, "conf", "master.cf"), fmt.Appendf(nil, masterCF, port), 0o644) //nolint:gosec // likewise
}

// startPostfix starts an instance of Postfix with its own configuration, queue and port. All
// settings that bear on speed or safety are Postfix's own, but default_process_limit.
func startPostfix(ctx context.Context, dir, sink string, processes int) (*contender, error) {
	if _, err := exec.LookPath("postfix"); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	conf, queue := filepath.Join(dir, "conf"), filepath.Join(dir, "queue")
	if err := writePostfixConfig(ctx, dir, sink, port, processes); err != nil {
		return nil, err
	}
	if err := postfix(ctx, conf, "start"); err != nil {
		return nil, err
	}
	stop := func() error { return stopPostfix(context.WithoutCancel(ctx), conf, listen) }
	if err := awaitGreeting(ctx, listen); err != nil {
		return nil, errors.Join(err, stop())
	}
	text, err := os.ReadFile(filepath.Join(queue, "pid", "master.pid"))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &contender{"postfix", listen, pid, stop}, nil
}

// stopPostfix ends the instance at once: nobody wants its queue any more. It returns when
// nothing listens.
func stopPostfix(ctx context.Context, conf, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := postfix(ctx, conf, "abort"); err != nil {
		return err
	}
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", listen)
		if err != nil && ctx.Err() == nil {
			return nil
		}
		if err == nil {
			c.Close()
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("postfix still listens on %s", listen)
		}
	}
}

func postfix(ctx context.Context, conf, verb string) error {
	out, err := exec.CommandContext(ctx, "postfix", "-c", conf, verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix %s: %w: %s", verb, err, last(string(out), 1000))
	}
	return nil
}
