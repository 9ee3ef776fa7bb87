package main

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"stagecoach/lab"
)

// injections are octets that end a line, or do something to a terminal that shows a log.
var injections = map[string]string{
	"CR LF":          "\r\nInjected: yes\r\ntime=injected",
	"CR":             "\rInjected: yes",
	"LF":             "\nInjected: yes\ntime=injected",
	"LF and a space": "\n Injected: yes",
	"NUL":            "\x00Injected: yes",
	"ESC":            "\x1b[2JInjected: yes",
	"DEL":            "\x7fInjected",
	"8-bit":          "\x80\x9b\xffInjected",
	"NEL":            "\u0085Injected: yes",
	"line separator": "\u2028Injected: yes",
	"direction":      "\u202eInjected",
	"comment":        ") by us.example; Injected (",
	"quotes":         `" level=ERROR msg="Injected`,
	"long":           strings.Repeat("Injected ", 40),
}

// S13: whatever octets a client says, a log line stays one line, and a header field one field.
func TestNothingIsInjected(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	w.cheapLogin(t, annsMailbox+"@"+lab.BigMailDomain)
	_, log := serveProcess(t, w, func(c *config) { c.Log.Level, c.Verify.GreetDelay, c.Submit.ShowClient = "debug", 0, true })
	var all sync.WaitGroup
	var sent, n atomic.Int32
	for name, evil := range injections {
		all.Go(func() {
			err := w.inject(name, evil, func(address string) (*attacker, error) {
				var config *tls.Config
				if address == w.at(465) {
					config = w.clientTLS()
				}
				a, greeting, err := attack(t.Context(), stranger(int(n.Add(1))), address, config)
				if err == nil && greeting.code != 220 {
					err = errors.New(greeting.text)
				}
				return a, err
			})
			switch {
			case err == nil:
				sent.Add(1)
			case !errors.Is(err, errNoHello):
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	got, err := w.Lookout.User("bob").Wait(soon(t), int(sent.Load()))
	if err != nil || sent.Load() < 4 {
		t.Fatalf("%d mails, %v", sent.Load(), err)
	}
	for _, r := range got {
		for f := range r.Message().Header.All() {
			if strings.HasPrefix(f.Name(), "Injected") || f.Is("time=injected") {
				t.Errorf("a field was injected: %q", f.Raw())
			}
		}
		for f := range r.Message().Header.Fields("Received") {
			if strings.ContainsFunc(strings.NewReplacer("\r\n\t", " ", "\r\n", "").Replace(f.Raw()), isHostile) || strings.Contains(f.Raw(), "(x)") {
				t.Errorf("Received: %q", f.Raw())
			}
		}
	}
	checkLog(t, log.String())
}

var errNoHello = errors.New("no client may call itself so")

// inject says an injection wherever a client may say something. The last is a mail of Ann's,
// which arrives when the error is nil.
func (w *world) inject(name, evil string, connect func(string) (*attacker, error)) error {
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	word := strings.NewReplacer("\r", "", "\n", "", " ", "_").Replace(evil)
	for _, c := range [][]string{
		{w.mx(), "EHLO x" + evil},
		{w.mx(), "EHLO siege.example", "MAIL FROM:<x@plain.example>" + evil},
		{w.mx(), "EHLO siege.example", "MAIL FROM:<x" + evil + "@plain.example> SMTPUTF8"},
		{w.mx(), "HELO x" + word, "MAIL FROM:<>", "RCPT TO:<\"x" + evil + "\"@" + w.domain + ">"},
		{w.mx(), "EHLO siege.example", "MAIL FROM:<> SMTPUTF8", "RCPT TO:<nobody@" + w.domain + "> ORCPT=rfc822;x" + evil},
		{w.mx(), "EHLO siege.example", "XINJECT" + evil},
		{w.at(465), "EHLO siege.example", "AUTH PLAIN " + encoded("\x00ann"+evil+"\x00wrong")},
		{w.at(465), "EHLO siege.example", "AUTH PLAIN " + encoded("\x00ann"+evil+"@"+w.domain+"\x00"+w.password)},
	} {
		a, err := connect(c[0])
		if err != nil {
			return err
		}
		a.all(c[1:]...)
		a.close()
	}
	a, err := connect(w.at(465))
	if err != nil {
		return err
	}
	defer a.close()
	if r := a.say("EHLO x" + word); r.code != 250 {
		return errNoHello
	}
	if r := a.all(plainAuth("ann@"+w.domain, w.password), "MAIL FROM:<ann@"+w.domain+">", "RCPT TO:<bob@lookout.example>", "DATA",
		plain("ann@"+w.domain, "bob@lookout.example", name)+"."); r.code != 250 {
		return errors.New(r.text)
	}
	return nil
}

// A line of the log begins with a time, and is attributes whose values are quoted where need be.
var logLine = regexp.MustCompile(`^time=20\d\d-\S+ level=(DEBUG|INFO|WARN|ERROR) msg=("(\\.|[^"\\])*"|[^" ]+)( [a-z_A-Z]+=("(\\.|[^"\\])*"|[^" =]*))*$`)

func checkLog(t *testing.T, log string) {
	t.Helper()
	lines := 0
	for line := range strings.Lines(log) {
		lines++
		line = strings.TrimSuffix(line, "\n")
		if !logLine.MatchString(line) || strings.ContainsFunc(line, isHostile) || !utf8.ValidString(line) {
			t.Errorf("log: %q", line)
		}
		if len(line) > 4000 {
			t.Errorf("a log line of %d octets: %.200q", len(line), line)
		}
	}
	if lines < 50 || !strings.Contains(log, "Injected") {
		t.Errorf("only %d lines, or nothing of the attack stands in the log", lines)
	}
}

// isHostile reports whether a character does something to a terminal, or ends a line for some reader.
func isHostile(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}
