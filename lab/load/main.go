package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run does what the arguments say, and writes what it measured to out.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseFlags(args, progress)
	if err != nil {
		return err
	}
	switch {
	case o.versus != "":
		return versus(ctx, o, out, progress)
	case o.kills > 0:
		return crash(ctx, o, out, progress)
	case o.target != "":
		r, err := measure(ctx, o)
		if err != nil {
			return err
		}
		return o.write(out, r)
	default:
		r, err := sinkOnly(ctx, o)
		if err != nil {
			return err
		}
		return o.write(out, r)
	}
}

// A printer can be shown to people as well as to programs.
type printer interface{ print(io.Writer) }

func (o *options) write(out io.Writer, r printer) error {
	if !o.json {
		r.print(out)
		return nil
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
