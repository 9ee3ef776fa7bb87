package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stagecoach/name/authority"
)

// A name server has a socket by which commands on the same machine ask it: one line goes in, "status"
// or "COMMAND ZONE", one JSON object comes out. Who may write to the socket may command.

// A zoneAnswer is what comes out.
type zoneAnswer struct {
	zoneReport
	DS    []string `json:"ds,omitempty"`    // of the zone that the command was about
	Error string   `json:"error,omitempty"` // why the command was not obeyed
}

// The commands.
const (
	askForStatus = "status"
	askForRoll   = "roll-key"
	askForSeenDS = "ds-seen"
)

// How long somebody may take to ask, and we to answer, which can take a push.
const (
	askingTime    = 5 * time.Second
	answeringTime = 2 * time.Minute
)

// serveControl answers at a socket; no path is no socket. Without it names are served all the same.
func serveControl(p *process, path string, answer func(ctx context.Context, command, zone string) zoneAnswer) {
	if path == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.log.Warn("zone status has no socket", "err", err)
		return
	}
	l, err := listen(p.front, "unix:"+path)
	if err != nil {
		p.log.Warn("zone status has no socket", "err", err)
		return
	}
	p.behind("zone control", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		defer stop()
		var work sync.WaitGroup
		defer work.Wait()
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			work.Go(func() { answerControl(ctx, c, answer) })
		}
	})
}

func answerControl(ctx context.Context, c net.Conn, answer func(context.Context, string, string) zoneAnswer) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it has gone
	defer stop()
	c.SetDeadline(time.Now().Add(askingTime)) //nolint:errcheck // then the read fails
	line, err := bufio.NewReader(io.LimitReader(c, 512)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return
	}
	command, zone, _ := strings.Cut(strings.TrimSpace(line), " ")
	ctx, cancel := context.WithTimeout(ctx, answeringTime)
	defer cancel()
	a := answer(ctx, command, zone)
	c.SetDeadline(time.Now().Add(askingTime)) //nolint:errcheck // then the write fails
	json.NewEncoder(c).Encode(a)              //nolint:errcheck // who asked has gone
}

// askControl asks the name server behind a socket.
func askControl(ctx context.Context, path, line string) (zoneAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, answeringTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return zoneAnswer{}, fmt.Errorf("no name server answers at its socket: %w", err)
	}
	defer c.Close()
	if t, ok := ctx.Deadline(); ok {
		c.SetDeadline(t) //nolint:errcheck // then the read fails
	}
	var a zoneAnswer
	if _, err = fmt.Fprintln(c, line); err == nil {
		err = json.NewDecoder(c).Decode(&a)
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("%s: %w", path, err)
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}

// serveStatus answers for a primary.
func serveStatus(p *process, path string, a *authority.Authority) {
	serveControl(p, path, func(ctx context.Context, command, zone string) (out zoneAnswer) {
		var err error
		switch command {
		case askForStatus, "":
			out.zoneReport = reportOf(a)
			return out
		case askForRoll:
			err = a.RollKSK(ctx, zone)
		case askForSeenDS:
			err = a.SeenDS(ctx, zone)
		default:
			err = fmt.Errorf("%q is no command of a primary", command)
		}
		if err == nil {
			p.log.Info("roll-over by command", "command", command, "zone", zone)
			out.DS, err = a.DS(zone)
		}
		if err != nil {
			out.Error = err.Error()
		}
		return out
	})
}
