package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	gosmtp "net/smtp"
	"net/textproto"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// local admits mail for one domain.
type local string

func (l local) Admit(_ context.Context, _ *mail.Mail, to mail.Address) error {
	if to.Domain() != string(l) {
		return mail.Reject(550, "5.7.1", "we do not relay")
	}
	return nil
}

func ExampleServer() {
	taken := make(chan string, 1)
	server := &smtp.Server{
		Name: "mx.example.org",
		Gate: local("example.org"),
		Next: mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
			taken <- fmt.Sprintf("%v to %v: %s", m.Envelope.From, m.Envelope.To[0], m.Message.Header.Value("Subject"))
			return nil
		}),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, listener) }()

	message := []byte("Subject: hello\r\n\r\nHow are you?\r\n")
	err = gosmtp.SendMail(listener.Addr().String(), nil, "joe@example.com", []string{"ann@example.org"}, message)
	fmt.Println(<-taken, err)
	err = gosmtp.SendMail(listener.Addr().String(), nil, "joe@example.com", []string{"eve@example.net"}, message)
	if refusal := (*textproto.Error)(nil); errors.As(err, &refusal) {
		fmt.Println(refusal.Code, refusal.Msg)
	}

	cancel()
	fmt.Println(<-done)
	// Output:
	// joe@example.com to ann@example.org: hello <nil>
	// 550 5.7.1 we do not relay
	// <nil>
}
