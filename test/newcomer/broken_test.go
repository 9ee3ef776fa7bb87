package newcomer

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/tool/check"
)

// A breakage is one thing that goes wrong with a domain that works, and the check that has to
// name it.
type breakage struct {
	name string
	id   string // of the check
	says string // a part of what it says, with what it is about
	// also are checks that rightly find the same thing wrong from their side.
	also []string
	// do breaks it, and returns what mends it.
	do func(w *scene) (mend func())
}

// breakAll breaks one thing after the other, and at the end all is right again.
func (w *scene) breakAll() {
	began := time.Now()
	w.t.Run("refused by the name server", w.refused)
	for _, b := range w.breakages() {
		w.t.Run(b.name, func(t *testing.T) { w.breakOne(t, b) })
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	w.green(ctx)
	w.t.Logf("%d things broken, and mended, in %v", len(w.breakages()), time.Since(began).Round(100*time.Millisecond))
}

// sums are the checks that judge by what the others found.
var sums = []string{"gmail", "outlook", "yahoo"}

func (w *scene) breakOne(t *testing.T, b breakage) {
	whole := w.t
	w.t = t
	defer func() { w.t = whole }()
	mend := b.do(w)
	defer mend()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, status, err := w.check(ctx, b.flags()...)
	if err != nil {
		t.Fatal(err)
	}
	named := false
	for _, l := range r.Lines {
		if l.Status != check.Wrong {
			continue
		}
		named = named || l.ID == b.id && strings.Contains(l.About+": "+l.Text, b.says)
		if l.ID != b.id && !slices.Contains(b.also, l.ID) && !slices.Contains(sums, l.ID) {
			t.Errorf("besides: %s: %s: %s", l.ID, l.About, l.Text)
		}
		if l.Why == "" || l.Fix == "" {
			t.Errorf("%s does not say why, or what to do", l.ID)
		}
	}
	if !named || status != 1 {
		t.Errorf("check ends with %d, and %s does not say %q\n%s", status, b.id, b.says, describe(r))
	}
}

// flags leave out what waits for a silent port where the breakage is of another kind, and have
// trust begin nowhere where there is no zone that could be trusted.
func (b breakage) flags() []string {
	switch b.id {
	case "port-25-out":
		return nil
	case "delegation":
		return []string{"--skip", "port-25-out", "--trust", "/dev/null"}
	}
	return []string{"--skip", "port-25-out"}
}

func (w *scene) breakages() []breakage {
	return slices.Concat(registered(w), zoned(), served(), local())
}

// registered is what people get wrong at the registrar and the hoster.
func registered(w *scene) []breakage {
	good := w.registered.registration()
	register := func(text string) func(w *scene) func() {
		return func(w *scene) func() {
			w.register(text)
			return func() { w.register(good) }
		}
	}
	ptr := func(name string) func(w *scene) func() {
		return func(w *scene) func() {
			w.ptr(name)
			return func() { w.ptr("mx." + domain) }
		}
	}
	ns1, ns2 := "ns1."+domain+". A ", "ns2."+domain+". A "
	return []breakage{
		{"no PTR", "ptr", address + ": the address has no name", nil, ptr("")},
		{"PTR of the hoster", "ptr", "its name is host-93.hoster.example", nil, ptr("host-93.hoster.example")},
		{"not registered", "delegation", "does not exist", []string{"mx", "spf", "dkim", "dmarc"}, register("")},
		{"glue is wrong", "glue", "the parent gives 93.184.216.222", []string{"nameservers"}, register(strings.ReplaceAll(good, ns1+address, ns1+"93.184.216.222"))},
		{"no glue for one", "glue", "ns2." + domain + ": the parent gives no address", nil, register(strings.ReplaceAll(good, ns2+address+"\n", ""))},
		{"one name server forgotten", "delegation", "ns2." + domain + ": the zone names it", nil,
			register(strings.ReplaceAll(strings.ReplaceAll(good, "@ NS ns2."+domain+".\n", ""), ns2+address+"\n", ""))},
		{"old name server is still there", "nameservers", "ns.hosting.example", []string{"delegation"}, register(good + "@ NS ns.hosting.example.\n")},
		{"DS of another key", "ds", "no DS record is the digest", nil, register(strings.ReplaceAll(good, w.registered.ds, otherDS))},
	}
}

const otherDS = "@ DS 47926 13 2 6986C49F6986C49F6986C49F6986C49F6986C49F6986C49F6986C49F6986C49F"

func (w *scene) register(text string) {
	w.t.Helper()
	if err := w.Register(domain, text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *scene) ptr(name string) {
	w.t.Helper()
	if err := w.SetPTR(server, name); err != nil {
		w.t.Fatal(err)
	}
}

// local is what goes wrong on the machine.
func local() []breakage {
	return []breakage{
		{"clock is an hour behind", "clock", "behind", nil, func(w *scene) func() {
			w.clock.ahead.Store(int64(time.Hour))
			return func() { w.clock.ahead.Store(0) }
		}},
		{"key can be read by all", "permissions", "dkim-rsa.pem: it holds a secret", []string{"dkim"}, func(w *scene) func() {
			key := w.path("state/dkim-rsa.pem")
			w.must("chmod", "644", key)
			return func() { w.must("chmod", "600", key) }
		}},
		{"DKIM key is not published", "dkim", "s2-ed25519._domainkey." + domain + ": no key is published", nil, configured("[sign]", "[sign]\nselector = \"s2\"")},
		{"DKIM key of another", "dkim", "not the one that mail is signed with", nil, func(w *scene) func() {
			key := w.path("state/dkim-ed25519.pem")
			w.must("cp", "-p", key, key+".good")
			w.must("rm", key)
			w.must(w.path("stagecoach"), "dkim", "gen", "--kind", "ed25519", "--domain", domain, key)
			return func() { w.must("mv", key+".good", key) }
		}},
		{"configuration with a mistake", "config", "unknown key", nil, configured("[cert]", "[cret]")},
	}
}

// configured changes the configuration of a service that runs.
func configured(from, to string) func(w *scene) func() {
	return func(w *scene) func() {
		text, err := os.ReadFile(w.path("stagecoach.toml"))
		if err != nil {
			w.t.Fatal(err)
		}
		w.write("stagecoach.toml", strings.Replace(string(text), from, to, 1))
		return func() { w.write("stagecoach.toml", string(text)) }
	}
}
