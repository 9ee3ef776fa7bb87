package articles

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"stagecoach/lab"
)

// What the articles' domain is, and where it lives.
const domain, public = "x25519.net", "76.8.60.93"

// internet runs the world outside when it has no words, and else hands them to the one that
// runs; they meet at a socket in the folder.
func internet(folder string, words []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	socket := filepath.Join(folder, "internet.sock")
	if len(words) > 0 {
		return ask(socket, words)
	}
	l, err := lab.Start(ctx, lab.Config{
		Block: netip.MustParsePrefix("198.51.100.0/24"), Beyond: netip.MustParsePrefix("0.0.0.0/0"), SMTPPort: 25, DNSPort: 53,
	})
	if err != nil {
		return err
	}
	defer l.Close()
	w, err := furnish(l, folder)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	for {
		c, err := listener.Accept()
		if err != nil {
			return nil
		}
		go w.serve(ctx, c)
	}
}

type outside struct{ *lab.Lab }

// furnish writes what the walk needs to know of the world into files.
func furnish(l *lab.Lab, folder string) (outside, error) {
	l.BigMail.AddUser("romain")
	l.Lookout.AddUser("dinosaure")
	l.Correspondent.AddUser("foo")
	acme, err := l.StartACME()
	if err != nil {
		return outside{}, err
	}
	err = errors.Join(
		l.Delegate(domain, "ns1."+domain, netip.MustParseAddr(public)),
		os.WriteFile(filepath.Join(folder, "acme.ca"), l.CA.PEM(), 0o644),
		os.WriteFile(filepath.Join(folder, "acme.root"), acme.Root, 0o644),
		os.WriteFile(filepath.Join(folder, "acme.url"), []byte(acme.Directory), 0o644),
		os.WriteFile(filepath.Join(folder, "root.hint"), []byte(l.Roots()[0].String()), 0o644),
	)
	return outside{l}, err
}

func (w outside) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	out, err := w.do(ctx, strings.Fields(line))
	if err != nil {
		fmt.Fprintf(c, "-%v\n", err)
		return
	}
	fmt.Fprintf(c, "+%s", out)
}

// do does what somebody outside does:
//
//	ptr ADDRESS NAME        the hoster names an address
//	write FROM TO SUBJECT   somebody at the large receiver writes, as when it confirms an address
//	read USER@DOMAIN SUBJECT  somebody reads a mail with a word in its subject
func (w outside) do(ctx context.Context, words []string) (string, error) {
	if len(words) < 3 {
		return "", errors.New("what?")
	}
	switch words[0] {
	case "ptr":
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			return "", err
		}
		return "", w.SetPTR(a, words[2])
	case "write":
		return "", w.BigMail.Send(ctx, lab.Outgoing{From: words[1], To: words[2:3], Subject: strings.Join(words[3:], " "), Text: "Your code is 4711.\n"})
	case "read":
		name, at, _ := strings.Cut(words[1], "@")
		for _, p := range []*lab.Provider{w.BigMail, w.Lookout, w.Correspondent} {
			if u := p.User(name); u != nil && p.Domain == at {
				got, err := u.Inbox.Find(ctx, func(r *lab.Received) bool { return strings.Contains(r.Message().Header.Value("Subject"), words[2]) })
				if err != nil {
					return "", fmt.Errorf("%s has no such mail: %w", words[1], err)
				}
				return fmt.Sprintf("from <%s>, over %s\n%s", got.Envelope.From, got.Peer.Protocol(false), got.Raw), nil
			}
		}
		return "", fmt.Errorf("%s: nobody", words[1])
	}
	return "", errors.New("what?")
}

// ask hands words to the Internet, and prints its answer.
func ask(socket string, words []string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(c, strings.Join(words, " "))
	r := bufio.NewReader(c)
	good, err := r.ReadByte()
	if err != nil {
		return err
	}
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		return err
	}
	if good == '-' {
		return errors.New(strings.TrimSpace(b.String()))
	}
	fmt.Print(strings.ReplaceAll(b.String(), "\r\n", "\n"))
	return nil
}
