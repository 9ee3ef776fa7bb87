package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
	"stagecoach/name/resolver"
	"stagecoach/name/resolver/scenario"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/stage/relay"
	"stagecoach/stage/verify"
)

// matrixFailures are the ways in which names fail for now: what the servers of author.example, and
// of the reverse names of its host, do.
var matrixFailures = map[string]string{
	"silence":               "match *\n  timeout\n",
	"SERVFAIL":              "match *\n  clear\n  rcode SERVFAIL\n",
	"REFUSED":               "match *\n  clear\n  rcode REFUSED\n",
	"lame":                  "match *\n  clear\n  noaa\n",
	"bogus":                 "match *\n  spoil MX\n  spoil TXT\n  spoil A\n  spoil AAAA\n  spoil PTR\n  spoil NSEC\n  spoil SOA\n",
	"truncated without TCP": "match * udp\n  tc\nmatch * tcp\n  timeout\n",
	"a forged no":           "match *\n  clear\n  rcode NXDOMAIN\n  authority author.example. 300 SOA a. b. 1 2 3 4 300\n",
	"stripped":              "match *\n  strip NSEC\n  strip RRSIG\n",
}

const matrixWorld = `
-- zone example. 1.0.1.1 sign=nsec --
-- zone sound.example 1.0.1.2 sign=nsec --
@ MX 10 mx.author.example.
-- zone 4.8.8.in-addr.arpa. 1.0.2.1 sign=nsec --
4 PTR mx.author.example.
-- zone author.example 1.0.2.1 sign=nsec --
@ MX 10 mx
@ TXT "v=spf1 a:mx.author.example -all"
mx A 8.8.4.4
_dmarc TXT "v=DMARC1; p=reject"
s1._domainkey TXT "KEY"
`

// matrixKey is the key of the author, whose record stands in the world.
func matrixKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// matrixResolver returns a resolver over the world with a failure, "" for none.
func matrixResolver(t *testing.T, script string) *resolver.Resolver {
	t.Helper()
	record, err := dkim.RecordText(matrixKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(matrixWorld, "KEY", record, 1)
	if script != "" {
		text += "-- script 1.0.2.1 --\n" + script
	}
	r, err := scenario.New(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestResolverMatrix holds R13 with the stages themselves: whatever fails, none of the seven who
// ask for names says anything for good. SPF, DKIM, DMARC and iprev come from the verifier, MX and
// addresses from the relay, and the servers to notify from the authority.
func TestResolverMatrix(t *testing.T) {
	for failure, script := range matrixFailures {
		t.Run(failure, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := matrixResolver(t, script)
				for range 2 { // the second time from what is remembered of failure
					results, refused := verified(t, r)
					checkTemporary(t, refused, results)
					for user, domain := range map[string]string{"MX": "author.example", "address": "sound.example"} {
						var refusal *mail.Refusal
						if err := carried(t, r, domain); !errors.As(err, &refusal) || refusal.Code/100 != 4 {
							t.Errorf("%s: the relay says %v", user, err)
						}
					}
				}
				settle()
			})
		})
	}
}

// checkTemporary expects that the verifier takes nothing for settled: the mail is to come again.
func checkTemporary(t *testing.T, refused error, results string) {
	t.Helper()
	var refusal *mail.Refusal
	if refused != nil && (!errors.As(refused, &refusal) || refusal.Code/100 != 4) {
		t.Errorf("the verifier refuses for good: %v", refused)
	}
	if refused != nil {
		return
	}
	for _, method := range []string{"spf", "dkim", "dmarc", "iprev"} {
		if !strings.Contains(results, method+"=temperror") {
			t.Errorf("%s is not temperror:\n%s", method, results)
		}
	}
}

// TestResolverMatrixHealed is the same where nothing fails: all pass, and what is denied is
// denied for good.
func TestResolverMatrixHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := matrixResolver(t, "")
		results, refused := verified(t, r)
		for _, method := range []string{"spf", "dkim", "dmarc", "iprev"} {
			if refused != nil || !strings.Contains(results, method+"=pass") {
				t.Errorf("%s does not pass: %v\n%s", method, refused, results)
			}
		}
		var refusal *mail.Refusal
		if err := carried(t, r, "nope.author.example"); !errors.As(err, &refusal) || refusal.Code != 550 {
			t.Errorf("a domain that does not exist: %v", err)
		}
		settle()
	})
}

// settle lets what is under way come to its end.
func settle() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

const matrixMail = "From: Ann <ann@author.example>\r\nTo: bob@ours.test\r\nSubject: hello\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@author.example>\r\n\r\nhello\r\n"

// verified has the verifier take a mail of the author, and returns its refusal, or what it
// writes.
func verified(t *testing.T, x dns.Exchanger) (results string, refused error) {
	t.Helper()
	m := &mail.Mail{
		Peer:     mail.Peer{Addr: netip.MustParseAddr("8.8.4.4"), Hello: "mx.author.example", ESMTP: true},
		Envelope: mail.Envelope{From: mail.MustParseAddress("ann@author.example"), To: []mail.Recipient{{Address: mail.MustParseAddress("bob@ours.test")}}},
		Message:  mail.NewMessage([]byte(matrixMail)),
	}
	fields, err := dkim.Sign(m.Message, dkim.Signer{Domain: "author.example", Selector: "s1", Key: matrixKey()})
	if err != nil {
		t.Fatal(err)
	}
	m.Message.Header.Prepend(fields...)
	v := &verify.Verifier{Name: "mx.ours.test", Resolver: x, Domains: []string{"ours.test"}, LabelOnly: true,
		Next: mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
			results = m.Message.Header.Value("Authentication-Results")
			return nil
		})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refused = v.Handle(ctx, m.Clone())
	v.LabelOnly = false
	if err := v.Handle(ctx, m.Clone()); refused == nil {
		var refusal *mail.Refusal
		if errors.As(err, &refusal) && refusal.Code/100 == 5 {
			refused = err
		}
	}
	return results, refused
}

// carried has the relay carry a mail to a domain, and returns what it says.
func carried(t *testing.T, x dns.Exchanger, domain string) error {
	t.Helper()
	r := &relay.Relay{Name: "mx.ours.test", Names: x}
	defer r.Close()
	m := &mail.Mail{
		Envelope: mail.Envelope{From: mail.MustParseAddress("bob@ours.test"), To: []mail.Recipient{{Address: mail.MustParseAddress("carol@" + domain)}}},
		Message:  mail.NewMessage([]byte(matrixMail)),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return r.Carry(ctx, m)[0]
}
