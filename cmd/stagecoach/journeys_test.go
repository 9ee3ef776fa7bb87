package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
)

// Journeys of mail through the whole service, seen from the outside: what people at the
// other end receive.

const annsMailbox = "ann.archer"

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// reportTo waits for a delivery report, and holds it against what every report must be.
func reportTo(t *testing.T, box *lab.Inbox) *lab.Received {
	t.Helper()
	got, err := box.Find(soon(t), func(r *lab.Received) bool {
		return strings.HasPrefix(r.Message().Header.Value("Content-Type"), "multipart/report")
	})
	if err != nil {
		t.Fatal("no report: ", err)
	}
	if err := want(got, map[string]string{"dkim": "pass", "dmarc": "pass"}); err != nil {
		t.Error(err)
	}
	if !got.Envelope.From.IsZero() || got.Message().Header.Value("Auto-Submitted") == "" {
		t.Errorf("the report comes from <%s>, Auto-Submitted %q", got.Envelope.From, got.Message().Header.Value("Auto-Submitted"))
	}
	return got
}

func plain(from, to, subject string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\n\r\nHello\r\n"
}

// A mail of Ann's that is refused comes back to where she reads her mail, signed.
func TestOwnUserHearsOfFailure(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	if err := w.submit("nobody@"+lab.LookoutDomain, plain("ann@"+w.domain, "nobody@lookout.example", "into the void")); err != nil {
		t.Fatal(err)
	}
	got := reportTo(t, w.BigMail.User(annsMailbox).Inbox)
	for _, part := range []string{"nobody@lookout.example", "Action: failed", "into the void"} {
		if !strings.Contains(string(got.Raw), part) {
			t.Errorf("the report does not have %q:\n%s", part, got.Raw)
		}
	}
}

// Carol learns that her mail to Ann failed, and nothing of where Ann reads her mail.
func TestReportHidesTheTarget(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	w.BigMail.User(annsMailbox).Set(lab.Gone)
	carol := "carol@" + lab.CorrespondentDomain
	if err := w.Correspondent.Send(soon(t), lab.Outgoing{From: carol, To: []string{"ann@" + w.domain}, Subject: "to Ann", Text: "Hello"}); err != nil {
		t.Fatal(err)
	}
	got := reportTo(t, w.Correspondent.User("carol").Inbox)
	if raw := strings.ToLower(string(got.Raw)); strings.Contains(raw, annsMailbox) || strings.Contains(raw, lab.BigMailDomain) {
		t.Errorf("the report tells where Ann reads her mail:\n%s", got.Raw)
	}
	if !strings.Contains(string(got.Raw), "ann@"+w.domain) {
		t.Errorf("the report does not name the address that was written to:\n%s", got.Raw)
	}
}

// Nobody vouches for the sender of a spoofed mail: when it cannot be forwarded, no innocent hears of it.
func TestNoBackscatter(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	if err := w.AddZone("victim.example", "@ MX 10 mx.lookout.example.\n"); err != nil {
		t.Fatal(err)
	}
	w.BigMail.User(annsMailbox).Set(lab.Gone)
	spoof := lab.Outgoing{From: "innocent@victim.example", Sender: "innocent@victim.example", To: []string{"ann@" + w.domain}, Subject: "spoof", Text: "x", Unsigned: true}
	if err := w.Correspondent.Send(soon(t), spoof); err != nil {
		t.Fatal(err)
	}
	// A report of an honest mail, sent after, shows that the spoofed one had its time.
	carol := lab.Outgoing{From: "carol@" + lab.CorrespondentDomain, To: []string{"ann@" + w.domain}, Subject: "honest", Text: "x"}
	if err := w.Correspondent.Send(soon(t), carol); err != nil {
		t.Fatal(err)
	}
	reportTo(t, w.Correspondent.User("carol").Inbox)
	if n := len(w.Lookout.User("bob").Mails()); n != 0 {
		t.Errorf("%d reports went to the domain that was spoofed", n)
	}
}

// A provider that takes a forwarded mail and bounces it later finds back to the sender.
func TestBounceFindsBack(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	forwarded, err := w.in(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	bounce := lab.Outgoing{
		From: "mailer-daemon@" + lab.BigMailDomain, Sender: "<>", To: []string{forwarded.Envelope.From.String()}, Subject: "it came back", Text: "full",
		Header: "Auto-Submitted: auto-replied\r\n",
	}
	if err := w.BigMail.Send(soon(t), bounce); err != nil {
		t.Fatal(err)
	}
	// What is no proper report could say anything, so that she gets one of ours (hidden_test.go).
	if got := string(reportTo(t, w.Correspondent.User("carol").Inbox).Raw); !strings.Contains(got, "an address at "+w.domain) || strings.Contains(got, lab.BigMailDomain) {
		t.Errorf("the report is\n%s", got)
	}
	abuse := bounce
	abuse.Sender, abuse.Header, abuse.From = "spammer@"+lab.BigMailDomain, "", "spammer@"+lab.BigMailDomain
	if err := w.BigMail.Send(soon(t), abuse); !mail.IsPermanent(err) {
		t.Errorf("mail that is no report, to a return address of ours: %v", err)
	}
}

// Ann's provider forwards back to us: the second time round the mail is refused, and ends.
func TestLoopEnds(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	ann := w.BigMail.User(annsMailbox)
	ann.Forward(mail.MustParseAddress("ann@" + w.domain))
	if _, err := w.in(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	for len(ann.Failures()) == 0 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	failures := ann.Failures()
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "5.4.6") {
		t.Errorf("the loop ended with %v", failures)
	}
	if n := len(ann.Mails()); n != 1 {
		t.Errorf("the mail came round %d times", n)
	}
}

// One domain that does not answer does not hold up another.
func TestSlowDomainHoldsNobodyUp(t *testing.T) {
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Queue.PerDomain, c.Queue.Concurrency = 2, 4 })
	sink, err := w.NewSink("slow.example")
	if err != nil {
		t.Fatal(err)
	}
	sink.Always(lab.AtHello, lab.Act{Then: lab.Stall})
	for range 6 {
		if err := w.submit("x@slow.example", plain("ann@"+w.domain, "x@slow.example", "slow")); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if _, err := w.out(soon(t)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("another domain's mail took %v", took)
	}
}

// Greylisting, a reply that is lost, a connection that breaks in the message: the mail arrives
// in the end, and twice only where the reply was lost.
func TestTroubleOnTheWay(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Queue.RetryFirst = Duration(300 * time.Millisecond) })
	for name, c := range map[string]struct {
		when lab.Moment
		act  lab.Act
	}{
		"greylisted":                 {lab.AtRcpt, lab.Act{Reply: "450 4.7.1 come back later"}},
		"refused for now":            {lab.AtEnd, lab.Act{Reply: "451 4.3.0 trouble", Discard: true}},
		"dropped in the message":     {lab.AtBody, lab.Act{Then: lab.Drop}},
		"dropped after the last dot": {lab.AtEnd, lab.Act{Discard: true, Mute: true, Then: lab.Drop}},
		"421 in the middle":          {lab.AtMail, lab.Act{Reply: "421 4.3.2 going down", Then: lab.Drop}},
		"TLS garbage":                {lab.AtSTARTTLS, lab.Act{Then: lab.Garbage}},
		"reset at connect":           {lab.AtConnect, lab.Act{Then: lab.Reset}},
	} {
		t.Run(name, func(t *testing.T) {
			domain := strings.ReplaceAll(strings.ToLower(name), " ", "-") + ".example"
			sink, err := w.NewSink(domain)
			if err != nil {
				t.Fatal(err)
			}
			sink.At(c.when, c.act)
			if err := w.submit("x@"+domain, plain("ann@"+w.domain, "x@"+domain, name)); err != nil {
				t.Fatal(err)
			}
			got, err := sink.Wait(soon(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 {
				t.Errorf("it came %d times", len(got))
			}
		})
	}
}

// Users change while the service runs; what cannot be understood changes nothing.
func TestUsersChangeAtOnce(t *testing.T) {
	w := testWorld(t)
	p := serveWith(t, w, func(c *config) { c.Users.Poll, c.Log.Level = Duration(time.Hour), "none" })
	send := func(to string) error {
		return w.Correspondent.Send(soon(t), lab.Outgoing{From: "carol@" + lab.CorrespondentDomain, To: []string{to + "@" + w.domain}, Subject: "x", Text: "x"})
	}
	if err := send("dave"); !mail.IsPermanent(err) {
		t.Errorf("mail to an unknown user: %v", err)
	}
	if err := w.addUser("dave", "bob@"+lab.LookoutDomain); err != nil {
		t.Fatal(err)
	}
	p.reloadAll()
	if err := send("dave"); err != nil {
		t.Errorf("mail to the new user: %v", err)
	}
	if err := os.WriteFile(filepath.Join(w.path("users"), "eve"), []byte(`{"tragets": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reloadAll()
	if err := send("dave"); err != nil {
		t.Errorf("mail to a user while another file is bad: %v", err)
	}
}
