package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	our "stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// dialogue prints what a client says to a server that agrees to everything, and sends
// nothing.
func dialogue(ctx context.Context, out io.Writer, name string, m *our.Mail) error {
	if name == "" {
		name = "localhost"
	}
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- agree(theirs, out) }()
	hop := &smtp.NextHop{
		Name: name, Host: "nowhere", MaxIdle: -1, Security: smtp.TLSNone,
		Dial: func(context.Context) (net.Conn, error) { return ours, nil },
	}
	err := hop.Handle(ctx, m)
	hop.Close()  //nolint:errcheck // nobody is at the other end
	ours.Close() //nolint:errcheck
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	return judged(err)
}

// agree is the server's side: it prints the lines of the client, without their CR.
func agree(conn net.Conn, out io.Writer) error {
	defer conn.Close()
	in := bufio.NewReader(conn)
	w := bufio.NewWriter(out)
	reply := "220 nowhere ESMTP"
	data := false
	for {
		if reply != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", reply); err != nil {
				return w.Flush()
			}
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return w.Flush()
		}
		line = strings.TrimRight(line, "\r\n")
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		reply, data = answer(line, data)
	}
}

func answer(line string, data bool) (reply string, still bool) {
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch {
	case data && line != ".":
		return "", true
	case data:
		return "250 2.0.0 taken", false
	case verb == "EHLO":
		return "250-nowhere\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE", false
	case verb == "DATA":
		return "354 go on", true
	case verb == "QUIT":
		return "221 2.0.0 bye", false
	}
	return "250 2.0.0 yes", false
}
