package main

import (
	"errors"
	"fmt"

	our "stagecoach/mail"
)

// mailCmd is the table of the tools for single mails.
type mailCmd struct {
	Make       mailMakeCmd  `cmd:"" help:"Make a mail: header fields, body, encoding."`
	Wrap       mailWrapCmd  `cmd:"" help:"Put the body of a mail into a multipart."`
	Put        mailPutCmd   `cmd:"" help:"Attach a file to a mail."`
	AddField   mailFieldCmd `cmd:"" help:"Put a header field on top of a mail."`
	Send       mailSendCmd  `cmd:"" help:"Send a mail to a server, or to the servers of its recipients."`
	Submit     mailSubmit   `cmd:"" help:"Hand a mail in with user name and password (port 465, else 587)."`
	Serve      mailServeCmd `cmd:"" help:"Receive one mail into a file, or many into a folder."`
	Dkim       mailDkimCmd  `cmd:"" help:"Verify and make DKIM signatures."`
	Arc        mailArcCmd   `cmd:"" help:"Verify and extend ARC chains."`
	Spf        mailSpfCmd   `cmd:"" help:"Ask whether a client may send for a domain (SPF)."`
	Dmarc      mailDmarcCmd `cmd:"" help:"Ask whether anything vouches for the author's domain (DMARC)."`
	Auth       mailAuthCmd  `cmd:"" help:"Judge a mail by SPF, DKIM, ARC and DMARC, and explain."`
	Recv       mailRecvCmd  `cmd:"" help:"Show the path that a mail took, with its delays."`
	Hdr        mailHdrCmd   `cmd:"" help:"Print header fields."`
	Addr       mailAddrCmd  `cmd:"" help:"Print the addresses in a header."`
	Tree       mailTreeCmd  `cmd:"" help:"Print the MIME parts of a mail as a tree."`
	CheckBytes mailBytesCmd `cmd:"" help:"Check that parsing and printing a mail gives the same bytes."`
	Generate   mailGenerate `cmd:"" help:"Make valid and nearly valid mails by the grammar, for tests."`
}

// The exit status of the mail tools, besides 0 and 1 (trouble). A wrong command line is 80.
const (
	exitNo    = 2  // the answer is no: it does not verify, or the server refused for good
	exitLater = 75 // not now: DNS or the server failed; EX_TEMPFAIL of sysexits.h
)

// An ending is an error with an exit status of its own.
type ending struct {
	status int
	err    error
}

func (o ending) Error() string { return o.err.Error() }
func (o ending) Unwrap() error { return o.err }

// ExitCode returns the exit status.
func (o ending) ExitCode() int { return o.status }

func no(format string, args ...any) error    { return ending{exitNo, fmt.Errorf(format, args...)} }
func later(format string, args ...any) error { return ending{exitLater, fmt.Errorf(format, args...)} }

// judged gives what a server said its exit status.
func judged(err error) error {
	var r *our.Refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &r):
		return err
	case r.Permanent():
		return ending{exitNo, err}
	}
	return ending{exitLater, err}
}

// exitStatus returns the status that a command's error asks for.
func exitStatus(err error) int {
	var o ending
	if errors.As(err, &o) {
		return o.status
	}
	return 1
}
