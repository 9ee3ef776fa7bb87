package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"stagecoach/lab/traffic"
)

// options are the flags.
type options struct {
	target, sink     string
	load             traffic.Load
	rcpts            int
	size             size
	chunking         string
	passwordFile     string
	drain            time.Duration
	sinkLatency      time.Duration
	idle             int
	pid              int
	ledger           string
	check, json      bool
	versus           string
	binary, relay    string
	postfixProcesses int
	rounds           int
	dir              string
	minAccepted      float64
	minDelivered     float64
	kills            int
	maxDuplicates    int
}

// maxDuration is the longest run: a load that nobody stops stops by itself.
const maxDuration = 2 * time.Hour

func parseFlags(args []string, usage io.Writer) (*options, error) {
	o := &options{size: 10_000}
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.SetOutput(usage)
	f.Usage = func() {
		fmt.Fprint(usage, "Puts an SMTP server on loopback under load, and measures it. See the package comment.\n\n")
		f.PrintDefaults()
	}
	f.StringVar(&o.target, "target", "", "`HOST:PORT` of the server; loopback only")
	f.StringVar(&o.sink, "sink", "", "`HOST:PORT` to run a sink on, which accepts everything and counts; loopback only")
	o.loadFlags(f)
	f.DurationVar(&o.drain, "drain", 60*time.Second, "with -sink: wait so long for what was accepted to arrive")
	f.DurationVar(&o.sinkLatency, "sink-latency", 0, "the sink waits up to this long, at random, before it takes a message")
	f.BoolVar(&o.check, "check", false, "with -sink: look for every single message at the sink; says what was lost and what came twice")
	f.StringVar(&o.ledger, "ledger", "", "write what was sent and acknowledged to this `file`")
	f.IntVar(&o.idle, "idle", 0, "hold so many idle connections during the run, from many addresses, and measure the memory that they cost (needs -pid); with -sessions 0 nothing else")
	f.IntVar(&o.pid, "pid", 0, "process whose CPU time and memory are measured, with its children")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.versus, "versus", "", "compare with \"postfix\" (needs root): see the package comment")
	f.StringVar(&o.binary, "stagecoach", "stagecoach", "with -versus and -kill: our program")
	f.StringVar(&o.relay, "relay", defaultRelay, "with -versus and -kill: its arguments; {listen}, {sink}, {spool} and {users} are filled in")
	f.IntVar(&o.postfixProcesses, "postfix-processes", 100, "with -versus: Postfix's default_process_limit")
	f.IntVar(&o.rounds, "rounds", 2, "with -versus: how often each of the two is measured, in turn")
	f.StringVar(&o.dir, "dir", "", "with -versus and -kill: where the queues are, in a folder of their own (default: the system's folder for temporary files)")
	f.Float64Var(&o.minAccepted, "min-accepted", 0, "with -versus: fail when we accept less than so many times what Postfix does")
	f.Float64Var(&o.minDelivered, "min-delivered", 0, "with -versus: fail when we deliver less than so many times what Postfix does")
	f.IntVar(&o.kills, "kill", 0, "start our relay, kill it (SIGKILL) so many times under load, and look for every message: see the package comment")
	f.IntVar(&o.maxDuplicates, "max-duplicates", 20, "with -kill: duplicates that one kill may cause at most: the relay's deliveries at a time to one domain")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("what is %q?", f.Arg(0))
	}
	return o, o.finish()
}

func (o *options) loadFlags(f *flag.FlagSet) {
	l := &o.load
	f.IntVar(&l.Sessions, "sessions", 64, "connections at a time")
	f.Var(&o.size, "size", "octets of a message, as 4k (4,000), 10k or 1m")
	f.DurationVar(&l.Duration, "duration", 10*time.Second, "when to begin no more messages; 2h at most")
	f.IntVar(&l.Count, "count", 0, "messages in all; 0 is no limit but -duration")
	f.Float64Var(&l.Rate, "rate", 0, "open loop: messages a second, whether answers come or not, latency from when they were due; 0 is a closed loop")
	f.IntVar(&l.PerConnection, "per-connection", 0, "messages on one connection; 0 is no limit")
	f.BoolVar(&l.NoPipelining, "no-pipelining", false, "wait for the answer to each command")
	f.StringVar(&o.chunking, "verb", "auto", "bdat, data, or auto: BDAT where the server offers it")
	f.BoolVar(&l.Persist, "persist", false, "open lost connections anew, for servers that are killed under load")
	f.StringVar(&l.From, "from", "load@load.example", "MAIL FROM")
	f.IntVar(&o.rcpts, "rcpts", 1, "recipients of each message")
	f.StringVar(&l.Dialer.TLS, "tls", "", "implicit or starttls")
	f.StringVar(&l.Dialer.User, "user", "", "log in with AUTH PLAIN; needs -tls")
	f.StringVar(&o.passwordFile, "password-file", "", "file with the password")
}

// finish checks what the flags do not check by themselves.
func (o *options) finish() error {
	if o.target == "" && o.sink == "" && o.versus == "" && o.kills == 0 {
		return errors.New("nothing to do: give -target, -sink, -versus or -kill; -help shows more")
	}
	if o.versus != "" && o.versus != "postfix" {
		return fmt.Errorf("-versus knows postfix, not %q", o.versus)
	}
	if o.load.Duration <= 0 || o.load.Duration > maxDuration {
		return fmt.Errorf("-duration is not between 0 and %v", maxDuration)
	}
	if t := o.load.Dialer.TLS; t != "" && t != "implicit" && t != "starttls" {
		return fmt.Errorf("-tls is implicit or starttls, not %q", t)
	}
	switch strings.ToLower(o.chunking) {
	case "auto":
	case "bdat":
		o.load.Chunking = traffic.BDAT
	case "data":
		o.load.Chunking = traffic.DATA
	default:
		return fmt.Errorf("-verb is auto, bdat or data, not %q", o.chunking)
	}
	if o.rcpts < 1 || o.rcpts > 1000 {
		return errors.New("-rcpts is not between 1 and 1000")
	}
	for i := range o.rcpts {
		o.load.To = append(o.load.To, fmt.Sprintf("load%d@sink.example", i))
	}
	o.load.Size = int(o.size)
	if o.passwordFile != "" {
		b, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return err
		}
		o.load.Dialer.Password = strings.TrimRight(string(b), "\r\n")
	}
	return nil
}

// size is a number of octets with k and m for thousands and millions.
type size int

// String writes the number.
func (s *size) String() string { return strconv.Itoa(int(*s)) }

// Set reads "4000", "4k" or "1m".
func (s *size) Set(text string) error {
	factor, digits := 1.0, strings.ToLower(text)
	if rest, ok := strings.CutSuffix(digits, "k"); ok {
		factor, digits = 1e3, rest
	} else if rest, ok := strings.CutSuffix(digits, "m"); ok {
		factor, digits = 1e6, rest
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n*factor > 1e9 {
		return errors.New("want a number of octets up to 1000m")
	}
	*s = size(n * factor)
	return nil
}
