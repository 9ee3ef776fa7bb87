package repo

import (
	"strings"
	"testing"
)

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		text string
		want location
	}{
		{"users.git", location{scheme: schemeLocal, path: "users.git"}},
		{"/srv/users.git#master", location{scheme: schemeLocal, path: "/srv/users.git", branch: "master"}},
		{"./a:b", location{scheme: schemeLocal, path: "./a:b"}},
		{"/a:b/c", location{scheme: schemeLocal, path: "/a:b/c"}},
		{"file:///srv/users", location{scheme: schemeLocal, path: "/srv/users"}},
		{"git@10.0.0.1:users.git#master", location{scheme: schemeSSH, user: "git", host: "10.0.0.1", path: "users.git", branch: "master"}},
		{"host:~ann/users.git", location{scheme: schemeSSH, host: "host", path: "~ann/users.git"}},
		{"git@[2001:db8::1]:users.git", location{scheme: schemeSSH, user: "git", host: "2001:db8::1", path: "users.git"}},
		{"ssh://git@host.example:2222/srv/users.git#a/b", location{scheme: schemeSSH, user: "git", host: "host.example", port: 2222, path: "/srv/users.git", branch: "a/b"}},
		{"ssh://git@[2001:db8::1]:22/x", location{scheme: schemeSSH, user: "git", host: "2001:db8::1", port: 22, path: "/x"}},
		{"ssh://host/~/x", location{scheme: schemeSSH, host: "host", path: "~/x"}},
		{"git://host/x", location{scheme: schemeGit, host: "host", path: "/x"}},
		{"https://host/x.git#main", location{scheme: schemeHTTPS, host: "host", path: "/x.git", branch: "main"}},
		{"http://u:p@host:8080/x", location{scheme: schemeHTTP, user: "u", password: "p", host: "host", port: 8080, path: "/x"}},
	} {
		got, err := parseLocation(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{
		"", "#main", "x#", "x#a b", "x#-a", "x#a..b", "x#a.lock", "ftp://host/x", "ssh://host", "ssh://host/", "https:///x",
		"ssh://u:secret@host/x", "git://u@host/x", "host:", "https://host/x?q=1", "file://host/x", "ssh://host:0/x",
		"ssh://host:99999/x", "-oProxyCommand=x:y", "-u@host:x", "a\x00b", "https://u:secret@ho st/x", strings.Repeat("x", 5000),
	} {
		at, err := parseLocation(text)
		if err == nil {
			t.Errorf("%q: accepted as %+v", text, at)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/a b":    "'/a b'",
		"a'; rm!": `'a'\''; rm'\!''`,
		"~/x":     "~'/x'",
		"~ann/x":  "~ann'/x'",
		"~$(x)/y": "'~$(x)/y'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestMatchHost(t *testing.T) {
	for _, c := range []struct {
		patterns string
		host     string
		want     bool
	}{
		{"host.example", "host.example", true},
		{"Host.Example", "host.example", true},
		{"*.example", "host.example", true},
		{"*.example,!host.example", "host.example", false},
		{"ho?t.example", "host.example", true},
		{"[host.example]:2222", "[host.example]:2222", true},
		{"host.example", "[host.example]:2222", false},
		{"*", "x", true},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
	} {
		if got := matchHost(strings.Split(c.patterns, ","), c.host); got != c.want {
			t.Errorf("%s for %s: %v", c.patterns, c.host, got)
		}
	}
}

// Open must read what String writes, and show no password.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"users.git", "git@host:x#main", "ssh://git@host:22/x#a", "https://u:p@host/x", "./a:b", "file:///x", "h:~a/b", "git@[::1]:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parseLocation(s)
		if err != nil {
			return
		}
		at.password = ""
		again, err := parseLocation(at.String())
		if err != nil || again != at {
			t.Fatalf("%q is %+v, but its text %q is %+v, %v", s, at, at.String(), again, err)
		}
	})
}

func FuzzHostKeys(f *testing.F) {
	f.Add("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("|1|AAAA|AAAA ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		known, err := parseHostKeys(s, "host:22")
		if err == nil && len(known.algorithms()) == 0 && known[0].kind == "" {
			t.Fatal("a fingerprint without an algorithm to ask for")
		}
	})
}
