package main

import (
	"bufio"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"stagecoach/account"
	"stagecoach/rfc/dkim"
	"stagecoach/stage/sign"
)

type dkimCmd struct {
	Gen    dkimGenCmd    `cmd:"" help:"Make a key, and print the record to publish."`
	Record dkimRecordCmd `cmd:"" help:"Print the record of a key: PEM, or the reference's seed."`
}

type dkimGenCmd struct {
	Out      string `arg:"" help:"File for the private key; it must not exist yet." placeholder:"FILE"`
	Kind     string `help:"Kind of the key: ${enum}." enum:"rsa,ed25519" default:"rsa"`
	Selector string `help:"Selector." default:"s1"`
	Domain   string `help:"Domain that signs." required:"" placeholder:"DOMAIN"`
}

// Help shows an example.
func (dkimGenCmd) Help() string {
	return "Example:\n\n  stagecoach dkim gen --domain example.org --selector s2026 /etc/stagecoach/s2026.pem"
}

// Run writes the key before it prints its record.
func (c dkimGenCmd) Run() error {
	k, err := generateKey(c.Kind)
	if err != nil {
		return err
	}
	if err := writeKey(c.Out, k); err != nil {
		return err
	}
	return printRecord(c.Selector, c.Domain, k)
}

type dkimRecordCmd struct {
	PrivateKey Secret `help:"The key: @FILE." required:"" placeholder:"SECRET"`
	Selector   string `help:"Selector." default:"s1"`
	Domain     string `help:"Domain that signs." required:"" placeholder:"DOMAIN"`
}

// Help shows an example.
func (dkimRecordCmd) Help() string {
	return "Example:\n\n  stagecoach dkim record --domain example.org --private-key @dkim.key"
}

// Run prints the record in the syntax of a zone file.
func (c dkimRecordCmd) Run() error {
	k, err := dkimKey(c.PrivateKey.Bytes())
	if err != nil {
		return fmt.Errorf("DKIM key: %w", err)
	}
	return printRecord(c.Selector, c.Domain, k)
}

func printRecord(selector, domain string, k crypto.Signer) error {
	record, err := recordOf(sign.Key{Selector: selector, Private: k}, domain)
	if err == nil {
		fmt.Println(record)
	}
	return err
}

// recordOf returns the record of a key in the syntax of a zone file.
func recordOf(k sign.Key, domain string) (string, error) {
	record, err := dkim.Record(k.Selector, domain, k.Private.Public())
	return strings.TrimRight(record, "\n"), err
}

type hashCmd struct {
	Scram bool `help:"Make SCRAM-SHA-256 keys instead of argon2id. Clients can then log in by SCRAM when everybody in the repository has such keys."`
}

// Help shows an example.
func (hashCmd) Help() string {
	return `Examples:

  stagecoach hash            asks twice, and prints what to write as "password"
  stagecoach hash <pw.txt    takes the first line`
}

// Run never shows the password, and never takes it from the command line.
func (c hashCmd) Run() error {
	password, err := readPassword(os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	hash := account.HashPassword
	if c.Scram {
		hash = account.ScramPassword
	}
	text, err := hash(password)
	if err == nil {
		fmt.Println(text)
	}
	return err
}

func readPassword(in *os.File, out io.Writer) (string, error) {
	if !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReaderSize(io.LimitReader(in, 4096), 4096).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return "", errors.New("no password on standard input")
		}
		return line, nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(out, prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(out)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] == "" || typed[0] != typed[1] {
		return "", errors.New("the passwords differ, or are empty")
	}
	return typed[0], nil
}
