package lab

import (
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

func TestMailArrivesVerified(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	for _, p := range []*Provider{l.BigMail, l.Lookout} {
		ann := p.AddUser("Ann")
		err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"ann@" + p.Domain}, Subject: "hello", Text: "hi\n.\n..dots\n"})
		if err != nil {
			t.Fatal(err)
		}
		mails, err := ann.Wait(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := mails[0]
		for _, method := range []string{"spf", "dkim", "dmarc", "iprev"} {
			if r.Result(method) != "pass" {
				t.Errorf("%s: %s is %q: %s", p.Domain, method, r.Result(method), r.Results)
			}
		}
		m := r.Message()
		first := ""
		for f := range m.Header.All() {
			first = f.Name()
			break
		}
		if first != "Authentication-Results" || !strings.HasPrefix(m.Header.Value(first), p.MX) || m.Header.Count("DKIM-Signature") != 2 || m.Header.Count("Received") != 1 {
			t.Errorf("%s: %s", p.Domain, r.Raw)
		}
		if !strings.HasSuffix(string(r.Raw), "\r\n\r\nhi\r\n.\r\n..dots\r\n") || r.Peer.TLS == nil || r.Spam {
			t.Errorf("%s: TLS %v, spam %t, %q", p.Domain, r.Peer.TLS != nil, r.Spam, r.Raw)
		}
	}
}

func TestRulesOfTheBigReceivers(t *testing.T) {
	l := start(t)
	ctx := within(t, 60*time.Second)
	l.BigMail.AddUser("ann")
	l.Lookout.AddUser("ann")
	if err := l.AddZone("forger.example", ""); err != nil {
		t.Fatal(err)
	}
	named, err := l.NewHost("host.forger.example")
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := l.Address()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetRecords(`forger.example. TXT "v=spf1 ip4:` + nameless.String() + ` ip4:` + named.String() + ` -all"`); err != nil {
		t.Fatal(err)
	}
	const bob = "bob@correspondent.example"
	twoFrom := []byte("From: bob@correspondent.example\r\nFrom: eve@correspondent.example\r\nSubject: x\r\n\r\nx\r\n")
	listFrom := []byte("From: bob@correspondent.example, eve@correspondent.example\r\nSubject: x\r\n\r\nx\r\n")
	for _, c := range []struct {
		name         string
		o            Outgoing
		big, lookout string // reply code and status, "" for acceptance
	}{
		{"as it should be", Outgoing{From: bob}, "", ""},
		{"unsigned, SPF aligned", Outgoing{From: bob, Unsigned: true}, "", "550 5.7.515"},
		{"signed, by another host", Outgoing{From: bob, Via: named}, "", "550 5.7.515"},
		{"signed, forwarded with a sender of its own", Outgoing{From: bob, Sender: "x@forger.example", Via: named}, "", ""},
		{"no PTR record", Outgoing{From: bob, Sender: "x@forger.example", Via: nameless}, "550 5.7.25", ""},
		{"no TLS", Outgoing{From: bob, Clear: true}, "550 5.7.29", ""},
		{"forged, nothing passes", Outgoing{From: bob, Unsigned: true, Via: named}, "550 5.7.26", "550 5.7.509"},
		{"forged, SPF of another domain", Outgoing{From: bob, Sender: "x@forger.example", Unsigned: true, Via: named}, "550 5.7.26", "550 5.7.509"},
		{"forged in the receiver's name", Outgoing{From: "x@bigmail.example", Sender: "x@forger.example", Unsigned: true, Via: named}, "550 5.7.26", "550 5.7.515"},
		{"a domain without DMARC", Outgoing{From: "x@forger.example", Unsigned: true, Via: named}, "", "550 5.7.515"},
		{"two From fields", Outgoing{From: bob, Raw: twoFrom, Unsigned: true}, "550 5.7.1", "550 5.7.1"},
		{"two authors", Outgoing{From: bob, Raw: listFrom, Unsigned: true}, "550 5.7.1", "550 5.7.1"},
		{"no author", Outgoing{From: bob, Raw: []byte("Subject: x\r\n\r\nx\r\n"), Unsigned: true}, "550 5.7.1", "550 5.7.1"},
		{"a report", Outgoing{From: bob, Sender: "<>"}, "", ""},
	} {
		for p, want := range map[*Provider]string{l.BigMail: c.big, l.Lookout: c.lookout} {
			o := c.o
			o.To = []string{"ann@" + p.Domain}
			got := ""
			if err := l.Correspondent.Send(ctx, o); err != nil {
				r := refusal(t, err)
				got = mail.RefusalOf(r).Error()
			}
			if want == "" && got != "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s at %s: %q, want %q", c.name, p.Domain, got, want)
			}
		}
	}
}

func TestBulkSenders(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	l.BigMail.AddUser("ann")
	l.BigMail.Bulk("correspondent.example", true)
	o := Outgoing{From: "bob@correspondent.example", To: []string{"ann@bigmail.example"}}
	if err := l.Correspondent.Send(ctx, o); err != nil {
		t.Error(err)
	}
	o.Unsigned = true
	if r := refusal(t, l.Correspondent.Send(ctx, o)); r.Status != "5.7.30" {
		t.Error(r)
	}
	if err := l.RemoveRecords("correspondent.example", "TXT"); err != nil {
		t.Fatal(err)
	}
	o.Unsigned = false
	if r := refusal(t, l.Correspondent.Send(ctx, o)); r.Status != "5.7.27" {
		t.Error(r)
	}
}

func TestQuarantineIsSpam(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	if err := l.SetRecords(`_dmarc.correspondent.example. TXT "v=DMARC1; p=quarantine"`); err != nil {
		t.Fatal(err)
	}
	ann := l.BigMail.AddUser("ann")
	err := l.Lookout.Send(ctx, Outgoing{From: "bob@correspondent.example", Sender: "x@lookout.example", To: []string{"ann@bigmail.example"}, Unsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := ann.Mails()[0]; !r.Spam || r.Result("dmarc") != "fail" || r.Result("spf") != "pass" {
		t.Errorf("spam %t, %s", r.Spam, r.Results)
	}
}

// Trouble with names is no verdict: the sender is asked to come again.
func TestBrokenDNSIsTemporary(t *testing.T) {
	l := start(t)
	ctx := within(t, 60*time.Second)
	l.BigMail.AddUser("ann")
	l.Lookout.AddUser("ann")
	gone, err := l.Address()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Delegate("mute.example", "ns.mute.example", gone); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Provider{l.BigMail, l.Lookout} {
		err := l.Correspondent.Send(ctx, Outgoing{From: "x@mute.example", Unsigned: true, To: []string{"ann@" + p.Domain}})
		if r := refusal(t, err); r.Code != 451 {
			t.Errorf("%s: %v", p.Domain, r)
		}
	}
}

func TestStatesOfMailboxes(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	send := func(to string) *mail.Refusal {
		t.Helper()
		err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{to}})
		if err == nil {
			return nil
		}
		return refusal(t, err)
	}
	for _, c := range []struct {
		p       *Provider
		unknown string
		full    int
	}{{l.BigMail, "5.1.1", 452}, {l.Lookout, "5.5.0", 554}} {
		to := "ann@" + c.p.Domain
		if r := send(to); r == nil || r.Status != c.unknown {
			t.Errorf("%s, unknown: %v", to, r)
		}
		ann := c.p.AddUser("ann")
		if r := send(to); r != nil {
			t.Errorf("%s: %v", to, r)
		}
		ann.Set(Full)
		if r := send(to); r == nil || r.Code != c.full {
			t.Errorf("%s, full: %v", to, r)
		}
		ann.Set(Gone)
		if r := send(to); r == nil || r.Status != c.unknown {
			t.Errorf("%s, gone: %v", to, r)
		}
		ann.Set(Open)
		if r := send(to); r != nil || len(ann.Mails()) != 2 {
			t.Errorf("%s, open again: %v, %d mails", to, r, len(ann.Mails()))
		}
		if r := send("postmaster@" + c.p.Domain); r != nil {
			t.Errorf("postmaster: %v", r)
		}
	}
}

// A user forwards at Gmail: author's signature and the provider's sender make it acceptable.
func TestForwardingUser(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	ann, zoe := l.BigMail.AddUser("ann"), l.Lookout.AddUser("zoe")
	ann.Forward(zoe.Address)
	if err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"ann@bigmail.example"}}); err != nil {
		t.Fatal(err)
	}
	mails, err := zoe.Wait(ctx, 1)
	if err != nil {
		t.Fatal(err, ann.Failures())
	}
	if from := mails[0].Envelope.From.String(); from != "ann+caf_=zoe=lookout.example@bigmail.example" || mails[0].Result("dmarc") != "pass" {
		t.Errorf("from %s, %s", from, mails[0].Results)
	}
	zoe.Set(Full)
	if err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"ann@bigmail.example"}}); err != nil {
		t.Fatal(err)
	}
	for len(ann.Failures()) == 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("the failure was not kept")
	}
}

func TestSendFollowsMX(t *testing.T) {
	l := start(t)
	ctx := within(t, 30*time.Second)
	s, err := l.NewSink("sink.example")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := l.NewHost("dead.sink.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetRecords("sink.example. MX 5 dead.sink.example.\nsink.example. MX 10 mx.sink.example."); err != nil {
		t.Fatal(err)
	}
	o := Outgoing{From: "bob@correspondent.example", To: []string{"a@sink.example", "b@sink.example"}}
	if err := l.Correspondent.Send(ctx, o); err != nil || len(s.Mails()) != 1 || len(s.Mails()[0].Envelope.To) != 2 {
		t.Errorf("past the dead host %s: %v, %d mails", dead, err, len(s.Mails()))
	}
	if err := l.SetRecords("implicit.sink.example. A " + s.Addr.String()); err != nil {
		t.Fatal(err)
	}
	if err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"a@implicit.sink.example"}}); err != nil {
		t.Errorf("implicit MX: %v", err)
	}
	if err := l.Correspondent.Send(ctx, Outgoing{From: "bob@correspondent.example", To: []string{"a@nothing.example"}}); !dns.IsNegative(err) {
		t.Errorf("no such domain: %v", err)
	}
}
