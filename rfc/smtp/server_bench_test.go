package smtp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"stagecoach/mail"
)

// BenchmarkServer receives mails of 4 kB, on as many connections as there are processors.
func BenchmarkServer(b *testing.B) {
	text := "From: joe@far.example\r\nTo: ann@us.example\r\nSubject: hello\r\nMessage-ID: <1@far.example>\r\n\r\n" +
		strings.Repeat(strings.Repeat("x", 76)+"\r\n", 51)
	for name, dialogue := range map[string][]string{
		"DATA": {begun + "DATA\r\n", text + ".\r\n"},
		"BDAT": {begun + fmt.Sprintf("BDAT %d LAST\r\n", len(text)) + text},
	} {
		b.Run(name, func(b *testing.B) {
			next := mail.HandlerFunc(func(context.Context, *mail.Mail) error { return nil })
			addr := serve(b, &Server{Next: next, Limits: Limits{PerAddress: -1, Rate: -1}})
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				if err := sendMany(addr, dialogue, pb.Next); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func sendMany(addr string, dialogue []string, next func() bool) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	fmt.Fprint(c, hi)
	for range 2 {
		if _, err := readReply(r); err != nil {
			return err
		}
	}
	for next() {
		for i, part := range dialogue {
			if _, err := c.Write([]byte(part)); err != nil {
				return err
			}
			for n := 3 - 2*i; n > 0; n-- {
				if got, err := readReply(r); err != nil || got.code > 399 {
					return fmt.Errorf("%+v, %w", got, err)
				}
			}
		}
	}
	return nil
}
