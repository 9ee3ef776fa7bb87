package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"stagecoach/rfc/dns"
)

type zoneNotifyCmd struct {
	Server string        `arg:"" help:"The name server: IP[:PORT]." placeholder:"SERVER"`
	Zone   string        `arg:"" help:"The zone." placeholder:"ZONE"`
	Key    Secret        `help:"Key that may have the zone read again: @FILE with NAME:ALGORITHM:BASE64, or that itself. A primary of ours heeds no NOTIFY without." placeholder:"SECRET"`
	Serial *uint32       `help:"Serial to tell (default: none; the server looks for itself)." placeholder:"N"`
	Wait   time.Duration `help:"How long a secondary gets to follow; a primary has read the zone when it answers." default:"0s"`
}

// Help shows an example.
func (zoneNotifyCmd) Help() string {
	return `Sends a NOTIFY over TCP, and prints what the server says to it and which serial it serves before and after. The
exit status is 2 where it refuses.

Example: stagecoach zone notify 10.0.0.3 example.org --key @hook.key`
}

// Run notifies.
func (c zoneNotifyCmd) Run(ctx context.Context) error {
	warnLiteral(c.Key, "--key")
	at, err := dns.ParseAddrPort(c.Server, 53)
	if err != nil {
		return fmt.Errorf("%q is no name server: %w", c.Server, err)
	}
	var key dns.Key
	if !c.Key.IsZero() {
		if key, err = dns.ParseKey(c.Key.Text()); err != nil {
			return fmt.Errorf("--key: %w", err)
		}
	}
	if !dns.IsName(c.Zone) {
		return fmt.Errorf("%q is no zone", c.Zone)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.notify(ctx, os.Stdout, at, key)
}

func (c zoneNotifyCmd) notify(ctx context.Context, w io.Writer, at netip.AddrPort, key dns.Key) error {
	plain := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}, Attempts: 1, Timeout: 5 * time.Second}
	before := servedSerial(ctx, plain, c.Zone)
	fmt.Fprintf(w, "before: %s\n", before)
	signed := &dns.Client{Servers: plain.Servers, Attempts: 1, Timeout: 30 * time.Second, Key: key}
	m := dns.NewNotify(c.Zone, c.soa())
	r, err := signed.Exchange(ctx, m)
	if err != nil {
		return err
	}
	if !r.Response || r.Opcode != dns.OpcodeNotify {
		return errors.New("the response is of another kind")
	}
	how := "signed with " + dns.Host(key.Name)
	if key.IsZero() {
		how = "unsigned"
	}
	fmt.Fprintf(w, "NOTIFY for %s to %s, %s: %s\n", dns.Host(c.Zone), at, how, dns.RcodeName(r.Rcode))
	after := servedSerial(ctx, plain, c.Zone)
	for end := time.Now().Add(c.Wait); after == before && time.Now().Before(end); after = servedSerial(ctx, plain, c.Zone) {
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := fmt.Fprintf(w, "after:  %s\n", after); err != nil {
		return err
	}
	if r.Rcode != dns.RcodeSuccess {
		return no("the server does not take it: %s", dns.RcodeName(r.Rcode))
	}
	return nil
}

// soa is what the reference's onotify sends, with a serial.
func (c zoneNotifyCmd) soa() *dns.SOARecord {
	if c.Serial == nil {
		return nil
	}
	zone := dns.Canonical(c.Zone)
	return &dns.SOARecord{
		Hdr: dns.Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: zone, Mbox: zone, Serial: *c.Serial,
	}
}

// servedSerial says which version of a zone a server has.
func servedSerial(ctx context.Context, x dns.Exchanger, zone string) string {
	soa, err := dns.SOA(ctx, x, zone)
	if err != nil {
		return "not served (" + err.Error() + ")"
	}
	return fmt.Sprintf("serial %d", soa.Serial)
}
