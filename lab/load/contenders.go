package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// defaultRelay are the arguments of our relay in a comparison.
const defaultRelay = "relay --domain load.example --name relay.load.example --remote {users} --spool {spool} --listen {listen} --route *={sink}"

// A relay is our program with a folder, a port and a log of its own, over many lives.
type relay struct {
	binary string
	args   []string
	listen string
	log    string
	life   *life
}

// A life is one run of a program.
type life struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed at its end, when err is set
	err   error
}

// newRelay lays out dir for a relay that hands all mail to the sink.
func newRelay(dir string, o *options) (*relay, error) {
	users, spool := filepath.Join(dir, "users"), filepath.Join(dir, "spool")
	for _, d := range []string{users, spool} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(users, "postmaster"), []byte(`{"targets":["root@sink.example"]}`), 0o600); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &relay{binary: o.binary, listen: fmt.Sprintf("127.0.0.1:%d", port), log: filepath.Join(dir, "log")}
	fill := strings.NewReplacer("{listen}", r.listen, "{sink}", o.sink, "{spool}", spool, "{users}", users)
	for _, a := range strings.Fields(o.relay) { // split first: the folders may have blanks in them
		r.args = append(r.args, fill.Replace(a))
	}
	return r, nil
}

// start starts the program, and returns when it greets.
func (r *relay) start(ctx context.Context) error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	v := &life{cmd: exec.Command(r.binary, r.args...), ended: make(chan struct{})} //nolint:gosec // the binary is what the user names
	v.cmd.Stdout, v.cmd.Stderr = log, log
	if err := v.cmd.Start(); err != nil {
		return err
	}
	go func() {
		v.err = v.cmd.Wait()
		close(v.ended)
	}()
	r.life = v
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-v.ended: // before it has greeted: it is of no use to wait on
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := awaitGreeting(ctx, r.listen); err != nil {
		stopped := r.stop()
		text, _ := os.ReadFile(r.log)
		return fmt.Errorf("%w: %s", errors.Join(err, stopped), last(string(text), 1000))
	}
	return nil
}

// stop asks the program to end, and waits.
func (r *relay) stop() error {
	r.life.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells
	select {
	case <-r.life.ended:
		return r.life.err
	case <-time.After(15 * time.Second):
		r.kill()
		return errors.New("stagecoach did not stop within 15 s")
	}
}

// kill ends the program as a crash would (SIGKILL), and waits for its end.
func (r *relay) kill() {
	r.life.cmd.Process.Kill() //nolint:errcheck // Wait tells
	<-r.life.ended
}

// startOurs starts our relay for a comparison.
func startOurs(ctx context.Context, dir string, o *options) (*contender, error) {
	r, err := newRelay(dir, o)
	if err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	return &contender{"stagecoach", r.listen, r.life.cmd.Process.Pid, r.stop}, nil
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
