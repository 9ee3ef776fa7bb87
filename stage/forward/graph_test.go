package forward

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stagecoach/account"
	"stagecoach/mail"
)

// Random households: every circle is cut, every target outside that can be reached is
// reached once, and nothing else is.
func TestRandomHouseholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "users")
		name := func(i int) string { return fmt.Sprintf("u%d", i) }
		edges := make([][]int, n)
		out := make([][]string, n)
		disabled := make([]bool, n)
		files := map[string][]byte{}
		for i := range n {
			edges[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 4, rapid.ID[int]).Draw(t, "targets")
			for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 2, rapid.ID[int]).Draw(t, "outside") {
				out[i] = append(out[i], fmt.Sprintf("o%d@far.example", k))
			}
			disabled[i] = rapid.Float64().Draw(t, "disabled") < 0.1
			targets := slices.Clone(out[i])
			for _, k := range edges[i] {
				via := []string{"", "a", "+x"}[rapid.IntRange(0, 2).Draw(t, "via")] // name, alias or sub-address
				if via == "a" {
					targets = append(targets, "a"+name(k)+"@x.example")
				} else {
					targets = append(targets, name(k)+via+"@x.example")
				}
			}
			files[name(i)] = fmt.Appendf(nil, `{"targets":[%s],"aliases":["a%s"],"disabled":%v}`, quoted(targets), name(i), disabled[i])
		}
		b, err := account.Parse(files, account.Settings{Domain: "x.example", Separator: "+"})
		if err != nil {
			t.Fatal(err)
		}
		next := &sink{}
		f := &Forwarder{Accounts: account.Static(b), Next: next, Mark: []byte("0123456789abcdef")}
		to := rapid.SliceOfN(rapid.IntRange(0, n-1), 1, 3).Draw(t, "to")
		m := newMail("who@far.example", "A: b\n")
		want, refused := map[string]bool{}, false
		for _, i := range to {
			m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(name(i) + "@x.example")})
			found := reach(i, edges, out, disabled)
			refused = refused || len(found) == 0
			maps.Copy(want, found)
		}
		err = f.Handle(t.Context(), m)
		if refused {
			if err == nil || len(next.mails) > 0 || !mail.IsPermanent(err) {
				t.Fatalf("somebody cannot be reached, and the answer is %v", err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%v, but all can be reached", err)
		}
		got := map[string]bool{}
		for _, r := range next.mails[0].Envelope.To {
			if got[r.Address.String()] {
				t.Fatalf("%s twice", r.Address)
			}
			got[r.Address.String()] = true
			if !strings.HasSuffix(r.Original, "@x.example") {
				t.Fatalf("%s has ORCPT %q", r.Address, r.Original)
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func quoted(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, `"`+s+`"`)
	}
	return strings.Join(q, ",")
}

// reach is the model: what can be reached from a user by whatever path.
func reach(start int, edges [][]int, out [][]string, disabled []bool) map[string]bool {
	found, seen := map[string]bool{}, map[int]bool{}
	var visit func(int)
	visit = func(i int) {
		if seen[i] || disabled[i] {
			return
		}
		seen[i] = true
		for _, o := range out[i] {
			found[o] = true
		}
		for _, k := range edges[i] {
			visit(k)
		}
	}
	visit(start)
	return found
}

// A tower of lists must end in an answer, soon, and not in a flood.
func TestManyTargets(t *testing.T) {
	files := map[string]string{}
	for level := range 5 {
		for i := range 60 {
			var targets []string
			for k := range 60 {
				if level < 4 {
					targets = append(targets, fmt.Sprintf("l%d-%d@x.example", level+1, k))
				} else {
					targets = append(targets, fmt.Sprintf("o%d-%d@far.example", i, k*2))
				}
			}
			files[fmt.Sprintf("l%d-%d", level, i)] = `{"targets":[` + quoted(targets) + `]}`
		}
	}
	next := &sink{}
	f := &Forwarder{Accounts: directory(t, account.Settings{Separator: "+"}, files), Next: next, Mark: []byte("0123456789abcdef")}
	var to []string
	for i := range 1000 { // the same list by a thousand sub-addresses
		to = append(to, fmt.Sprintf("l0-0+%d@x.example", i))
	}
	if err := f.Handle(t.Context(), newMail("who@far.example", "A: b\n", to...)); err != nil {
		t.Fatal(err)
	}
	if n := len(next.mails[0].Envelope.To); n != 3600 {
		t.Errorf("%d recipients, want 3600", n)
	}
	if n := next.mails[0].Message.Header.Size(); n > 32<<10 {
		t.Errorf("the header grew to %d octets", n)
	}
	files = map[string]string{}
	for i := range 6 {
		var targets []string
		for k := range 1000 {
			targets = append(targets, fmt.Sprintf("o%d-%d@far.example", i, k))
		}
		files[fmt.Sprintf("big%d", i)] = `{"targets":[` + quoted(targets) + `]}`
	}
	files["all"] = `{"targets":["big0@x.example","big1@x.example","big2@x.example","big3@x.example","big4@x.example","big5@x.example"]}`
	f.Accounts = directory(t, account.Settings{}, files)
	if got := code(f.Handle(t.Context(), newMail("who@far.example", "A: b\n", "all@x.example"))); got != "550 5.2.4" {
		t.Errorf("6000 targets: %s", got)
	}
}
