package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"stagecoach/tool/check"
)

// checkStyle is colour and symbols on a terminal, plain text elsewhere (no-color.org).
func checkStyle(f *os.File) check.Style {
	if !term.IsTerminal(int(f.Fd())) {
		return check.Style{}
	}
	s := check.Style{Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(os.Getenv(name)); value != "" {
			s.Symbols = strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
			break
		}
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = min(width, 120)
	}
	return s
}

// waiting tells on a terminal what is waited for, and for how long already.
type waiting struct {
	to    *os.File // nil: nobody is told
	mu    sync.Mutex
	names []string
	start time.Time
	stop  chan struct{}
}

func newWaiting(f *os.File) *waiting {
	w := &waiting{start: time.Now(), stop: make(chan struct{})}
	if term.IsTerminal(int(f.Fd())) {
		w.to = f
		go w.tick()
	}
	return w
}

func (w *waiting) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-t.C:
			w.mu.Lock()
			w.draw()
			w.mu.Unlock()
		}
	}
}

func (w *waiting) say(names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = names
	w.draw()
}

// draw writes over the line of before.
func (w *waiting) draw() {
	if w.to == nil || len(w.names) == 0 {
		return
	}
	text := fmt.Sprintf("%2.0f s, waiting for %d: %s", time.Since(w.start).Seconds(), len(w.names), strings.Join(w.names, " "))
	if width, _, err := term.GetSize(int(w.to.Fd())); err == nil && len(text) >= width {
		text = text[:max(width-1, 0)]
	}
	fmt.Fprintf(w.to, "\r\x1b[K%s", text)
}

// clear takes the line away. It is called once.
func (w *waiting) clear() {
	close(w.stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = nil
	if w.to != nil {
		fmt.Fprint(w.to, "\r\x1b[K")
	}
}

// sourceTo returns the address from which this machine would reach another. Nothing is sent.
func sourceTo(ip netip.Addr) (netip.Addr, error) {
	conn, err := net.Dial("udp", netip.AddrPortFrom(ip, 53).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return from.Addr(), err
}
