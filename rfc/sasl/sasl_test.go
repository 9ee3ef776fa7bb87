package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

func onlyUser(_ context.Context, name, password string) (string, error) {
	if strings.EqualFold(strings.TrimSuffix(name, "@x.example"), "user") && password == "pencil" {
		return "user@x.example", nil
	}
	return "", ErrDenied
}

// talk plays the client's messages, nil for none, and returns the challenges and the end.
func talk(t *testing.T, x Exchange, messages ...string) (challenges []string, err error) {
	t.Helper()
	for i, m := range messages {
		in := []byte(m)
		if m == "(none)" {
			in = nil
		}
		c, done, err := x.Next(t.Context(), in)
		if err != nil {
			return challenges, err
		}
		challenges = append(challenges, string(c))
		if done != (i == len(messages)-1) {
			t.Fatalf("message %d: done is %v", i, done)
		}
	}
	return challenges, nil
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		response string
		want     error
	}{
		{"\x00user\x00pencil", nil},
		{"\x00USER@x.example\x00pencil", nil},
		{"user\x00user\x00pencil", nil},
		{"User@X.example\x00user\x00pencil", nil},
		{"other\x00user\x00pencil", ErrDenied},
		{"\x00user\x00Pencil", ErrDenied},
		{"\x00user\x00", ErrDenied},
		{"\x00\x00pencil", ErrDenied},
		{"", ErrSyntax},
		{"user\x00pencil", ErrSyntax},
		{"\x00user\x00pen\x00cil", ErrSyntax},
		{"\x00us\r\ner\x00pencil", ErrSyntax},
		{"\x00us\xffer\x00pencil", ErrSyntax},
		{"\x00user\x00" + strings.Repeat("x", MaxPassword+1), ErrDenied},
		{"\x00" + strings.Repeat("x", MaxName+1) + "\x00pencil", ErrDenied},
	} {
		for _, messages := range [][]string{{c.response}, {"(none)", c.response}} {
			x := NewPlain(onlyUser)
			if _, err := talk(t, x, messages...); !errors.Is(err, c.want) {
				t.Errorf("%q: %v, want %v", c.response, err, c.want)
			}
			if got := x.User(); (got == "user@x.example") != (c.want == nil) {
				t.Errorf("%q: user is %q", c.response, got)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		messages []string
		want     error
	}{
		{[]string{"(none)", "user", "pencil"}, nil},
		{[]string{"user", "pencil"}, nil},
		{[]string{"user", "wrong"}, ErrDenied},
		{[]string{"", "pencil"}, ErrDenied},
		{[]string{"us\ner", "pencil"}, ErrSyntax},
		{[]string{"user", strings.Repeat("x", MaxPassword+1)}, ErrDenied},
	} {
		x := NewLogin(onlyUser)
		challenges, err := talk(t, x, c.messages...)
		if !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.messages, err, c.want)
		}
		if last := challenges[len(c.messages)-2]; last != "Password:" {
			t.Errorf("%q: asked %q", c.messages, challenges)
		}
		if got := x.User(); (got == "user@x.example") != (c.want == nil) {
			t.Errorf("%q: user is %q", c.messages, got)
		}
	}
}

func pencil(t testing.TB, salt string, iterations int) ScramKeys {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	k, err := DeriveScramKeys("pencil", raw, iterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func lookup(k ScramKeys) Lookup {
	return func(_ context.Context, name string) (ScramKeys, string, error) {
		if name != "user" {
			return k, "", nil
		}
		return k, "user@x.example", nil
	}
}

// The example of RFC 7677 section 3.
func TestScramExample(t *testing.T) {
	k := pencil(t, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096)
	x := &scramServer{lookup: lookup(k), nonce: func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }}
	got, err := talk(t, x, "(none)", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("challenge %d: %q, want %q", i, got[i], want[i])
		}
	}
	if x.User() != "user@x.example" {
		t.Errorf("user is %q", x.User())
	}
}

var exporter = Binding{"tls-exporter", []byte("0123456789abcdef0123456789abcdef")}
var endPoint = Binding{"tls-server-end-point", []byte("a hash of a certificate, 32 long")}

// scramClient runs the library's client against a server of ours.
func scramClient(t *testing.T, x Exchange, conv *scram.ClientConversation) error {
	t.Helper()
	message, err := conv.Step("")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		challenge, done, err := x.Next(t.Context(), []byte(message))
		if err != nil {
			return err
		}
		if message, err = conv.Step(string(challenge)); err != nil {
			t.Fatalf("the client refuses the server: %v", err)
		}
		if done {
			break
		}
	}
	if !conv.Valid() {
		t.Fatal("the client does not believe the server")
	}
	return nil
}

func TestScramBindings(t *testing.T) {
	k := pencil(t, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096)
	both := []Binding{exporter, endPoint}
	bind := func(b Binding) func(*scram.Client) *scram.ClientConversation {
		return func(c *scram.Client) *scram.ClientConversation {
			return c.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(b.Type), Data: b.Data})
		}
	}
	without := func(c *scram.Client) *scram.ClientConversation { return c.NewConversation() }
	able := func(c *scram.Client) *scram.ClientConversation {
		return c.NewConversationAdvertisingChannelBinding()
	}
	for _, c := range []struct {
		name     string
		offered  []Binding
		plus     bool
		client   func(*scram.Client) *scram.ClientConversation
		user     string
		password string
		authzid  string
		want     error
	}{
		{"plain SCRAM", nil, false, without, "user", "pencil", "", nil},
		{"plain SCRAM beside PLUS", both, false, without, "user", "pencil", "", nil},
		{"exporter", both, true, bind(exporter), "user", "pencil", "", nil},
		{"end point", both, true, bind(endPoint), "user", "pencil", "", nil},
		{"as oneself", nil, false, without, "user", "pencil", "user@x.example", nil},
		{"as another", nil, false, without, "user", "pencil", "root", ErrDenied},
		{"wrong password", nil, false, without, "user", "pencils", "", ErrDenied},
		{"unknown user", nil, false, without, "nobody", "pencil", "", ErrDenied},
		{"another channel", both, true, bind(Binding{"tls-exporter", make([]byte, 32)}), "user", "pencil", "", ErrDenied},
		{"PLUS was hidden from the client", both, false, able, "user", "pencil", "", ErrSyntax},
		{"no PLUS, and the client knows", nil, false, able, "user", "pencil", "", nil},
		{"PLUS without a binding", both, true, without, "user", "pencil", "", ErrSyntax},
		{"a binding without PLUS", both, false, bind(exporter), "user", "pencil", "", ErrSyntax},
		{"a binding that was not offered", []Binding{exporter}, true, bind(endPoint), "user", "pencil", "", ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := scram.SHA256.NewClient(c.user, c.password, c.authzid)
			if err != nil {
				t.Fatal(err)
			}
			x := NewScram(lookup(k), c.offered, c.plus)
			if err := scramClient(t, x, c.client(client)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got := x.User(); (got == "user@x.example") != (c.want == nil) {
				t.Errorf("user is %q", got)
			}
		})
	}
}

func TestScramTrouble(t *testing.T) {
	trouble := errors.New("the directory is on fire")
	x := NewScram(func(context.Context, string) (ScramKeys, string, error) { return ScramKeys{}, "", trouble }, nil, false)
	if _, err := talk(t, x, "n,,n=user,r=abc"); !errors.Is(err, trouble) || errors.Is(err, ErrDenied) {
		t.Errorf("%v", err)
	}
	for _, first := range []string{"", "n", "n,,", "n,,n=,r=abc", "n,,n=us\x01er,r=abc", "x,,n=user,r=abc", "n,,m=x,n=user,r=a", "n,,n=us=er,r=a", strings.Repeat("n", 10000)} {
		if _, err := talk(t, NewScram(lookup(ScramKeys{}), nil, false), first); !errors.Is(err, ErrSyntax) {
			t.Errorf("%.30q: %v", first, err)
		}
	}
}

func TestScramKeysText(t *testing.T) {
	k := pencil(t, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096)
	const text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if k.String() != text {
		t.Errorf("%s, want %s", k, text)
	}
	got, err := ParseScramKeys(text)
	if err != nil || got.String() != text || !got.Matches("pencil") || got.Matches("pencils") {
		t.Errorf("%v, %v", got, err)
	}
	// SASLprep: the fullwidth letters and the ligature of RFC 4013 section 3 become plain.
	if !pencil(t, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096).Matches("ｐｅｎｃｉｌ") {
		t.Error("a password is not prepared")
	}
	for _, bad := range []string{
		"", "SCRAM-SHA-256", strings.Replace(text, "256$", "1$", 1), strings.Replace(text, "4096", "4095", 1),
		strings.Replace(text, "4096", "04096", 1), strings.Replace(text, "4096", "2000001", 1), strings.Replace(text, "4096", "+4096", 1),
		strings.Replace(text, "==$", "$", 1), strings.Replace(text, "W22Z", "W2\n2Z", 1), strings.TrimSuffix(text, "dU="), text + "$",
	} {
		if k, err := ParseScramKeys(bad); err == nil {
			t.Errorf("%q: accepted as %v", bad, k)
		}
	}
	if _, err := DeriveScramKeys("x", nil, MaxIterations+1); err == nil {
		t.Error("too many iterations are derived")
	}
}

func FuzzScramKeys(f *testing.F) {
	f.Add("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseScramKeys(s); err == nil && k.String() != s {
			t.Fatalf("%q is printed as %q", s, k)
		}
	})
}

// No bytes of a client may get in, crash the server, or keep it going.
func FuzzExchange(f *testing.F) {
	f.Add(0, []byte("\x00user\x00wrong"), []byte(nil))
	f.Add(1, []byte("user"), []byte("wrong"))
	f.Add(2, []byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), []byte("c=biws,r=rOprNGfwEbeRWgbNEkqOx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	f.Add(3, []byte("p=tls-exporter,a=user,n=user,r=abc"), []byte("c=x,r=abc,p=x"))
	k := pencil(f, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096)
	f.Fuzz(func(t *testing.T, mechanism int, first, second []byte) {
		deny := func(context.Context, string, string) (string, error) { return "", ErrDenied }
		x := []Exchange{NewPlain(deny), NewLogin(deny), NewScram(lookup(k), nil, false), NewScram(lookup(k), []Binding{exporter}, true)}[uint(mechanism)%4]
		for _, m := range [][]byte{nil, first, second, nil, second} {
			_, done, err := x.Next(t.Context(), m)
			if x.User() != "" {
				t.Fatal("logged in")
			}
			if done || err != nil {
				return
			}
		}
		t.Fatal("the exchange does not end")
	})
}
