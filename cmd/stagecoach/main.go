// Stagecoach is a complete email service for a domain: see "stagecoach help".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the table of subcommands. Its struct tags are the help texts, and docs/commands.md
// is printed from them.
type cli struct {
	Demo    demoCmd    `cmd:"" help:"Try the whole mail path on loopback, in a small simulated Internet."`
	Init    initCmd    `cmd:"" help:"Set a mail domain up on this machine: keys, zone, users, configuration; say what the registrar has to know."`
	Service serviceCmd `cmd:"" help:"Install the service for systemd, and start it; print its unit."`
	Serve   serveCmd   `cmd:"" help:"Run the service: both chains in one process, from one TOML file."`
	Check   checkCmd   `cmd:"" help:"Look at a domain as the world sees it: what is right, what is not, why it matters, what to do."`

	Submission submissionCmd `cmd:"" group:"stages" help:"One stage: take mail from our users (ports 465 and 587)."`
	Verifier   verifierCmd   `cmd:"" group:"stages" help:"One stage: take mail from the world (port 25), verify and label it."`
	Spamfilter spamfilterCmd `cmd:"" group:"stages" help:"One stage: label mail as spam or not."`
	Signer     signerCmd     `cmd:"" group:"stages" help:"One stage: sign mail with DKIM."`
	Relay      relayCmd      `cmd:"" group:"stages" help:"One stage: forward, queue, and carry mail to its recipients' servers."`
	Resolver   resolverCmd   `cmd:"" group:"stages" help:"Resolve names from the root, validated by DNSSEC; ask a running resolver."`

	Letsencrypt letsencryptCmd `cmd:"" group:"stages" help:"Get certificates for the requests in a zone, by ACME over DNS."`

	Certify certifyCmd `cmd:"" group:"tools" help:"Get one certificate by DNS, once, as files."`

	Primary   primaryCmd   `cmd:"" group:"stages" help:"Answer for the zones of a git repository, and change them by signed updates."`
	Secondary secondaryCmd `cmd:"" group:"stages" help:"Answer for zones that are transferred in from another server."`

	Mail   mailCmd   `cmd:"" group:"tools" help:"Tools for single mails: make, send, receive, sign, judge and look at them."`
	Filter filterCmd `cmd:"" group:"tools" help:"Ask the spam filter, teach it, measure it."`
	Held   heldCmd   `cmd:"" help:"Look at the spam that is held back, release or delete it."`
	Queue  queueCmd  `cmd:"" group:"tools" help:"Look at the queue of a running service, and change it."`
	Dkim   dkimCmd   `cmd:"" name:"dkim" group:"tools" help:"Make DKIM keys, and print their DNS records."`
	User   userCmd   `cmd:"" group:"tools" help:"Add, change, list and remove users, in the users repository."`
	Hash   hashCmd   `cmd:"" group:"tools" help:"Hash a password for the users repository; it is read from the terminal or standard input."`

	SSHKey sshKeyCmd `cmd:"" name:"ssh-key" group:"tools" help:"Make a key for git over SSH, and print its public half."`

	Zone zoneCmd `cmd:"" group:"tools" help:"Check zones, write records, ask a running name server, print DS records, install git hooks."`
	SPF  spfCmd  `cmd:"" name:"spf" group:"tools" help:"Publish the SPF record of a domain."`

	Adduser adduserCmd `cmd:"" hidden:"" help:"The form of the OCaml system: adduser -r REMOTE NAME PASSWORD -t TARGET."`

	Man     manCmd     `cmd:"" help:"Write the manual pages of all commands."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// groups orders the help.
var groups = []kong.Group{
	{Key: "stages", Title: "One stage a process:"},
	{Key: "tools", Title: "Tools:"},
}

func parser(c *cli, opts ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("stagecoach"),
		kong.Description("A complete email service for a domain."),
		kong.ExplicitGroups(groups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	}, opts...)...)
}

func main() {
	// SIGTERM and SIGINT stop cleanly; a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	var c cli
	p, err := parser(&c, kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		panic(err) // a mistake in the table above
	}
	if len(os.Args) == 1 {
		os.Args = append(os.Args, "--help")
	}
	k, err := p.Parse(os.Args[1:])
	p.FatalIfErrorf(err)
	if err := k.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "stagecoach: %v\n", err)
		os.Exit(exitStatus(err))
	}
}

type versionCmd struct{}

// Run prints the version that the build knows.
func (versionCmd) Run() error {
	version := "development"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				version += " " + s.Value
			}
		}
	}
	fmt.Println("stagecoach", version)
	return nil
}
