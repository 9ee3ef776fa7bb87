package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stagecoach/name/publish"
	"stagecoach/rfc/dns"
)

// zoneSetCmd writes records, one kind a command, after checking what can be wrong with that kind.
type zoneSetCmd struct {
	Dmarc  zoneSetDMARC  `cmd:"" name:"dmarc" help:"The DMARC record of a domain (RFC 9989)."`
	STS    zoneSetSTS    `cmd:"" name:"mta-sts" help:"The MTA-STS record of a domain (RFC 8461)."`
	TLSRPT zoneSetTLSRPT `cmd:"" name:"tls-rpt" help:"The TLS-RPT record of a domain (RFC 8460)."`
	MX     zoneSetMX     `cmd:"" name:"mx" help:"The mail servers of a domain."`
	Record zoneSetRecord `cmd:"" help:"Records of any type."`
}

type zoneSetDMARC struct {
	zoneTarget `embed:""`
	Domain     string `arg:"" help:"The domain; the record stands at _dmarc.DOMAIN." placeholder:"DOMAIN"`
	Record     string `arg:"" help:"The record." placeholder:"RECORD"`
}

// Help shows an example.
func (zoneSetDMARC) Help() string {
	return `Example: stagecoach zone set dmarc 10.0.0.3 @personal.key example.org "v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"`
}

// Run publishes the record.
func (c zoneSetDMARC) Run(ctx context.Context) error {
	want, err := publish.DMARC(c.Domain, c.Record)
	if err != nil {
		return err
	}
	return c.put(ctx, os.Stdout, want)
}

type zoneSetSTS struct {
	zoneTarget `embed:""`
	Domain     string `arg:"" help:"The domain; the record stands at _mta-sts.DOMAIN." placeholder:"DOMAIN"`
	Record     string `arg:"" optional:"" help:"The record (default: one whose id is the time)." placeholder:"RECORD"`
}

// Help shows an example.
func (zoneSetSTS) Help() string {
	return `The record tells senders that the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt has changed; without
RECORD it gets a new id each time.

Example: stagecoach zone set mta-sts 10.0.0.3 @personal.key example.org`
}

// Run publishes the record.
func (c zoneSetSTS) Run(ctx context.Context) error {
	record := c.Record
	if record == "" {
		record = "v=STSv1; id=" + time.Now().UTC().Format("20060102T150405") + ";"
	}
	want, err := publish.STS(c.Domain, record)
	if err != nil {
		return err
	}
	return c.put(ctx, os.Stdout, want)
}

type zoneSetTLSRPT struct {
	zoneTarget `embed:""`
	Domain     string `arg:"" help:"The domain; the record stands at _smtp._tls.DOMAIN." placeholder:"DOMAIN"`
	Record     string `arg:"" help:"The record." placeholder:"RECORD"`
}

// Help shows an example.
func (zoneSetTLSRPT) Help() string {
	return `Example: stagecoach zone set tls-rpt 10.0.0.3 @personal.key example.org "v=TLSRPTv1; rua=mailto:tls@example.org"`
}

// Run publishes the record.
func (c zoneSetTLSRPT) Run(ctx context.Context) error {
	want, err := publish.TLSRPT(c.Domain, c.Record)
	if err != nil {
		return err
	}
	return c.put(ctx, os.Stdout, want)
}

type zoneSetMX struct {
	zoneTarget `embed:""`
	Domain     string   `arg:"" help:"The domain." placeholder:"DOMAIN"`
	Servers    []string `arg:"" help:"Mail servers: \"PREFERENCE HOST\", or HOST alone with preference 10; \".\" alone for no mail." placeholder:"MAILSERVER"`
}

// Help shows an example.
func (zoneSetMX) Help() string {
	return `Those that stand there and are not named go. A server in the same zone must have an address there.

Example: stagecoach zone set mx 10.0.0.3 @personal.key example.org "10 mx1.example.org" "20 mx2.example.net"`
}

// Run publishes the records.
func (c zoneSetMX) Run(ctx context.Context) error {
	want, err := publish.MX(c.Domain, c.Servers...)
	if err != nil {
		return err
	}
	writer, err := writerAt(c.Server, c.Key)
	if err != nil {
		return err
	}
	for _, rr := range want.RRs {
		host := rr.(*dns.MXRecord).Mx
		if host != "." && dns.IsSubdomain(c.Domain, host) {
			if err := hasAddress(ctx, writer, host); err != nil {
				return err
			}
		}
	}
	return c.put(ctx, os.Stdout, want)
}

// hasAddress sees that a host of the zone can be reached, and is no alias (RFC 2181 section 10.3).
func hasAddress(ctx context.Context, w publish.Writer, host string) error {
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := w.Read(ctx, host, t)
		if err != nil || len(found) > 0 {
			return err
		}
	}
	return fmt.Errorf("%s has no address in the zone", dns.Host(host))
}

type zoneSetRecord struct {
	zoneTarget `embed:""`
	Name       string   `arg:"" help:"Where the records stand, in full." placeholder:"NAME"`
	TTL        uint32   `arg:"" name:"ttl" help:"How many seconds they may be remembered." placeholder:"TTL"`
	Type       string   `arg:"" help:"Their type." placeholder:"TYPE"`
	Data       []string `arg:"" help:"The data of each, as in a zone file, in one argument." placeholder:"DATA"`
	Add        bool     `help:"Leave what stands there of this type, instead of replacing it."`
}

// Help shows examples.
func (zoneSetRecord) Help() string {
	return `All records of the type at the name are replaced by those that are given.

Examples:

  stagecoach zone set record 10.0.0.3 @personal.key www.example.org 3600 A 192.0.2.1 192.0.2.2
  stagecoach zone set record 10.0.0.3 @personal.key example.org 3600 TXT '"site-verification=1"' --add`
}

// Run publishes the records.
func (c zoneSetRecord) Run(ctx context.Context) error {
	want, err := c.want()
	if err != nil {
		return err
	}
	return c.put(ctx, os.Stdout, want)
}

func (c zoneSetRecord) want() (publish.Want, error) {
	var want publish.Want
	t, ok := dns.ParseType(c.Type)
	if !ok {
		return want, fmt.Errorf("%s is no type of records", c.Type)
	}
	if t == dns.TypeSOA {
		return want, errors.New("the SOA record is the primary's own")
	}
	for _, data := range c.Data {
		if strings.ContainsAny(data, "\r\n") {
			return want, errors.New("a record is one line")
		}
		rr, err := dns.ParseEntry(fmt.Sprintf("%s %d IN %s %s\n", dns.Canonical(c.Name), c.TTL, dns.TypeName(t), data), ".", c.TTL)
		if err != nil {
			return want, fmt.Errorf("%s %s: %w", c.Type, data, err)
		}
		if dns.Canonical(rr.Header().Name) != dns.Canonical(c.Name) || rr.Header().Rrtype != t {
			return want, fmt.Errorf("%q is no data of a record", data)
		}
		want.RRs = append(want.RRs, rr)
	}
	if c.Add {
		given := want.RRs
		want.Ours = func(rr dns.RR) bool {
			for _, o := range given {
				if dns.Equal(o, rr) {
					return true
				}
			}
			return false
		}
	}
	return want, nil
}
