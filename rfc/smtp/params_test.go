package smtp

import (
	"strings"
	"testing"

	"stagecoach/mail"
)

func TestParseMail(t *testing.T) {
	e, size, err := parseMail("from:<joe@far.example> SIZE=1000 body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb+20c AUTH=x+3Dy@far.example")
	want := mail.Envelope{
		From: mail.MustParseAddress("joe@far.example"), Body: mail.Body8BitMIME, UTF8: true,
		Return: mail.ReturnHeaders, ID: "a+b c", Submitter: "x=y@far.example",
	}
	if err != nil || size != 1000 || e.From != want.From || e.Body != want.Body || e.UTF8 != want.UTF8 ||
		e.Return != want.Return || e.ID != want.ID || e.Submitter != want.Submitter {
		t.Errorf("got %+v, %d, %v", e, size, err)
	}
	for args, code := range map[string]int{
		"FROM:<>":                             0,
		"FROM: <>":                            0,
		"FROM:<> ":                            0,
		`FROM:<"a b>"@c.example>`:             0,
		"FROM:<ö@far.example> SMTPUTF8":       0,
		"FROM:<> REQUIRETLS":                  0,
		"FROM:<> AUTH=<>":                     0,
		"FROM:<ö@far.example>":                553,
		"FROM:":                               501,
		"FROM:joe@far.example":                501,
		"FROM:<joe@far.example":               501,
		"FROM:<joe@far.example>SIZE=1":        501,
		"FROM:<joe@far.example>\tSIZE=1":      501,
		"TO:<joe@far.example>":                501,
		"FROM:<joe>":                          553,
		"FROM:<postmaster>":                   553,
		"FROM:<joe@@far.example>":             553,
		"FROM:<=?utf-8?q?a=40b?=@c.example>":  0, // an odd local part, and nothing else
		"FROM:<@a.example:joe@far.example>":   550,
		"FROM:<> SIZE":                        501,
		"FROM:<> SIZE=":                       501,
		"FROM:<> SIZE=-1":                     501,
		"FROM:<> SIZE=1 SIZE=2":               501,
		"FROM:<> BODY=9BIT":                   501,
		"FROM:<> SMTPUTF8=1":                  501,
		"FROM:<> RET=SOME":                    501,
		"FROM:<> ENVID=a+0Ab":                 501,
		"FROM:<> ENVID=" + long(101):          501,
		"FROM:<> AUTH=joe":                    501,
		"FROM:<> AUTH=a+0Db@c.example":        501,
		"FROM:<> BY=1;N":                      555,
		"FROM:<> =":                           501,
		"FROM:<> X==":                         501,
		"FROM:<> BODY=8BITMIME BODY=8BITMIME": 501,
	} {
		_, _, err := parseMail(args)
		checkCode(t, args, err, code)
	}
}

func TestParseRcpt(t *testing.T) {
	r, err := parseRcpt("TO:<Ann@US.example> NOTIFY=delay,FAILURE ORCPT=rfc822;Bob+2Bx@far.example", "us.example", false)
	if err != nil || r.Address.String() != "Ann@us.example" || r.Notify != mail.NotifyDelay|mail.NotifyFailure || r.Original != "rfc822;Bob+x@far.example" {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = parseRcpt(`TO:<ann@us.example> ORCPT=utf-8;r\x{F6}\x{2B}@far.example`, "us.example", false)
	if err != nil || r.Original != "utf-8;rö+@far.example" {
		t.Errorf("got %+v, %v", r, err)
	}
	for args, code := range map[string]int{
		"TO:<postmaster>": 0,
		"TO:<a@b.example> ORCPT=utf-8;ö@b.example": 553,
		"TO:<>":                                                       553,
		"TO:<a@[192.0.2.1]>":                                          0,
		"TO:<a@[IPv6:2001:db8::1]>":                                   0,
		"TO:<a@[192.0.2.256]>":                                        553,
		"TO:<a@b.example.>":                                           553,
		"TO:<a@b.example> NOTIFY=NEVER,DELAY":                         501,
		"TO:<a@b.example> NOTIFY=":                                    501,
		"TO:<a@b.example> NOTIFY=NEVER NOTIFY=NEVER":                  501,
		"TO:<a@b.example> NOTIFY=DELAY,DELAY":                         501,
		"TO:<a@b.example> ORCPT=x":                                    501,
		"TO:<a@b.example> ORCPT=rfc822;":                              501,
		"TO:<a@b.example> ORCPT=rfc822;a+0d+0a":                       501,
		`TO:<a@b.example> ORCPT=utf-8;\x{A}`:                          501,
		`TO:<a@b.example> ORCPT=utf-8;\x{110000}`:                     501,
		`TO:<a@b.example> ORCPT=utf-8;\x{D800}`:                       501,
		"TO:<a@b.example> ORCPT=rfc822;" + strings.Repeat("+41", 200): 501,
		"TO:<a@b.example> SIZE=1":                                     555,
	} {
		_, err := parseRcpt(args, "us.example", false)
		checkCode(t, args, err, code)
	}
}

func checkCode(t *testing.T, args string, err error, code int) {
	t.Helper()
	if err == nil && code != 0 || err != nil && mail.RefusalOf(err).Code != code {
		t.Errorf("%q: got %v, want %d", args, err, code)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestParseChunk(t *testing.T) {
	for args, ok := range map[string]bool{
		"0": true, "0 LAST": true, "12 last": true, "9223372036854775806": true,
		"": false, "LAST": false, "-1": false, "+1": false, "1 FIRST": false, "1 LAST LAST": false, "0x10": false, "1_0": false,
		"9223372036854775807": false, "18446744073709551616": false, "99999999999999999999": false, "000000000000000000000000001": false,
	} {
		if _, _, err := parseChunk(args); (err == nil) != ok {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestAppendReply(t *testing.T) {
	got := string(appendReply(nil, 550, "5.7.1", "go away\r\n250 ok\x1b ü"))
	if want := "550 5.7.1 go away??250 ok? ??\r\n"; got != want {
		t.Errorf("got %q", got)
	}
	text := strings.Repeat("many words ", 100)
	got = string(appendReply(nil, 550, "5.7.1", text))
	for i, line := range strings.SplitAfter(strings.TrimSuffix(got, "\r\n"), "\r\n") {
		last := !strings.HasSuffix(line, "\r\n")
		if len(line) > 512 || strings.HasPrefix(line, "550 5.7.1 ") != last || strings.HasPrefix(line, "550-5.7.1 ") == last {
			t.Errorf("line %d: %q", i, line)
		}
	}
	if joined := strings.NewReplacer("550-5.7.1 ", "", "550 5.7.1 ", "", "\r\n", " ").Replace(got); strings.TrimSpace(joined) != strings.TrimSpace(text) {
		t.Errorf("got %q", joined)
	}
}

// What is taken can be said again, and then means the same.
func FuzzParams(f *testing.F) {
	f.Add("FROM:<joe@far.example> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=<> REQUIRETLS")
	f.Add(`FROM:<"a\"b>"@[192.0.2.1]> AUTH=x+3Dy@z.example`)
	f.Add("TO:<ann@us.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.example")
	f.Add(`TO:<ö@us.example> ORCPT=utf-8;\x{F6}\x{5C}@c.example`)
	f.Add("TO:<Postmaster>")
	f.Fuzz(func(t *testing.T, args string) {
		if len(args) > maxCommand {
			return
		}
		if e, _, err := parseMail(args); err == nil {
			checkPrintable(t, e.From.Local(), e.ID, e.Submitter)
			if back, err := decodeXtext(encodeXtext(e.ID)); err != nil || back != e.ID {
				t.Errorf("ENVID %q came back as %q, %v", e.ID, back, err)
			}
			again, _, err := parseMail("FROM:<" + e.From.String() + "> SMTPUTF8")
			if err != nil || again.From != e.From {
				t.Errorf("%q came back as %q, %v", e.From, again.From, err)
			}
		}
		for _, utf8 := range []bool{false, true} {
			r, err := parseRcpt(args, "us.example", utf8)
			if err != nil {
				continue
			}
			checkPrintable(t, r.Local(), r.Original)
			again := "TO:<" + r.String() + ">"
			if r.Original != "" {
				again += " ORCPT=" + encodeOriginal(r.Original, utf8)
			}
			if len(again) > 400 { // what was short may be long when it is encoded
				continue
			}
			if back, err := parseRcpt(again, "us.example", utf8); err != nil || back.Address != r.Address || back.Original != r.Original {
				t.Errorf("%q came back as %+v, %v", again, back, err)
			}
		}
		_, _, _ = parseChunk(args)
	})
}

func checkPrintable(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if !isPrintable(s) {
			t.Errorf("%q was taken", s)
		}
	}
}
