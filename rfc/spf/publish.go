package spf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"stagecoach/rfc/dns"
)

// IsRecord reports whether the text of a TXT record is an SPF record, be it broken (RFC 7208
// section 4.5).
func IsRecord(text string) bool { return isRecord(text) }

// Normal returns a record in its normal form: one blank between terms, and networks with their
// lengths, as "v=spf1 +ip4:192.0.2.1/32 -all". An error says what is wrong with it.
func Normal(text string) (string, error) {
	if !isRecord(text) {
		return "", errors.New("an SPF record begins with v=spf1 and a blank")
	}
	if _, err := parseRecord(text); err != nil {
		return "", err
	}
	terms := strings.Fields(text)
	terms[0] = "v=spf1"
	for i, term := range terms[1:] {
		if _, _, ok := modifier(term); ok {
			continue
		}
		if d, err := parseDirective(term); err == nil && d.net.IsValid() {
			qualifier := term[:strings.IndexAny(strings.ToLower(term), "i")]
			terms[i+1] = qualifier + d.name + ":" + d.net.String()
		}
	}
	return strings.Join(terms, " "), nil
}

// Lookups counts the terms of a record that look something up, with those of the records that it
// includes or redirects to, as a receiver does that meets none that matches (RFC 7208 section
// 4.6.4). More than ten are an error, as is a record that is missing or broken; trouble with the
// DNS is a temporary *dns.Error. A name with macros is not looked up.
func Lookups(ctx context.Context, x dns.Exchanger, domain, text string) (int, error) {
	r, err := parseRecord(text)
	if err != nil {
		return 0, err
	}
	c := &count{x: x}
	err = c.record(ctx, domain, r)
	return c.terms, err
}

type count struct {
	x     dns.Exchanger
	terms int
}

func (c *count) term() error {
	if c.terms++; c.terms > maxTerms {
		return fmt.Errorf("more than %d terms look something up, with those of included records; receivers count it as broken", maxTerms)
	}
	return nil
}

func (c *count) record(ctx context.Context, domain string, r *record) error {
	for _, d := range r.directives {
		switch d.name {
		case "all":
			return nil // what follows is never looked at
		case "ip4", "ip6":
			continue
		}
		if err := c.term(); err != nil {
			return err
		}
		if d.name == "include" {
			if err := c.follow(ctx, domain, d.target); err != nil {
				return err
			}
		}
	}
	if r.redirect == nil {
		return nil
	}
	if err := c.term(); err != nil {
		return err
	}
	return c.follow(ctx, domain, r.redirect)
}

// follow counts in another record.
func (c *count) follow(ctx context.Context, domain string, target domainSpec) error {
	name := ""
	for _, p := range target {
		switch {
		case p.letter == 0:
			name += p.text
		case p.letter == 'd' && p.keep == 0 && !p.reverse:
			name += domain
		default:
			return nil // it depends on the mail
		}
	}
	q, ok := queryName(name)
	if !ok {
		return fmt.Errorf("%s is no domain name", short(name))
	}
	texts, err := dns.TXT(ctx, c.x, q)
	if err != nil && !dns.IsNegative(err) {
		return err
	}
	var found []string
	for _, t := range texts {
		if isRecord(t) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%s has %d SPF records", short(name), len(found))
	}
	r, err := parseRecord(found[0])
	if err != nil {
		return fmt.Errorf("the record of %s: %w", short(name), err)
	}
	return c.record(ctx, name, r)
}
