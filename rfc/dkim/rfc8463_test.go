package dkim

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
)

// message makes a message of text with LF line ends.
func message(text string) *mail.Message {
	return mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
}

// The mail of RFC 8463 appendix A.3, signed by both algorithms.
const football = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

`

const footballZone = `
brisbane._domainkey.football.example.com. 60 IN TXT "v=DKIM1; k=ed25519; " "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
test._domainkey.football.example.com. 60 IN TXT "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR" "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
`

// The Ed25519 private key of RFC 8463 appendix A.2.
func footballKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	seed, err := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func TestRFC8463(t *testing.T) {
	names := dnstest.Zone(t, footballZone)
	got := Verify(t.Context(), message(football), names, Options{})
	want := []Result{
		{Status: Pass, Domain: "football.example.com", Selector: "brisbane", Identity: "@football.example.com",
			Algorithm: "ed25519-sha256", Prefix: "/gCrinpc", Bits: 256},
		{Status: Pass, Domain: "football.example.com", Selector: "test", Identity: "@football.example.com",
			Algorithm: "rsa-sha256", Prefix: "F45dVWDf", Bits: 1024},
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if !Holds("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", footballKey(t).Public()) {
		t.Error("the private key of appendix A.2 is not that of the record")
	}
}

// Ed25519 signatures are deterministic, so what we sign over the same fields is the same but
// for the order and form of the tags; it verifies under the RFC's record.
func TestRFC8463Signing(t *testing.T) {
	m := message(football[strings.Index(football, "From:"):])
	fields, err := Sign(m, Signer{
		Domain: "football.example.com", Selector: "brisbane", Key: footballKey(t),
		Identity: "@football.example.com", Time: time.Unix(1528637909, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(fields...)
	got := Verify(t.Context(), m, dnstest.Zone(t, footballZone), Options{})
	if len(got) != 1 || got[0].Status != Pass {
		t.Errorf("got %+v", got)
	}
	if want := "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="; !strings.Contains(fields[0].Raw(), want) {
		t.Errorf("no %s in %s", want, fields[0].Raw())
	}
}

// The mail of RFC 6376 appendix A.2, with the indentation of errata 4926 and the one blank of
// errata 3192, without which it does not verify.
const brisbane = `DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
        4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
        KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
        4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
`

const brisbaneZone = `
brisbane._domainkey.example.com. 60 IN TXT "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ" "KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v" "/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi" "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
`

func TestRFC6376(t *testing.T) {
	names := dnstest.Zone(t, brisbaneZone)
	want := Result{Status: Pass, Domain: "example.com", Selector: "brisbane", Identity: "joe@football.example.com",
		Algorithm: "rsa-sha256", Prefix: "AuUoFEfD", Bits: 1024}
	if got := Verify(t.Context(), message(brisbane), names, Options{}); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, change := range [][2]string{
		{"Suzie Q <", "Suzie  Q <"}, // simple means every octet
		{"From: Joe", "from: Joe"},
		{"Joe.\n", "Joe. \n"},
		{"game. Are", "game.  Are"},
	} {
		text := strings.Replace(brisbane, change[0], change[1], 1)
		if text == brisbane {
			continue
		}
		if got := Verify(t.Context(), message(text), names, Options{}); got[0].Status != Fail {
			t.Errorf("%q for %q: got %+v, want fail", change[1], change[0], got)
		}
	}
}

// RFC 6376 section 3.4.5 has this message in each canonical form.
func TestRFC6376Canonicalization(t *testing.T) {
	m := message("A: X\nB : Y\t\n\tZ  \n\n C \nD \t E\n\n\n")
	for _, c := range []struct {
		canon        Canon
		header, body string
	}{
		{Relaxed, "a:X\r\nb:Y Z\r\n", " C\r\nD E\r\n"},
		{Simple, "A: X\r\nB : Y\t\r\n\tZ  \r\n", " C \r\nD \t E\r\n"},
	} {
		var header []byte
		for f := range m.Header.All() {
			header = c.canon.AppendField(header, f)
		}
		if string(header) != c.header {
			t.Errorf("%v header %q, want %q", c.canon, header, c.header)
		}
		if got := naiveBody(c.canon, " C \r\nD \t E\r\n\r\n\r\n"); got != c.body {
			t.Errorf("%v body %q, want %q", c.canon, got, c.body)
		}
		checkBody(t, c.canon, " C \r\nD \t E\r\n\r\n\r\n", 1)
	}
}
