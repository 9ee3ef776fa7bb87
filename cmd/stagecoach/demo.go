package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
)

type demoCmd struct {
	Once bool `help:"Do one round of mail each way, and exit with 0 if all went well."`
}

// Help says what happens.
func (demoCmd) Help() string {
	return `Nothing leaves this machine and nothing needs root: name servers, two big receivers and a
correspondent run on loopback addresses, and the service runs among them. Everything is in a
temporary folder, which is removed at the end.

Examples:

  stagecoach demo           show a mail each way, then stay up and say how to send more
  stagecoach demo --once    show a mail each way, and exit with 0 if all went well`
}

// Run runs the demo until ctx ends, or for one round.
func (c demoCmd) Run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "stagecoach-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	w, err := newWorld(ctx, folder, true)
	if err != nil {
		return err
	}
	defer w.Close()
	cfg, err := w.config()
	if err != nil {
		return err
	}
	p, err := newProcess(ctx, runOptions{Log: cfg.Log})
	if err != nil {
		return err
	}
	if err := serve(p, cfg); err != nil {
		return p.abort(err)
	}
	out := os.Stdout
	fmt.Fprintf(out, "The service for %s runs on %s, in a small Internet on loopback.\n", w.domain, w.address)
	if err := w.naming(ctx, out); err != nil {
		return p.abort(err)
	}
	if err := w.rounds(ctx, out); err != nil {
		return p.abort(err)
	}
	if c.Once {
		return p.shutdown()
	}
	w.explain(out)
	p.behind("watch", func(ctx context.Context) error { w.watch(ctx, out); return nil })
	return p.wait()
}

// rounds sends a mail each way and shows what arrived.
func (w *world) rounds(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	start := time.Now()
	fmt.Fprintf(out, "\n1. Ann submits a mail to bob@%s, over TLS and with her password.\n", lab.LookoutDomain)
	got, err := w.out(ctx)
	if err != nil {
		return fmt.Errorf("on the way out: %w", err)
	}
	fmt.Fprintf(out, "   It arrived after %v. Lookout, which has the rules of Outlook, found:\n", time.Since(start).Round(time.Millisecond))
	show(out, got, "Authentication-Results", "DKIM-Signature")

	start = time.Now()
	fmt.Fprintf(out, "\n2. Carol at %s writes to ann@%s, who reads her mail at %s.\n", lab.CorrespondentDomain, w.domain, lab.BigMailDomain)
	got, err = w.in(ctx)
	if err != nil {
		return fmt.Errorf("on the way in: %w", err)
	}
	fmt.Fprintf(out, "   It was verified, labelled and forwarded, and arrived after %v. Its envelope sender is now\n     %s\n   so that a bounce finds its way back. Bigmail, which has the rules of Gmail, found first, and we before:\n",
		time.Since(start).Round(time.Millisecond), got.Envelope.From)
	show(out, got, "Authentication-Results", "X-Spamtacus")
	if err := w.filtering(ctx, out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nBoth ways work.")
	return nil
}

// show prints some header fields, at most eight lines of each.
func show(out io.Writer, got *lab.Received, names ...string) {
	m := got.Message()
	for f := range m.Header.All() {
		for _, name := range names {
			if f.Is(name) {
				showField(out, f)
			}
		}
	}
}

func showField(out io.Writer, f mail.Field) {
	lines := strings.Split(strings.TrimRight(f.Raw(), "\r\n"), "\r\n")
	for i, line := range lines {
		if i == 8 && len(lines) > 9 {
			fmt.Fprintf(out, "     | \t… (%d more lines)\n", len(lines)-i)
			return
		}
		fmt.Fprintf(out, "     | %s\n", line)
	}
}

// explain tells how to send more mail.
func (w *world) explain(out io.Writer) {
	fmt.Fprintf(out, `
The service stays up; end it with Ctrl-C. To send more, from another terminal:

  Ann's password:  %[1]s   (in %[2]s)
  with swaks:
    swaks --server %[3]s --tls-on-connect --auth PLAIN --auth-user ann@%[4]s \
      --auth-password "$(cat %[2]s)" --from ann@%[4]s --to bob@%[5]s
  with a mail program: server %[6]s, port %[7]d (TLS) or %[8]d (STARTTLS), user ann@%[4]s;
    the certificate's root is %[9]s
  as somebody who only says that she is Carol, and is refused, as Carol's domain asks for (DMARC, p=reject):
    swaks --server %[10]s --from carol@%[11]s --to ann@%[4]s

Mail that arrives at the receivers is shown here.

`, w.password, w.path("password"), w.at(465), w.domain, lab.LookoutDomain, w.address, 4465, 4587, w.path("ca.pem"),
		w.mx(), lab.CorrespondentDomain)
}

// watch prints a line for every mail that arrives.
func (w *world) watch(ctx context.Context, out io.Writer) {
	boxes := map[string]*lab.Inbox{
		"ann.archer@" + lab.BigMailDomain:  w.BigMail.User("ann.archer").Inbox,
		"bob@" + lab.LookoutDomain:         w.Lookout.User("bob").Inbox,
		"carol@" + lab.CorrespondentDomain: w.Correspondent.User("carol").Inbox,
	}
	for name, box := range boxes {
		go func() {
			for seen := len(box.Mails()); ; {
				got, err := box.Wait(ctx, seen+1)
				if err != nil {
					return
				}
				for _, r := range got[seen:] {
					fmt.Fprintf(out, "%s %s received %q from <%s>: spf=%s dkim=%s dmarc=%s\n", r.At.Format(time.TimeOnly), name,
						r.Message().Header.Value("Subject"), r.Envelope.From, r.Result("spf"), r.Result("dkim"), r.Result("dmarc"))
				}
				seen = len(got)
			}
		}()
	}
	<-ctx.Done()
}
