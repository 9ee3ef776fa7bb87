package dsn

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
)

var update = flag.Bool("update", false, "write the expected reports")

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testReport(header string, to ...Recipient) *Report {
	h := mail.ParseHeader(header)
	return &Report{
		Reporter: "mx.stage.example", From: mail.MustParseAddress("postmaster@stage.example"),
		To: mail.MustParseAddress("ann@from.example"), Date: testTime, MessageID: "r1@mx.stage.example",
		Arrived: testTime.Add(-time.Hour), Recipients: to, Header: &h,
	}
}

const plainHeader = "Received: from x\r\n\tby y; date\r\nFrom: ann@from.example\r\nSubject: hello\r\nMessage-ID: <m1@from.example>\r\n\r\n"

func TestGolden(t *testing.T) {
	bob := mail.MustParseAddress("bob@to.example")
	utf8 := mail.MustParseAddress("jürgen@bücher.example")
	for name, r := range map[string]*Report{
		"failed": testReport(plainHeader, Recipient{
			Original: "rfc822;bob@to.example", Final: bob, Action: Failed, Status: "5.1.1", RemoteMTA: "mx.to.example",
			Diagnostic: "550 5.1.1 no such user", Attempted: testTime,
		}),
		"several": testReport(plainHeader,
			Recipient{Final: bob, Action: Failed, Status: "5.2.2", Diagnostic: "552 5.2.2 " + strings.Repeat("the mailbox is full ", 10)},
			Recipient{Final: mail.MustParseAddress(`"b c"@to.example`), Action: Failed, Status: "4.4.7"}),
		"delayed": testReport(plainHeader, Recipient{Final: bob, Action: Delayed, Status: "4.4.1", RetryUntil: testTime.Add(96 * time.Hour)}),
		"relayed": testReport(plainHeader, Recipient{Final: bob, Action: Relayed, Status: "2.0.0"}),
		"unnamed": testReport(plainHeader, Recipient{Unnamed: "an address at to.example", Action: Failed, Status: "5.1.1"},
			Recipient{Original: "rfc822;bob@to.example", Final: bob, Action: Delivered}),
		"no-final": testReport(plainHeader, Recipient{Original: "x400;/c=us/", Action: Failed, Status: "5.0.0"}),
		"hostile": testReport("Subject: a\x80\x00b\r\nMessage-ID: <a b>\r\nno colon\r\n\r\n", Recipient{
			Original: "rfc822;a\r\nAction: delivered", Final: bob, Action: Failed, Status: "5.1.1\r\nX: y",
			RemoteMTA: "evil\r\nX: y", Diagnostic: "550 a\r\n\r\n--=_report\r\n\x00\x1b[31m" + strings.Repeat("x", 2000),
		}),
		"ascii-of-utf8": testReport(plainHeader, Recipient{Original: "utf-8;jürgen@bücher.example", Final: utf8, Action: Failed, Status: "5.6.7"}),
		"utf8": func() *Report {
			r := testReport("Subject: grüß\r\n\r\n", Recipient{Original: "utf-8;jürgen@bücher.example", Final: utf8, Action: Failed, Status: "5.1.1", Diagnostic: "550 5.1.1 unbekannt: jürgen"})
			r.UTF8, r.EnvelopeID = true, "env+1"
			return r
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			m := r.Mail()
			checkForm(t, m)
			file := filepath.Join("testdata", name+".eml")
			got := m.Message.String()
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// checkForm checks what holds for every report.
func checkForm(t *testing.T, m *mail.Mail) {
	t.Helper()
	text := m.Message.String()
	if !m.Envelope.From.IsZero() {
		t.Errorf("from %v, not from the null path", m.Envelope.From)
	}
	if !Is(&m.Message.Header) {
		t.Error("Is does not know it")
	}
	for line := range strings.Lines(text) {
		if body, ok := strings.CutSuffix(line, "\r\n"); !ok || len(body) > 998 || strings.ContainsAny(body, "\r\n\x00") {
			t.Errorf("line %.80q", line)
		}
	}
	if !m.Envelope.UTF8 && !isASCII(text) {
		t.Error("not ASCII, and no SMTPUTF8")
	}
	if _, to, err := Parse(m.Message); err != nil || len(to) == 0 {
		t.Errorf("Parse: %v, %v", to, err)
	}
}

func TestParse(t *testing.T) {
	r := testReport(plainHeader,
		Recipient{Final: mail.MustParseAddress("bob@to.example"), Action: Failed, Status: "5.1.1", Diagnostic: "550 5.1.1 no"},
		Recipient{Final: mail.MustParseAddress("eve@to.example"), Action: Failed, Status: "4.4.7"})
	r.EnvelopeID = "id 1"
	id, to, err := Parse(r.Mail().Message)
	want := []Status{
		{Final: "rfc822; bob@to.example", Action: Failed, Status: "5.1.1", Diagnostic: "smtp; 550 5.1.1 no"},
		{Final: "rfc822; eve@to.example", Action: Failed, Status: "4.4.7"},
	}
	if diff := cmp.Diff(want, to); diff != "" || err != nil || id != "id 1" {
		t.Errorf("id %q, error %v, -want +got:\n%s", id, err, diff)
	}
}

func TestStatus(t *testing.T) {
	for s, want := range map[string]bool{"5.1.1": true, "4.4.999": true, "2.0.0": true, "5.1": false, "3.1.1": false, "5.1.1000": false, "5.1.-1": false, "5..1": false} {
		if IsStatus(s) != want {
			t.Errorf("IsStatus(%q) is %v", s, !want)
		}
	}
	if got := statusCode(Recipient{Action: Failed, Status: "2.0.0"}); got != "5.0.0" {
		t.Errorf("a failure with the status of a success has %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(testReport(plainHeader, Recipient{Final: mail.MustParseAddress("b@c.example"), Action: Failed, Status: "5.1.1"}).Mail().Message.String())
	f.Add("Content-Type: multipart/report; report-type=delivery-status; boundary=a\r\n\r\n--a\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nAction: failed\r\n\r\n--a--\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		m := mail.NewMessage([]byte(raw))
		_, to, err := Parse(m)
		if err == nil && (len(to) == 0 || len(to) > maxRecipients || !Is(&m.Header)) {
			t.Errorf("%d recipients", len(to))
		}
		if h, ok := Returned(m); ok && (h.Len() == 0 || h.Size() > maxReturned) {
			t.Errorf("a header of %d octets", h.Size())
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add("rfc822;a@b.example", "5.1.1", "550 no", "mx.example", "Subject: x\r\n\r\n", true)
	f.Add("utf-8;ü@b.example", "x", "550\r\nno\x00", "mx\r\n.", "Subject: ü\nx", false)
	f.Fuzz(func(t *testing.T, original, status, diagnostic, remote, header string, utf8 bool) {
		r := testReport(header, Recipient{Original: original, Final: mail.MustParseAddress("b@c.example"), Action: Failed, Status: status, Diagnostic: diagnostic, RemoteMTA: remote})
		r.UTF8, r.EnvelopeID = utf8, diagnostic
		m := r.Mail()
		checkForm(t, m)
		if _, to, _ := Parse(m.Message); len(to) != 1 || to[0].Action != Failed {
			t.Errorf("%d recipients", len(to))
		}
	})
}

func TestReturned(t *testing.T) {
	const head = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
	for name, c := range map[string]struct{ part, want string }{
		"header":           {"Content-Type: text/rfc822-headers\r\n\r\nSubject: hello\r\n there\r\n", "hello there"},
		"message":          {"Content-Type: message/rfc822\r\n\r\nA: b\r\nSubject: hello\r\n\r\nSubject: not this\r\n", "hello"},
		"base64":           {"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaGVsbG8NCg0KYm9keQ0K\r\n", "hello"},
		"quoted-printable": {"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: hel=\r\nlo=20\r\n", "hello"},
		"bare line feeds":  {"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYgpTdWJqZWN0OiBoZWxsbwoKYm9keQo=\r\n", "hello"},
		"no header in it":  {"Content-Type: message/rfc822\r\n\r\n\r\nSubject: body\r\n", ""},
		"no such part":     {"Content-Type: text/plain\r\n\r\nSubject: body\r\n", ""},
		"very long":        {"Content-Type: message/rfc822\r\n\r\nSubject: hello\r\nX: " + strings.Repeat("x\r\n x", maxReturned) + "\r\n", "hello"},
	} {
		h, ok := Returned(mail.NewMessage([]byte(head + c.part + "--b--\r\n")))
		if got := h.Value("Subject"); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	if _, ok := Returned(mail.NewMessage([]byte("Subject: x\r\n\r\nbody"))); ok {
		t.Error("an ordinary message returns something")
	}
}
