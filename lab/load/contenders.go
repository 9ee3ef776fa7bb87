package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// defaultRelay are the arguments of our relay in a comparison.
const defaultRelay = "relay --domain load.example --name relay.load.example --remote {users} --spool {spool} --listen {listen} --route *={sink}"

// startOurs starts our relay with a spool of its own in dir. Its log goes to dir/log.
func startOurs(ctx context.Context, dir string, o *options) (*contender, error) {
	users, spool := filepath.Join(dir, "users"), filepath.Join(dir, "spool")
	for _, d := range []string{users, spool} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(users, "postmaster"), []byte("targets = [\"root@sink.example\"]\n"), 0o600); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	fill := strings.NewReplacer("{listen}", listen, "{sink}", o.sink, "{spool}", spool, "{users}", users)
	var args []string
	for _, a := range strings.Fields(o.relay) { // split first: the folders may have blanks in them
		args = append(args, fill.Replace(a))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(o.binary, args...) //nolint:gosec // the binary is what the user names
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() error {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells
		select {
		case err := <-ended:
			return err
		case <-time.After(15 * time.Second):
			cmd.Process.Kill() //nolint:errcheck // Wait tells
			return errors.Join(errors.New("stagecoach did not stop within 15 s"), <-ended)
		}
	}
	if err := awaitGreeting(ctx, listen); err != nil {
		text, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("%w: %s", err, last(string(text), 1000)), stop())
	}
	return &contender{"stagecoach", listen, cmd.Process.Pid, stop}, nil
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// awaitGreeting returns once a server at the address says 220.
func awaitGreeting(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			var b [3]byte
			c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read tells
			_, err = c.Read(b[:])
			c.Close()
			if err == nil && string(b[:]) == "220" {
				return nil
			}
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("no greeting from %s", address)
		}
	}
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
	stop := func() error { return postfix(context.WithoutCancel(ctx), conf, "stop") }
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

func postfix(ctx context.Context, conf, verb string) error {
	out, err := exec.CommandContext(ctx, "postfix", "-c", conf, verb).CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix %s: %w: %s", verb, err, last(string(out), 1000))
	}
	return nil
}
