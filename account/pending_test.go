package account

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
)

const waiting = `
-- ann --
{"targets": ["ann@far.example", "Ann@Other.example"]}
-- bob --
{"targets": ["bob@far.example"]}
-- carl --
{"targets": ["ann@x.example"]}
-- off --
{"targets": ["off@far.example"], "disabled": true}
-- y.example/dora --
{"targets": ["dora@far.example"]}
-- .unconfirmed/ann --
ann@other.example

-- .unconfirmed/bob --
bob@far.example
bob@gone.example
-- .unconfirmed/carl --
ann@x.example
-- .unconfirmed/off --
off@far.example
-- .unconfirmed/y.example/dora --
dora@far.example
-- .unconfirmed/nobody --
dora@far.example
`

func texts(list []mail.Address) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

func TestPendingTargets(t *testing.T) {
	type state struct {
		Targets, Pending []string
		Receives, Waits  bool
	}
	look := func(b *Book) map[string]state {
		m := map[string]state{}
		for u := range b.Users() {
			m[u.File] = state{texts(u.Targets), texts(u.Pending), u.Receives(), u.Waits()}
		}
		return m
	}
	s := Settings{Domain: "x.example", Separator: "+"}
	b, err := Parse(files(t, waiting), s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]state{
		"ann":            {[]string{"ann@far.example"}, []string{"Ann@other.example"}, true, false},
		"bob":            {nil, []string{"bob@far.example"}, false, true},
		"carl":           {[]string{"ann@x.example"}, nil, true, false}, // ours needs no consent
		"off":            {nil, []string{"off@far.example"}, false, false},
		"y.example/dora": {nil, []string{"dora@far.example"}, false, true},
	}
	if diff := cmp.Diff(want, look(b)); diff != "" {
		t.Error(diff)
	}
	s.Confirmed = func(user, target mail.Address) bool {
		return user.String() == "bob@x.example" && target.String() == "bob@far.example"
	}
	if b, err = Parse(files(t, waiting), s); err != nil {
		t.Fatal(err)
	}
	want["bob"] = state{[]string{"bob@far.example"}, nil, true, false}
	if diff := cmp.Diff(want, look(b)); diff != "" {
		t.Error(diff)
	}
	s.Trust = true
	if b, err = Parse(files(t, waiting), s); err != nil {
		t.Fatal(err)
	}
	for u := range b.Users() {
		if len(u.Pending) > 0 {
			t.Errorf("%s waits for %v", u.File, u.Pending)
		}
	}
}

func TestBelieve(t *testing.T) {
	shelf := &shelf{}
	shelf.put("1", nil, map[string]string{"bob": `{"targets":["bob@far.example"]}`, ".unconfirmed/bob": "bob@far.example\n"})
	d, err := Open(t.Context(), shelf, Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	bob := func() *User { u, _ := d.Book().Login("bob"); return u }
	if !bob().Waits() {
		t.Fatal("bob does not wait")
	}
	yes := false
	if err := d.Believe(func(mail.Address, mail.Address) bool { return yes }); err != nil || !bob().Waits() {
		t.Fatal(err)
	}
	yes = true
	if err := d.Reread(); err != nil || !bob().Receives() || d.Book().Version != "1" {
		t.Fatal(err, bob(), d.Book().Version)
	}
}
