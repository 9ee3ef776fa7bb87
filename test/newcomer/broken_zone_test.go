package newcomer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// zoned is what people get wrong in the zone. They change it with nsupdate, and the key of the
// operator that "init" has made.
func zoned() []breakage {
	at := func(name, rest string) string { return strings.TrimPrefix(name+"."+domain+". 3600 ", ".") + rest }
	const sts = `TXT "v=STSv1; id=1"`
	return []breakage{
		{"MX is an alias", "mx", "alias of mx." + domain, []string{"certificate", "mta-sts", "dane"}, func(w *scene) func() {
			if err := w.SetRecords("post.hosting.example. CNAME mx." + domain + "."); err != nil {
				w.t.Fatal(err)
			}
			return change(at("", "MX 10 mx."+domain+"."), at("", "MX 10 post.hosting.example."))(w)
		}},
		{"MX without address", "mx", "nowhere.hosting.example", []string{"mta-sts", "dane", "certificate"}, change("", at("", "MX 20 nowhere.hosting.example."))},
		{"SPF without our address", "spf", address + ": our own address may not send", nil, change(at("", `TXT "v=spf1 mx -all"`), at("", `TXT "v=spf1 ip4:192.0.2.1 -all"`))},
		{"no SPF", "spf", "no SPF record", nil, change(at("", `TXT "v=spf1 mx -all"`), "")},
		{"no DMARC", "dmarc", "no DMARC record", nil, without("_dmarc", "TXT")},
		{"MTA-STS without id", "mta-sts", "no id=", nil, change(at("_mta-sts", sts), at("_mta-sts", `TXT "v=STSv1;"`))},
		{"MTA-STS policy names another host", "mta-sts", "does not name this MX", []string{"certificate", "dane", "ptr", "ehlo"},
			change(at("", "MX 10 mx."+domain+"."), at("", "MX 10 post."+domain+".")+"\n"+at("post", "A "+address))},
		{"TLS reports to nobody", "tls-rpt", "no rua=", nil, instead("_smtp._tls", "TXT", `"v=TLSRPTv1"`)},
		{"CAA forbids our authority", "caa", "letsencrypt.org", nil, change(at("", `CAA 0 issue "letsencrypt.org"`), at("", `CAA 0 issue "other.example"`))},
		{"SRV leads nowhere", "srv", "gone.hosting.example", nil, change("", at("_submissions._tcp", "SRV 0 1 465 gone.hosting.example."))},
	}
}

// refused is what our name server does not even take, so that nobody sees it.
func (w *scene) refused(t *testing.T) {
	for name, records := range map[string]string{
		"two SPF records":      "@ TXT \"v=spf1 a -all\"",
		"DMARC with a mistake": "_dmarc TXT \"v=DMARC1; p=rejekt\"",
		"MX without address":   "@ MX 20 nowhere." + domain + ".",
		"MX is an alias":       "@ MX 20 post." + domain + ".\npost CNAME mx." + domain + ".",
		"SRV leads nowhere":    "_submissions._tcp SRV 0 1 465 nowhere." + domain + ".",
	} {
		var script strings.Builder
		for line := range strings.Lines(records) {
			owner, data, _ := strings.Cut(strings.TrimSpace(line), " ")
			owner = strings.TrimPrefix(owner+"."+domain+".", "@.")
			if owner == "_dmarc."+domain+"." {
				fmt.Fprintf(&script, "update delete %s TXT\n", owner)
			}
			fmt.Fprintf(&script, "update add %s 3600 %s\n", owner, data)
		}
		if out, err := w.update(script.String()); err == nil || !strings.Contains(out, "REFUSED") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// change takes records out of the zone and puts others in; what mends it does the reverse.
func change(out, in string) func(w *scene) func() {
	return func(w *scene) func() {
		w.nsupdate(commands("delete", out) + commands("add", in))
		return func() { w.nsupdate(commands("delete", in) + commands("add", out)) }
	}
}

func commands(verb, records string) string {
	var b strings.Builder
	for line := range strings.Lines(records) {
		fmt.Fprintf(&b, "update %s %s\n", verb, strings.TrimSpace(line))
	}
	return b.String()
}

// without takes away what stands at a name, whatever it is; instead puts other data there.
func without(name, kind string) func(w *scene) func() { return instead(name, kind, "") }

func instead(name, kind, data string) func(w *scene) func() {
	return func(w *scene) func() {
		owner := name + "." + domain + "."
		have := w.must("dig", "+noall", "+answer", "+nosplit", "@"+address, owner, kind)
		if strings.TrimSpace(have) == "" {
			w.t.Fatalf("there is no %s at %s", kind, owner)
		}
		clear := fmt.Sprintf("update delete %s %s\n", owner, kind)
		put := ""
		if data != "" {
			put = fmt.Sprintf("update add %s 3600 %s %s\n", owner, kind, data)
		}
		w.nsupdate(clear + put)
		return func() { w.nsupdate(clear + commands("add", have)) }
	}
}

// nsupdate sends a signed update, from outside, which must be taken.
func (w *scene) nsupdate(script string) {
	w.t.Helper()
	if out, err := w.update(script); err != nil {
		w.t.Fatalf("nsupdate: %v\n%s%s", err, script, out)
	}
}

func (w *scene) update(script string) (string, error) {
	text, err := os.ReadFile(w.path("state/keys/operator.key"))
	if err != nil {
		return "", err
	}
	part := strings.SplitN(strings.TrimSpace(string(text)), ":", 3)
	cmd := exec.Command("nsupdate")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s\nzone %s\nkey hmac-sha256:%s %s\n%ssend\n", address, domain, part[0], part[2], script))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
