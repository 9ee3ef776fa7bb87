package resolver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// maxOrder is the longest line that a control socket takes, and orderTime how long an order may
// take.
const (
	maxOrder  = 2048
	orderTime = time.Minute
)

// ServeControl takes orders on a local socket, one line a connection, and writes what came of
// it: "stats", "dump", "flush NAME [below]", "query NAME TYPE", "untrust ZONE TIME", "trust ZONE"
// and "untrusted". Who may connect is the listener's concern. It returns when ctx ends.
func (r *Resolver) ServeControl(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var work sync.WaitGroup
	defer work.Wait()
	busy := make(chan struct{}, 8)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		busy <- struct{}{}
		work.Go(func() {
			defer func() { <-busy }()
			defer c.Close()
			c.SetDeadline(time.Now().Add(orderTime)) //nolint:errcheck // it is open
			line, err := bufio.NewReader(io.LimitReader(c, maxOrder)).ReadString('\n')
			if err != nil {
				return
			}
			w := bufio.NewWriter(c)
			if err := r.obey(ctx, w, strings.Fields(line)); err != nil {
				fmt.Fprintf(w, "error: %v\n", err)
			}
			w.Flush() //nolint:errcheck // the client is gone
		})
	}
}

func (r *Resolver) obey(ctx context.Context, w io.Writer, words []string) error {
	switch {
	case len(words) == 1 && words[0] == "stats":
		_, err := io.WriteString(w, r.Stats().String())
		return err
	case len(words) == 1 && words[0] == "dump":
		return r.Dump(w)
	case (len(words) == 2 || len(words) == 3 && words[2] == "below") && words[0] == "flush":
		if !dns.IsName(words[1]) {
			return fmt.Errorf("%q is no name", words[1])
		}
		_, err := fmt.Fprintf(w, "%d answers forgotten\n", r.Flush(words[1], len(words) == 3))
		return err
	case len(words) == 3 && words[0] == "untrust":
		d, err := time.ParseDuration(words[2])
		if err != nil {
			return err
		}
		return r.Untrust(words[1], d)
	case len(words) == 2 && words[0] == "trust":
		if !r.Trust(words[1]) {
			return fmt.Errorf("%s is under no negative trust anchor that was set by order", words[1])
		}
		return nil
	case len(words) == 1 && words[0] == "untrusted":
		return r.writeUntrusted(w)
	case len(words) == 3 && words[0] == "query":
		e, err := r.explainName(ctx, words[1], words[2])
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, e.String())
		return err
	}
	return errors.New("want stats, dump, flush NAME [below], query NAME TYPE, untrust ZONE TIME, trust ZONE or untrusted")
}

func (r *Resolver) explainName(ctx context.Context, name, typ string) (*Explanation, error) {
	t, ok := dns.ParseType(typ)
	if !ok || !dns.IsName(name) {
		return nil, fmt.Errorf("%q %q is no name and type", name, typ)
	}
	return r.Explain(ctx, dns.NewQuery(name, t))
}

// Order sends one order to the control socket of a running resolver, and copies what it says
// to w.
func Order(ctx context.Context, socket string, w io.Writer, words ...string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("no resolver takes orders: %w", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := fmt.Fprintln(c, strings.Join(words, " ")); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	if head, _ := in.Peek(7); string(head) == "error: " {
		text, err := io.ReadAll(io.LimitReader(in, maxOrder))
		return errors.Join(errors.New(strings.TrimSpace(strings.TrimPrefix(string(text), "error: "))), err)
	}
	_, err = io.Copy(w, in)
	return err
}

// All returns the statistics by name.
func (s Stats) All() map[string]float64 {
	out := map[string]float64{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if f := v.Field(i); f.CanUint() {
			out[name] = float64(f.Uint())
		} else {
			out[name] = float64(f.Int())
		}
	}
	return out
}

// String writes the statistics, a line each.
func (s Stats) String() string {
	var b strings.Builder
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		fmt.Fprintf(&b, "%-16s%d\n", v.Type().Field(i).Name, v.Field(i).Interface())
	}
	return b.String()
}
