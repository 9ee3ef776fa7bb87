package authority

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// keysOfAllAlgorithms returns a key with the right to update for each algorithm.
func keysOfAllAlgorithms(t testing.TB) []dns.Key {
	t.Helper()
	var keys []dns.Key
	for _, a := range []string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"} {
		keys = append(keys, peerKey(t, strings.ToLower(a)+"._update.example", a))
	}
	return keys
}

func startForTools(t *testing.T) (a *Authority, at netip.AddrPort, bare string) {
	t.Helper()
	files := signedFiles()
	for _, k := range keysOfAllAlgorithms(t) {
		files["example._keys"] += k.Record() + "\n"
	}
	a, at, _, bare = start(t, files)
	return a, at, bare
}

// run returns what a program prints; it may fail.
func run(t *testing.T, program, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Need(t, program)[0], args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%v", out, err)
	}
	return string(out)
}

// flagOf returns a key as the tools of BIND and Knot take it.
func flagOf(k dns.Key) string {
	return fmt.Sprintf("%s:%s:%s", k.Algorithm, dns.Host(k.Name), secretOf(k))
}

// nsupdate and knsupdate change our zones, with keys of each algorithm, over UDP and TCP, and are
// content with how we sign our answers.
func TestUpdatesOfPeers(t *testing.T) {
	t.Parallel()
	a, at, _ := startForTools(t)
	for _, program := range []string{"nsupdate", "knsupdate"} {
		for _, key := range keysOfAllAlgorithms(t) {
			for _, over := range []string{"udp", "tcp"} {
				args := []string{"-y", flagOf(key)}
				if over == "tcp" {
					args = append(args, "-v")
				}
				name := fmt.Sprintf("%s-%s-%s.example.", program, key.Algorithm, over)
				script := func(s string) string {
					return fmt.Sprintf("server 127.0.0.1 %d\nzone example.\n%s\nsend\n", at.Port(), s)
				}
				if out := run(t, program, script("prereq nxdomain "+name+"\nupdate add "+name+" 300 TXT \"a b\""), args...); out != "" {
					t.Errorf("%s: %s", name, out)
				}
				z, _ := a.Zone("example")
				if z.nodes[name] == nil {
					t.Errorf("%s is not there", name)
				}
				if out := run(t, program, script("prereq yxrrset "+name+" TXT \"a b\"\nupdate del "+name), args...); out != "" {
					t.Errorf("%s: %s", name, out)
				}
				if out := run(t, program, script("prereq yxdomain "+name+"\nupdate add "+name+" 300 TXT x"), args...); !strings.Contains(out, "NXDOMAIN") {
					t.Errorf("%s: a prerequisite that is not met: %s", name, out)
				}
			}
		}
	}
}

// Every sort of refusal is told to the tools, and nothing changes.
func TestRefusalsToPeers(t *testing.T) {
	t.Parallel()
	a, at, bare := startForTools(t)
	before, _ := a.Zone("example")
	wrong := base64.StdEncoding.EncodeToString([]byte("another secret"))
	for _, c := range []struct{ flag, update, axfr string }{
		{"", "REFUSED", "REFUSED"},
		{"hmac-sha256:unknown._update.example:" + secret, "BADKEY", "BADKEY"},
		{"hmac-sha512:personal._update.example:" + secret, "BADKEY", "BADKEY"}, // the key has another algorithm
		{"hmac-sha256:personal._update.example:" + wrong, "BADSIG", "BADSIG"},
		{"hmac-sha256:personal._update.other:" + secret, "NOTAUTH", "NOTAUTH"},
		{"hmac-sha256:sub._update.sub.example:" + secret, "NOTAUTH", "NOTAUTH"},
		{"hmac-sha256:hook._notify.example:" + secret, "NOTAUTH", "NOTAUTH"},
		{"hmac-sha512:second._transfer.example:" + secret, "NOTAUTH", ""},
	} {
		var key []string
		if c.flag != "" {
			key = []string{"-y", c.flag}
		}
		script := fmt.Sprintf("server 127.0.0.1 %d\nzone example.\nupdate add x.example. 300 TXT x\nsend\n", at.Port())
		for _, program := range []string{"nsupdate", "knsupdate"} {
			if out := run(t, program, script, key...); !saysSo(out, c.update) {
				t.Errorf("%s with %q: want %s: %s", program, c.flag, c.update, out)
			}
		}
		for _, program := range []string{"dig", "kdig"} {
			for _, kind := range []string{"AXFR", "IXFR=3"} {
				out := run(t, program, "", append(key, "@127.0.0.1", "-p", fmt.Sprint(at.Port()), "example", kind)...)
				if leaked := strings.Contains(out, "hostmaster"); leaked != (c.axfr == "") {
					t.Errorf("%s %s with %q: want %s: %s", program, kind, c.flag, c.axfr, out)
				}
				if c.axfr != "" && !saysSo(out, c.axfr) && !strings.Contains(out, "Transfer failed") {
					t.Errorf("%s %s with %q: want %s: %s", program, kind, c.flag, c.axfr, out)
				}
			}
		}
	}
	if after, _ := a.Zone("example"); after != before {
		t.Error("the zone has changed")
	}
	if n := git(t, bare, "rev-list", "--count", "main"); n != "1" {
		t.Errorf("%s commits", n)
	}
}

// saysSo looks for a code in what a tool says; Knot's tools name the errors of TSIG in words.
func saysSo(out, code string) bool {
	words := map[string]string{"BADKEY": "unknown TSIG key|BADKEY|TSIG key not recognized", "BADSIG": "BADSIG|TSIG signature failure|invalid signature"}[code]
	if words == "" {
		words = code
	}
	for w := range strings.SplitSeq(words, "|") {
		if strings.Contains(strings.ToLower(out), strings.ToLower(w)) {
			return true
		}
	}
	return false
}

// dig and kdig understand what we say, signed and not, over UDP and TCP.
func TestQueriesOfPeers(t *testing.T) {
	t.Parallel()
	_, at, _ := startForTools(t)
	var key string
	for _, k := range keysOfAllAlgorithms(t) {
		if k.Algorithm == dns.HMACSHA384 {
			key = flagOf(k)
		}
	}
	for _, program := range []string{"dig", "kdig"} {
		for _, c := range []struct {
			args  string
			wants []string
		}{
			{"example SOA", []string{"status: NOERROR", " aa", "hostmaster.example. 7 "}},
			{"+tcp example MX", []string{"status: NOERROR", "10 mx.example.", "192.0.2.2"}},
			{"+dnssec mx.example TXT", []string{"status: NOERROR", "SOA"}},
			{"nothing.example A", []string{"status: NXDOMAIN", "SOA"}},
			{"elsewhere A", []string{"status: REFUSED"}},
			{"+noedns mx.example A", []string{"status: NOERROR", "192.0.2.2"}},
			{"+bufsize=512 +dnssec mx.example SSHFP", []string{"status: NOERROR", "SSHFP"}},
			{"-y " + key + " mx.example A", []string{"status: NOERROR", "192.0.2.2", "TSIG", "NOERROR"}},
			{"+tcp -y " + key + " mx.example A", []string{"status: NOERROR", "192.0.2.2", "TSIG"}},
			{"-y " + key + " example AXFR", []string{"_25._tcp.mx.example.", "TYPE65280"}},
			{"-y " + key + " example IXFR=7", []string{"hostmaster"}},
			{"-c CH version.bind TXT", []string{"status: REFUSED"}},
			{"+ignore many.example TXT", []string{"status: NXDOMAIN"}},
		} {
			args := append([]string{"@127.0.0.1", "-p", fmt.Sprint(at.Port()), "+norec"}, strings.Fields(c.args)...)
			out := run(t, program, "", args...)
			for _, want := range c.wants {
				if !strings.Contains(out, want) {
					t.Errorf("%s %s: no %q in %s", program, c.args, want, out)
				}
			}
			for _, bad := range []string{"Malformed", "malformed", "WARNING", "TSIG signature", "could not be validated", "failed"} {
				if strings.Contains(out, bad) {
					t.Errorf("%s %s: %s", program, c.args, out)
				}
			}
		}
	}
	for args, want := range map[string]string{
		"+edns=1 +noednsnegotiation example SOA": "BADVERS", "+opcode=status example SOA": "NOTIMP", "+opcode=notify example SOA": "NOERROR",
		"+cookie=0102030405060708 example SOA": "(good)", "+nsid example SOA": "NOERROR", "+subnet=192.0.2.0/24 example SOA": "NOERROR",
		"+header-only example SOA": "FORMERR", "+zflag example SOA": "NOERROR",
	} {
		if out := run(t, "dig", "", append([]string{"@127.0.0.1", "-p", fmt.Sprint(at.Port())}, strings.Fields(args)...)...); !strings.Contains(out, want) {
			t.Errorf("dig %s: no %q in %s", args, want, out)
		}
	}
}

// named-checkzone reads our files as we do, after updates too.
func TestNamedReadsOurFiles(t *testing.T) {
	t.Parallel()
	a, at, bare := startForTools(t)
	for i, change := range changesForPeers(t) {
		if err := dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "personal._update.example")), change); err != nil {
			t.Fatal(i, err)
		}
		text := git(t, bare, "show", "main:example") + "\n"
		out := run(t, "named-checkzone", text, "-q", "-i", "none", "-D", "-o", "-", "example", "/dev/stdin")
		read := zoneOf(t, "example", out)
		z, _ := a.Zone("example")
		if diff := differs(read.Records(), z.Records()); diff != "" {
			t.Errorf("change %d: named-checkzone reads something else:\n%s", i, diff)
		}
	}
}
