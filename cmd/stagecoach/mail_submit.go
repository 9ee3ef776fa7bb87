package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	our "stagecoach/mail"
	"stagecoach/rfc/smtp"
)

type mailSubmit struct {
	mailGiven       `embed:""`
	Server          string `arg:"" help:"HOST or IP: port 465, and 587 with STARTTLS where nobody answers there; HOST:PORT: that port, with TLS from the start unless it is 587 or 25; - prints the dialogue and sends nothing." placeholder:"SERVER"`
	envelopeOptions `embed:""`
	User            string `short:"u" help:"Name to log in with (default: the sender's local part). Most services want the whole address." placeholder:"NAME"`
	Password        string `short:"p" help:"Where the password is: @FILE, fd:N, or - for the first line of standard input (default: the terminal asks). It is never given itself." placeholder:"WHERE"`
	ServerName      string `help:"Name in the server's certificate (default: SERVER)." placeholder:"NAME"`
	CA              string `name:"ca" help:"PEM file of the authorities to trust, in place of the system's." placeholder:"FILE"`
}

// Help shows examples.
func (mailSubmit) Help() string {
	return `Nothing is sent, and no password said, unless the certificate is good for the server's name.
Exit status: 0 sent, 2 refused for good, 75 try again later, 1 other trouble.

Examples:

  stagecoach mail submit -p @password -u ann@example.org -r bob@example.net hello.eml smtp.example.org
  stagecoach mail make --from ann@example.org --to bob@example.net body.txt | stagecoach mail submit - smtp.example.org`
}

// Run hands the mail in.
func (c mailSubmit) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	m, err := c.mail(l)
	if err != nil {
		return err
	}
	if c.Server == "-" {
		return dialogue(ctx, os.Stdout, c.name(), m)
	}
	hops, err := c.hops(m)
	if err != nil {
		return err
	}
	for i, hop := range hops {
		err = hop.Handle(ctx, m.Clone())
		hop.Close() //nolint:errcheck // the mail is sent, or not
		if i+1 == len(hops) || !unreachable(err) {
			break
		}
	}
	if err == nil {
		for _, to := range m.Envelope.To {
			fmt.Printf("%s: submitted\n", to.Address)
		}
	}
	return judged(err)
}

func unreachable(err error) bool {
	var at *smtp.HopError
	return errors.As(err, &at) && at.Step == "connect"
}

// hops returns the servers to try in turn.
func (c mailSubmit) hops(m *our.Mail) ([]*smtp.NextHop, error) {
	config, err := c.trust()
	if err != nil {
		return nil, err
	}
	user := c.User
	if user == "" {
		user = m.Envelope.From.Local()
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	host, ports := strings.Trim(c.Server, "[]"), []string{"465", "587"}
	if h, port, err := net.SplitHostPort(c.Server); err == nil {
		host, ports = h, []string{port}
	}
	var hops []*smtp.NextHop
	for _, port := range ports {
		security := smtp.TLSImplicit
		if port == "587" || port == "25" {
			security = smtp.TLSRequired
		}
		dial, err := dialer(net.JoinHostPort(host, port))
		if err != nil {
			return nil, err
		}
		hops = append(hops, &smtp.NextHop{
			Name: c.name(), Host: host, Dial: dial, Security: security, TLS: config, MaxIdle: -1,
			Login: smtp.Password{User: user, Password: password}, Timeouts: smtp.Timeouts{Connect: 10 * time.Second},
		})
	}
	return hops, nil
}

func (c mailSubmit) trust() (*tls.Config, error) {
	config := &tls.Config{ServerName: c.ServerName}
	if c.CA == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in PEM", c.CA)
	}
	return config, nil
}

// password finds the password. It does not stand on the command line, where everybody on
// the machine could read it.
func (c mailSubmit) password() (string, error) {
	where := c.Password
	switch {
	case where == "":
		return askPassword()
	case strings.HasPrefix(where, "@"):
		text, err := readPrivate(where[1:])
		if err != nil {
			return "", err
		}
		return firstLine(strings.NewReader(string(text)), where)
	case where == "-":
		if c.Mail == "-" {
			return "", errors.New("the mail and the password cannot both come from standard input: use @FILE or fd:N")
		}
		return firstLine(os.Stdin, "standard input")
	case strings.HasPrefix(where, "fd:"):
		n, err := strconv.Atoi(where[3:])
		if err != nil || n < 0 || n == 0 && c.Mail == "-" {
			return "", errors.New("--password fd:N: N is the number of an open file that is not the mail")
		}
		f := os.NewFile(uintptr(n), "password")
		if f == nil {
			return "", errors.New("--password: there is no such open file")
		}
		defer f.Close()
		return firstLine(f, "the password file")
	}
	return "", errors.New("--password: the password itself is not taken here, where every user of this machine can read it; write @FILE, fd:N or -, or leave the flag out to be asked")
}

func firstLine(r io.Reader, name string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line != "" {
		return line, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("no password in its first line")
	}
	return "", fmt.Errorf("%s: %w", name, err)
}

// askPassword asks on the terminal, since standard input may be the mail.
func askPassword() (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("no terminal to ask for the password on: give --password @FILE, fd:N or -")
	}
	defer tty.Close()
	fmt.Fprint(tty, "Password: ")
	b, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err == nil && len(b) == 0 {
		err = errors.New("the password is empty")
	}
	return string(b), err
}
