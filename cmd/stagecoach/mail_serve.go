package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	our "stagecoach/mail"
	"stagecoach/rfc/smtp"
)

type mailServeCmd struct {
	Listen   string     `arg:"" optional:"" help:"Where to listen: [IP]:PORT or unix:PATH." default:"0.0.0.0:25" placeholder:"ADDRESS"`
	Output   string     `short:"o" required:"" help:"A new file for one mail, or a folder, with a slash at its end, for many." placeholder:"FILE|DIR/"`
	Format   string     `help:"Names of files in the folder; %s is the time and a number." default:"%s.eml" placeholder:"NAME"`
	Hostname string     `help:"Our name in the greeting." default:"localhost" placeholder:"NAME"`
	Trace    bool       `help:"Keep our own Received field, and say the envelope in Return-Path and Delivered-To."`
	Newline  string     `help:"Line ends to write: ${enum}." enum:"crlf,lf" default:"crlf"`
	TLS      tlsOptions `embed:""`
	Quiet    bool       `short:"q" help:"Do not say what comes in."`
}

// Help shows examples.
func (mailServeCmd) Help() string {
	return `Takes every mail for everybody and keeps it, byte for byte as it came. With a file it ends after one mail, with a folder
when it is interrupted. A line on standard error says where it listens, one on standard output who sent what to whom.
STARTTLS is offered, with a certificate of its own unless one is given.

Examples:

  stagecoach mail serve 127.0.0.1:2525 -o new.eml
  stagecoach mail serve 127.0.0.1:2525 -o inbox/`
}

// Run receives.
func (c mailServeCmd) Run(ctx context.Context) error {
	cert, err := loadCertificate(c.TLS.Certificate, c.TLS.Key, c.Hostname)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	network, address := "tcp", c.Listen
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listening on %s\n", l.Addr())
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	box := &inbox{cmd: c, stop: stop}
	s := &smtp.Server{Name: c.Hostname, TLS: cert.Config(), Next: box, Grace: time.Second, Log: slog.New(slog.DiscardHandler)}
	if err := s.Serve(ctx, l); err != nil {
		return err
	}
	if !c.many() && box.count == 0 {
		return errors.New("interrupted before a mail came")
	}
	return nil
}

func (c mailServeCmd) many() bool { return strings.HasSuffix(c.Output, "/") }

func (c mailServeCmd) check() error {
	if c.many() {
		if strings.Count(c.Format, "%s") != 1 || strings.ContainsRune(c.Format, '/') {
			return fmt.Errorf("--format %q: write %%s once, and no slash", c.Format)
		}
		return os.MkdirAll(c.Output, 0o755)
	}
	if _, err := os.Lstat(c.Output); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is such a file already, or its folder cannot be read", c.Output)
	}
	return nil
}

// An inbox keeps what comes.
type inbox struct {
	cmd   mailServeCmd
	stop  func()
	mu    sync.Mutex
	count int
}

// Handle writes the mail. The reply says that it is on disk.
func (b *inbox) Handle(_ context.Context, m *our.Mail) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cmd.many() && b.count > 0 {
		return our.Defer(451, "4.3.2", "one mail was all")
	}
	name := b.cmd.Output
	if b.cmd.many() {
		stamp := fmt.Sprintf("%s-%06d", time.Now().UTC().Format("20060102T150405"), b.count)
		name = filepath.Join(name, strings.Replace(b.cmd.Format, "%s", stamp, 1))
	}
	if err := writeNew(name, b.cmd.text(m)); err != nil {
		return err
	}
	b.count++
	if !b.cmd.Quiet {
		var to []string
		for _, r := range m.Envelope.To {
			to = append(to, "<"+r.String()+">")
		}
		fmt.Printf("%s: <%s> to %s, %d octets\n", name, m.Envelope.From, strings.Join(to, " "), m.Message.Size())
	}
	if !b.cmd.many() {
		b.stop()
	}
	return nil
}

func (c mailServeCmd) text(m *our.Mail) []byte {
	if c.Trace {
		m.Message.Header.Prepend(our.NewField("Return-Path", "<"+m.Envelope.From.String()+">"))
		for _, r := range m.Envelope.To {
			m.Message.Header.Prepend(our.NewField("Delivered-To", r.String()))
		}
	} else {
		ours := true
		m.Message.Header.Strike(func(f our.Field) bool {
			strike := ours && f.Is("Received") // the topmost is what our server added
			ours = ours && !strike
			return strike
		})
	}
	raw := []byte(m.Message.String())
	if c.Newline == "lf" {
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	}
	return raw
}
