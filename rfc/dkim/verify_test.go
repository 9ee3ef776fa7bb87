package dkim

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
)

const edRecord = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

// forge signs m with the Ed25519 key as the tags say, whatever they say, and prepends the
// result: d=, s= and h= with their defaults are added when missing, bh= and b= are true.
func forge(t testing.TB, m *mail.Message, tags string) {
	t.Helper()
	for name, missing := range map[string]string{
		"v": "1", "a": ed25519SHA256, "c": "relaxed/relaxed", "d": "example.org", "s": "ed", "h": "From:Subject",
	} {
		if !strings.Contains(";"+strings.ReplaceAll(tags, " ", ""), ";"+name+"=") {
			tags += "; " + name + "=" + missing
		}
	}
	tags = strings.TrimPrefix(tags, "; ")
	sums, err := sumBody(m, [2]bool{true, true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tags, "bh=") {
		tags += "; bh=" + encode(sums[Relaxed].digest)
	}
	list, err := parseTags(tags)
	if err != nil {
		m.Header.Prepend(mail.NewField("DKIM-Signature", tags+"; b=AAAA"))
		return
	}
	var names []string
	for _, n := range splitList(list.get("h", "")) {
		names = append(names, lowerName(n))
	}
	set := newFieldSet(&m.Header)
	text := []byte(nil)
	for _, at := range set.choose(names, -1) {
		text = append(text, set.form(Relaxed, at)...)
	}
	text = append(text, Relaxed.AppendField(nil, mail.NewField("DKIM-Signature", tags+"; b="))...)
	digest := sha(text[:len(text)-2])
	value, err := footballKey(t).Sign(nil, digest, noHash)
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(mail.NewField("DKIM-Signature", tags+"; b="+encode(value)))
}

// Signatures that are true but for what the case says.
func TestVerifyTags(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		tags   string
		status Status
		reason string
	}{
		{"", Pass, ""},
		{"q=dns/txt:http", Pass, ""},
		{"z=From:a@example.org|Subject:s; foo=bar", Pass, ""},
		{"i=ann@sub.example.org", Pass, ""},
		{"i==41nn=20lee@example.org", Pass, ""},
		{"D=other.example", Pass, ""}, // names of tags have case
		{"d=EXAMPLE.org; s=ED", Pass, ""},
		{"x=1700000000", Pass, ""},
		{"l=3", Pass, ""},       // covers all of it
		{"c=relaxed", Pass, ""}, // and simple for the body, which is the same here

		{"l=2", Policy, "only the beginning of the body is signed"},
		{"l=0", Policy, "only the beginning of the body is signed"},
		{"l=4", Fail, "the body is shorter than what was signed"},
		{"l=99999999999999999999999999999999999999", Fail, "the body is shorter than what was signed"},
		{"l=-1", Neutral, "the signature is malformed"},
		{"x=1699999999", Fail, "the signature has expired"},
		{"t=1699999999; x=1699999998", Neutral, "the signature is malformed"},
		{"x=tomorrow", Neutral, "the signature is malformed"},
		{"h=Subject", PermError, "From is not signed"},
		{"h=From:", Neutral, "the signature is malformed"},
		{"a=rsa-sha1", PermError, "SHA-1 proves nothing"},
		{"a=rsa-sha512", PermError, "unknown algorithm"},
		{"a=rsa-sha256", PermError, "the key is of another kind than the signature"},
		{"q=http", PermError, "the key is not in the DNS"},
		{"v=2", Neutral, "the signature is malformed"},
		{"v=1; v=1", Neutral, "the signature is malformed"},
		{"d=example.org; d=victim.example", Neutral, "the signature is malformed"},
		{"c=nowsp", Neutral, "the signature is malformed"},
		{"i=ann@example.com", Neutral, "the signature is malformed"},
		{"i=ann@notexample.org", Neutral, "the signature is malformed"},
		{"i=ann", Neutral, "the signature is malformed"},
		{"i=ann=0D=0A@example.org", Neutral, "the signature is malformed"},
		{"d=", Neutral, "the signature is malformed"},
		{"d=[192.0.2.1]", Neutral, "the signature is malformed"},
		{"d=example.org.", Neutral, "the signature is malformed"},
		{"d=-example.org", Neutral, "the signature is malformed"},
		{"d=example.org@victim.example", Neutral, "the signature is malformed"},
		{"d=example.org victim.example", Neutral, "the signature is malformed"},
		{"d=" + strings.Repeat("a.", 130) + "org", Neutral, "the signature is malformed"},
		{"s=", Neutral, "the signature is malformed"},
		{"s=a b", Neutral, "the signature is malformed"},
		{"s=a..b", Neutral, "the signature is malformed"},
		{"s=" + strings.Repeat("a.", 118) + "a", Neutral, "the signature is malformed"},
		{"bh=!!!!", Neutral, "the signature is malformed"},
		{"bh=AAAA", Fail, "the body was changed"},
		{strings.Repeat("; tag", 1), Neutral, "the signature is malformed"},
		{manyTags(70), Neutral, "the signature is malformed"},
	} {
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		forge(t, m, c.tags)
		names := keys(t, map[string]string{"ed._domainkey.example.org": edRecord})
		got := Verify(t.Context(), m, names, Options{Now: now})[0]
		if got.Status != c.status || got.Reason != c.reason {
			t.Errorf("%.80q: got %s (%s) %v, want %s (%s)", c.tags, got.Status, got.Reason, got.Err, c.status, c.reason)
		}
	}
}

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("; t" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + "=1")
	}
	return b.String()
}

// Where other readers stop at a NUL or a blank, we see no domain at all (reliability.md, S17).
func TestVerifyTruncation(t *testing.T) {
	names := keys(t, map[string]string{
		"ed._domainkey.example.org":           edRecord,
		"ed._domainkey.example.org.evil.test": edRecord,
	})
	for _, tags := range []string{
		"d=example.org\x00.evil.test", "d=example.org\\0.evil.test", "d=example.org\r.evil.test",
		"d=example.org\t.evil.test", "d=example.org\xff.evil.test", "d=example.org(.evil.test",
		"s=ed\x00.x", "s=ed._domainkey.example.org.\x00", "s=ed.\xe2\x80\xae", "s=ed/../x", "d=example.org#.evil.test",
	} {
		m := mail.NewMessage([]byte("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; h=From; bh=AAAA; b=AAAA; " +
			add(tags, "d=", "; d=example.org") + add(tags, "s=", "; s=ed") + "\r\nFrom: a@example.org\r\n\r\nx\r\n"))
		got := Verify(t.Context(), m, names, Options{})[0]
		if got.Status != Neutral {
			t.Errorf("%q: got %+v, want neutral", tags, got)
		}
		if strings.ContainsAny(got.Domain+got.Selector+got.Identity, "\x00\r\n\t \\(") {
			t.Errorf("%q: a result that is not safe to print: %+v", tags, got)
		}
	}
	if names.Total() != 0 {
		t.Errorf("%d look-ups were made", names.Total())
	}
}

func add(tags, name, missing string) string {
	if strings.HasPrefix(tags, name) {
		return tags
	}
	return strings.TrimPrefix(missing, ";")
}

func TestVerifyKeys(t *testing.T) {
	const p = "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	const other = "p=AAAAAAKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	for _, c := range []struct {
		record string
		status Status
		reason string
	}{
		{edRecord, Pass, ""},
		{"h=sha256; v=DKIM1; " + p + "; k=ed25519;", Pass, ""}, // the reference's order
		{" k = ed25519 ; " + p + " ; n=notes; g=nobody; x_y=1 ", Pass, ""},
		{"k=ED25519; s=email; t=y:s; h=sha1:sha256; " + p, Pass, ""},
		{"k=ed25519; s=tlsrpt:*; " + p, Pass, ""},
		{"v=spf1 -all\n" + edRecord, Pass, ""},
		{"k=ed25519; " + other + "\n" + edRecord, Pass, ""},
		{"k=ed25519; p=\n" + edRecord, Pass, ""},
		{"k=ed25519; p=", PermError, "the key is revoked"},
		{"p=", PermError, "the key is revoked"},
		{"k=ed25519; " + other, Fail, "the signature does not verify"},
		{"k=rsa; " + p, PermError, "the key is malformed or not for mail"},
		{"k=dsa; " + p, PermError, "the key is malformed or not for mail"},
		{p, PermError, "the key is malformed or not for mail"},
		{"k=ed25519; p=!!", PermError, "the key is malformed or not for mail"},
		{"k=ed25519; p=AAAA", PermError, "the key is malformed or not for mail"},
		{"k=ed25519; s=tlsrpt; " + p, PermError, "the key is malformed or not for mail"},
		{"k=ed25519; h=sha1; " + p, PermError, "the key is not for SHA-256"},
		{"v=DKIM2; k=ed25519; " + p, PermError, "the key is malformed or not for mail"},
		{"k=ed25519; k=ed25519; " + p, PermError, "the key is malformed or not for mail"},
		{"v=spf1 -all", PermError, "the key is malformed or not for mail"},
		{"k=ed25519; " + p + "; n=" + strings.Repeat("n", 9000), PermError, "the key is malformed or not for mail"},
	} {
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		forge(t, m, "")
		got := Verify(t.Context(), m, keys(t, map[string]string{"ed._domainkey.example.org": c.record}), Options{})[0]
		if got.Status != c.status || got.Reason != c.reason {
			t.Errorf("%.80q: got %s (%s) %v, want %s (%s)", c.record, got.Status, got.Reason, got.Err, c.status, c.reason)
		}
		if got.Testing != strings.Contains(c.record, "t=y") {
			t.Errorf("%.80q: testing is %v", c.record, got.Testing)
		}
	}
}

// With t=s the AUID has the domain itself.
func TestVerifyStrictKey(t *testing.T) {
	names := keys(t, map[string]string{"ed._domainkey.example.org": "t=s; " + edRecord[len("v=DKIM1; "):]})
	for tags, want := range map[string]Status{"i=ann@example.org": Pass, "i=ann@sub.example.org": PermError} {
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		forge(t, m, tags)
		if got := Verify(t.Context(), m, names, Options{})[0]; got.Status != want {
			t.Errorf("%s: got %+v, want %s", tags, got, want)
		}
	}
}

// Trouble with the DNS is never "fail", and no key is never temporary.
func TestVerifyDNSTrouble(t *testing.T) {
	for how, want := range map[dnstest.Failure]Status{
		0: PermError, dnstest.ServFail: TempError, dnstest.Refused: TempError, dnstest.Timeout: TempError,
		dnstest.Garbage: TempError, dnstest.Lame: TempError,
	} {
		names := dnstest.Zone(t, "example.org. 60 IN A 192.0.2.1")
		if how != 0 {
			names.Fail("ed._domainkey.example.org.", how)
		}
		m := message("From: ann@example.org\nSubject: s\n\nx\n")
		forge(t, m, "")
		if got := Verify(t.Context(), m, names, Options{})[0]; got.Status != want || got.Err == nil {
			t.Errorf("failure %d: got %+v, want %s", how, got, want)
		}
	}
}

func TestVerifyNone(t *testing.T) {
	for _, text := range []string{"From: a@example.org\n\nx\n", "", "\n", "no field\n\n"} {
		got := Verify(t.Context(), message(text), keys(t, nil), Options{})
		if len(got) != 1 || got[0] != (Result{Status: None}) {
			t.Errorf("%q: got %+v, want none", text, got)
		}
	}
}

func TestVerifyTwoFroms(t *testing.T) {
	for _, text := range []string{"From: ann@example.org\nFrom: bob@example.org\nSubject: s\n\nx\n", "Subject: s\n\nx\n"} {
		m := message(text)
		forge(t, m, "")
		names := keys(t, map[string]string{"ed._domainkey.example.org": edRecord})
		if got := Verify(t.Context(), m, names, Options{})[0]; got.Status != Policy {
			t.Errorf("%q: got %+v, want policy", text, got)
		}
	}
}

// brokenBody fails in the middle.
type brokenBody struct{}

var errBroken = errors.New("the disk is gone")

func (brokenBody) ReadAt(p []byte, off int64) (int, error) {
	if off > 40<<10 {
		return 0, errBroken
	}
	return len(p), nil
}

var _ io.ReaderAt = brokenBody{}

func TestBrokenBody(t *testing.T) {
	m := mail.NewMessageFrom("From: ann@example.org\r\nSubject: s\r\n\r\n", brokenBody{}, 1<<20, nil)
	ring := newKeyring(t)
	if _, err := Sign(m, ring.signers...); !errors.Is(err, errBroken) {
		t.Errorf("signing a body that cannot be read: %v", err)
	}
	whole := message("From: ann@example.org\nSubject: s\n\nx\n")
	forge(t, whole, "")
	m.Header = whole.Header
	got := Verify(t.Context(), m, keys(t, map[string]string{"ed._domainkey.example.org": edRecord}), Options{})[0]
	if got.Status != TempError || !errors.Is(got.Err, errBroken) {
		t.Errorf("verifying a body that cannot be read: %+v", got)
	}
}
