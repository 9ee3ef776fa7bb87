package verify

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dns"
)

func TestAdmit(t *testing.T) {
	v, _ := newVerifier(t, newWorld(t))
	v.Service = func(a mail.Address) bool { return a.Local() == "token" }
	for _, tt := range []struct {
		to     string
		code   int
		status string
	}{
		{"ann@our.example", 0, ""},
		{"ANN@OUR.example", 0, ""},
		{"ann+tag@our.example", 0, ""},
		{"cat@ours.example", 0, ""},
		{"postmaster@our.example", 0, ""},
		{"Postmaster@ours.example", 0, ""},
		{"abuse@our.example", 0, ""},
		{"SRS0=good=xy=a.example=b@our.example", 0, ""},
		{"SRS0=bad=xy=a.example=b@our.example", 550, "5.1.1"},
		{"bob@our.example", 550, "5.2.1"},
		{"fay@our.example", 450, "4.2.1"},
		{"token@our.example", 0, ""},
		{"token@other.example", 550, "5.7.1"},
		{"zoe@our.example", 550, "5.1.1"},
		{"cat@our.example", 550, "5.1.1"},
		{"ann@other.example", 550, "5.7.1"},
		{"postmaster@other.example", 550, "5.7.1"},
		{"SRS0=good=xy=a.example=b@other.example", 550, "5.7.1"},
		{"ann@sub.our.example", 550, "5.7.1"},
		{"ann@our.example.evil.example", 550, "5.7.1"},
		{"ann@[192.0.2.50]", 550, "5.7.1"},
		{"ann%other.example@our.example", 550, "5.1.1"},
		{"other.example!ann@our.example", 550, "5.1.1"},
		{`"ann@other.example"@our.example`, 550, "5.1.1"},
		{`"@other.example:ann"@our.example`, 550, "5.1.1"},
		{`"ann "@our.example`, 550, "5.1.1"},
	} {
		err := v.Admit(t.Context(), &mail.Mail{}, mail.MustParseAddress(tt.to))
		if code(err) != tt.code || err != nil && mail.RefusalOf(err).Status != tt.status {
			t.Errorf("%s: %v, want %d %s", tt.to, err, tt.code, tt.status)
		}
	}
	if err := v.Admit(t.Context(), &mail.Mail{}, mail.Address{}); code(err) != 550 {
		t.Errorf("null path: %v", err)
	}
	domains := &Verifier{Domains: []string{"our.example"}}
	if err := domains.Admit(t.Context(), &mail.Mail{}, mail.MustParseAddress("zoe@our.example")); err != nil {
		t.Errorf("without accounts: %v", err)
	}
	if err := domains.Admit(t.Context(), &mail.Mail{}, mail.MustParseAddress("zoe@other.example")); code(err) != 550 {
		t.Errorf("relaying without accounts: %v", err)
	}
}

func TestLabels(t *testing.T) {
	const from = "From: Lea <lea@legit.example>\nSubject: x\n"
	for _, tt := range []struct {
		name string
		in   incoming
		code int
		want string
	}{
		{"all in order", incoming{legitIP, "mail.legit.example", "lea@legit.example", from, []string{"legit.example"}},
			0, "iprev=pass spf=pass spf=pass dkim=pass dmarc=pass"},
		{"by SPF", incoming{legitIP, "mail.legit.example", "lea@legit.example", from, nil},
			0, "iprev=pass spf=pass spf=pass dkim=none dmarc=pass"},
		{"forwarded, by DKIM", incoming{attackIP, "mx.attack.example", "srs@attack.example", from, []string{"legit.example"}},
			0, "iprev=pass spf=pass spf=pass dkim=pass dmarc=pass"},
		{"two signatures", incoming{attackIP, "mx.attack.example", "srs@attack.example", from, []string{"legit.example", "attack.example"}},
			0, "iprev=pass spf=pass spf=pass dkim=pass dkim=pass dmarc=pass"},
		{"bounce", incoming{legitIP, "mail.legit.example", "", from, nil},
			0, "iprev=pass spf=pass spf=pass dkim=none dmarc=pass"},
		{"forged, p=reject", incoming{attackIP, "mx.attack.example", "x@attack.example", from, []string{"attack.example"}}, 550, ""},
		{"forged, p=none", incoming{attackIP, "mx.attack.example", "lea@weak.example", "From: lea@weak.example\n", nil},
			0, "iprev=pass spf=pass spf=softfail dkim=none dmarc=fail"},
		{"forged, p=quarantine", incoming{attackIP, "mx.attack.example", "lea@soft.example", "From: lea@soft.example\n", nil},
			0, "iprev=pass spf=pass spf=softfail dkim=none dmarc=fail"},
		{"no records", incoming{netip.MustParseAddr("203.0.113.9"), "[203.0.113.9]", "lea@plain.example", "From: lea@plain.example\n", nil},
			0, "iprev=permerror spf=none spf=none dkim=none dmarc=none"},
		{"unix socket", incoming{netip.Addr{}, "mail.legit.example", "lea@plain.example", "From: lea@plain.example\n", nil},
			0, "spf=none spf=none dkim=none dmarc=none"},
		{"odd message", incoming{legitIP, "mail.legit.example", "lea@legit.example", from + "no colon here\nX: \x80\xff\n", nil},
			0, "iprev=pass spf=pass spf=pass dkim=none dmarc=pass"},
	} {
		v, s := newVerifier(t, newWorld(t))
		err := v.Handle(t.Context(), tt.in.mail(t))
		if code(err) != tt.code {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.code)
			continue
		}
		if err != nil {
			if s.got != nil {
				t.Errorf("%s: refused and passed on", tt.name)
			}
			continue
		}
		if got := values(topResults(t, s.got)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestHeaderAndEnvelope(t *testing.T) {
	v, s := newVerifier(t, newWorld(t))
	const rest = "From: lea@legit.example\nX-Loop: kept\nSubject: x\n"
	m := incoming{legitIP, "mail.legit.example", "lea@legit.example", "Authentication-Results: mx.our.example; dmarc=pass\n" +
		"Authentication-Results: mx2.our.example; dmarc=pass\nAuthentication-Results: other.example; dmarc=pass\n" +
		"X-Spamtacus: no\nX-Spam-Status: No, x\nX-spam-flag: NO\nReceived-SPF: pass (mx.our.example: x) receiver=mx.our.example\n" +
		"Received-SPF: pass receiver=other.example; x=y\nReceived-SPF: pass\n" + rest, nil}.mail(t)
	m.Peer.TLS = new(tls.ConnectionState)
	m.Envelope.Submitter = "root@our.example"
	m.Envelope.RequireTLS, m.Envelope.UTF8, m.Envelope.ID = true, true, "id"
	if err := v.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := s.got
	if got.Peer != (mail.Peer{}) || got.Envelope.Submitter != "" {
		t.Errorf("peer or submitter was passed on: %+v %q", got.Peer, got.Envelope.Submitter)
	}
	if !got.Envelope.RequireTLS || !got.Envelope.UTF8 || got.Envelope.ID != "id" || got.Envelope.From.String() != "lea@legit.example" {
		t.Errorf("the envelope was changed: %+v", got.Envelope)
	}
	want := strings.ReplaceAll(`Authentication-Results: mx.our.example;
	iprev=pass (mail.legit.example) policy.iprev=192.0.2.1;
	spf=pass smtp.helo=mail.legit.example;
	spf=pass smtp.mailfrom=lea@legit.example;
	dkim=none;
	dmarc=pass (p=reject dis=none) header.from=legit.example;
	arc=none smtp.remote-ip=192.0.2.1
Received-SPF: pass (mx.our.example: domain of lea@legit.example designates 192.0.2.1 as permitted sender)
	client-ip=192.0.2.1;
	envelope-from="lea@legit.example";
	helo=mail.legit.example;
	identity=mailfrom;
	mechanism="ip4:192.0.2.1";
	receiver=mx.our.example
Received: from x by mx.our.example; Sat, 21 Nov 2026 20:00:00 +0000
Authentication-Results: other.example; dmarc=pass
Received-SPF: pass receiver=other.example; x=y
`+rest+"\nHello\n", "\n", "\r\n")
	if text := got.Message.String(); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestDMARCReject(t *testing.T) {
	forged := incoming{attackIP, "mx.attack.example", "x@attack.example", "From: lea@legit.example\n", nil}
	v, s := newVerifier(t, newWorld(t))
	err := v.Handle(t.Context(), forged.mail(t))
	if r := mail.RefusalOf(err); r.Code != 550 || r.Status != "5.7.1" || !strings.Contains(r.Text, "DMARC policy of legit.example") {
		t.Errorf("%v", err)
	} else if cause := r.Cause.Error(); !strings.Contains(cause, "client 198.51.100.66") {
		t.Errorf("the log reads %q", cause)
	}
	v.LabelOnly = true
	if err := v.Handle(t.Context(), forged.mail(t)); err != nil {
		t.Fatal(err)
	}
	if raw := s.got.Message.String(); !strings.Contains(raw, "dmarc=fail (p=reject dis=none) header.from=legit.example") {
		t.Errorf("label: %s", raw)
	}
}

// Outside mail that claims a domain of ours proves it or is refused, whatever the policy
// (reliability.md S18).
func TestOurDomainsFromOutside(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   incoming
		code int
	}{
		{"From, p=none", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: ann@our.example\n", nil}, 550},
		{"From, no record", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: cat@ours.example\n", nil}, 550},
		{"From, other signature", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: cat@ours.example\n", []string{"attack.example"}}, 550},
		{"MAIL FROM alone", incoming{attackIP, "mx.attack.example", "cat@ours.example", "From: x@attack.example\n", []string{"attack.example"}}, 550},
		{"both", incoming{attackIP, "mx.attack.example", "cat@ours.example", "From: cat@ours.example\n", nil}, 550},
		{"one of ours for another", incoming{attackIP, "mx.attack.example", "cat@ours.example", "From: ann@our.example\n", []string{"our.example"}}, 550},
		{"bounce from us", incoming{attackIP, "our.example", "", "From: postmaster@our.example\n", nil}, 550},
		{"our host name bounces", incoming{attackIP, "mx.our.example", "", "From: postmaster@mx.our.example\n", nil}, 550},
		{"below our domain", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: ceo@sales.our.example\n", []string{"attack.example"}}, 550},
		{"below our domain, signed by us", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: ceo@sales.our.example\n", []string{"our.example"}}, 0},
		{"below our other domain, which lends nothing", incoming{attackIP, "mx.attack.example", "x@attack.example", "From: x@sales.ours.example\n", nil}, 0},
		{"our own host outside", incoming{netip.MustParseAddr("192.0.2.50"), "h.example", "cat@ours.example", "From: cat@ours.example\n", nil}, 0},
		{"our signature comes back", incoming{attackIP, "mx.attack.example", "list@attack.example", "From: cat@ours.example\n", []string{"ours.example"}}, 0},
		{"our signature, our sender", incoming{attackIP, "mx.attack.example", "cat@ours.example", "From: cat@ours.example\n", []string{"ours.example"}}, 0},
	} {
		for _, labelOnly := range []bool{false, true} {
			v, _ := newVerifier(t, newWorld(t))
			v.LabelOnly = labelOnly
			if err := v.Handle(t.Context(), tt.in.mail(t)); code(err) != tt.code {
				t.Errorf("%s: %v, want %d", tt.name, err, tt.code)
			}
		}
	}
}

func TestNextDecides(t *testing.T) {
	v, _ := newVerifier(t, newWorld(t))
	later := errors.New("disk")
	v.Next = handlerError{later}
	in := incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\n", nil}
	if err := v.Handle(t.Context(), in.mail(t)); !errors.Is(err, later) {
		t.Errorf("%v", err)
	}
}

func TestPanicIsTemporary(t *testing.T) {
	v, s := newVerifier(t, panicker{})
	in := incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\n", nil}
	if err := v.Handle(t.Context(), in.mail(t)); code(err) != 451 || s.got != nil {
		t.Errorf("%v", err)
	}
}

// Hostile mail costs a bounded number of queries (S22, S23).
func TestQueriesAreBounded(t *testing.T) {
	names := newWorld(t)
	names.Add(`evil.example TXT "v=spf1 mx:a.evil.example mx:b.evil.example exists:%{i}.evil.example include:legit.example include:evil.example"`)
	for _, host := range strings.Fields("a b c d e f g h i j") {
		names.Add("a.evil.example MX 10 " + host + ".x.example.\nb.evil.example MX 10 " + host + ".y.example.\n" +
			host + ".x.example A 203.0.113.1\n" + host + ".y.example A 203.0.113.1\n66.100.51.198.in-addr.arpa PTR " + host + ".z.example.")
	}
	text := "From: x@a.b.c.d.e.f.g.h.i.evil.example\n"
	for range 200 {
		text = "DKIM-Signature: v=1; a=rsa-sha256; d=" + strings.Repeat("x.", 20) + "evil.example; s=s1; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\n" + text
	}
	v, _ := newVerifier(t, names)
	if err := v.Handle(t.Context(), incoming{attackIP, "evil.example", "x@evil.example", text, nil}.mail(t)); err != nil {
		t.Fatal(err)
	}
	if n := names.Total(); n > 60 {
		t.Errorf("%d queries", n)
	}
}

// A hostile header costs little time (S15).
func TestHostileHeaderIsCheap(t *testing.T) {
	for name, text := range map[string]string{
		"comments":     "Authentication-Results: " + strings.Repeat("(", 200<<10) + "\n",
		"quotes":       "Authentication-Results: " + strings.Repeat("\\\"", 100<<10) + "\n",
		"many results": strings.Repeat("Authentication-Results: mx.our.example; dkim=pass\n", 900),
		"long SPF":     "Received-SPF: " + strings.Repeat("receiver=", 20<<10) + "\n",
		"signatures":   strings.Repeat("DKIM-Signature: v=1; "+strings.Repeat("h=from:", 30)+"\n", 900),
		"subject":      "Subject: " + strings.Repeat("=?utf-8?q?x?= ", 15<<10) + "\n",
		"labels":       "X-Spam-Status: " + strings.Repeat("\n a", 60<<10) + "\n",
	} {
		v, _ := newVerifier(t, newWorld(t))
		m := incoming{legitIP, "mail.legit.example", "lea@legit.example", text + "From: lea@legit.example\n", nil}.mail(t)
		start := time.Now()
		if err := v.Handle(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

var _ dns.Exchanger = panicker{}

// Whatever a stranger sends is refused or labelled by us, once.
func FuzzHandle(f *testing.F) {
	for _, e := range evasions {
		f.Add(e.helo, e.text)
	}
	names := newWorld(f)
	f.Fuzz(func(t *testing.T, helo, text string) {
		v, s := newVerifier(t, names)
		v.LabelOnly = true
		m := incoming{ip: legitIP, from: "lea@legit.example"}.mail(t)
		m.Peer.Hello = helo
		m.Message = mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
		if err := v.Handle(t.Context(), m); err != nil {
			return
		}
		topResults(t, s.got)
		ours := 0
		for field := range s.got.Message.Header.Fields(authres.FieldName) {
			if r, err := authres.Parse(field.Value()); err == nil && v.isOurs(strings.ToLower(r.ID)) {
				ours++
			}
		}
		if ours != 1 {
			t.Fatalf("%d results in our name", ours)
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	v, _ := newVerifier(b, newWorld(b))
	m := incoming{legitIP, "mail.legit.example", "lea@legit.example", "From: lea@legit.example\nSubject: x\n", []string{"legit.example"}}.mail(b)
	for b.Loop() {
		if err := v.Handle(b.Context(), m.Clone()); err != nil {
			b.Fatal(err)
		}
	}
}
