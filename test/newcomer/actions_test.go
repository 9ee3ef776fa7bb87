package newcomer

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// What "init" said: what to paste, line by line, and the password of the first user.
type said struct {
	servers  map[string][]string // name server: its addresses
	ds       string              // record as zone text
	ptr      map[string]string   // address: name
	password string
}

var (
	hostLine = regexp.MustCompile(`(?m)^    (ns\d\.\S+)   (\S+)$`)
	dsLine   = regexp.MustCompile(`(?m)^    (\S+ IN DS .+)$`)
	ptrLine  = regexp.MustCompile(`(?m)^    (\d+\.\d+\.\d+\.\d+)   (\S+)$`)
	shown    = regexp.MustCompile(`shown this once: (\S+)`)
)

// init sets the domain up in an empty directory, and again, which changes nothing.
func (w *scene) init(ctx context.Context) said {
	w.t.Helper()
	args := []string{"init", domain, "--user", "ann", "--target", "ann.archer@bigmail.example", "--yes", "--config", "stagecoach.toml", "--state", "state"}
	out := w.stagecoach(ctx, args...)
	s := said{servers: map[string][]string{}, ptr: map[string]string{}}
	for _, m := range hostLine.FindAllStringSubmatch(out, -1) {
		s.servers[m[1]] = append(s.servers[m[1]], m[2])
	}
	for _, m := range ptrLine.FindAllStringSubmatch(out, -1) {
		s.ptr[m[1]] = m[2]
	}
	ds, password := dsLine.FindStringSubmatch(out), shown.FindStringSubmatch(out)
	if len(s.servers) != 2 || len(s.ptr) != 1 || ds == nil || password == nil {
		w.t.Fatalf("init does not say what to do:\n%s", out)
	}
	s.ds, s.password = ds[1], password[1]
	again := w.stagecoach(ctx, args...)
	if !strings.Contains(again, "Nothing was to be done") || strings.Contains(again, "  made  ") || !strings.Contains(again, s.ds) {
		w.t.Errorf("a second init:\n%s", again)
	}
	w.configure(s.ds)
	return s
}

// actions are what a person pastes: at the registrar name servers, glue and DS, at the hoster the
// PTR. The third, to start the service, is serve.
func (w *scene) actions(s said) {
	w.t.Helper()
	if err := w.Register(domain, s.registration()); err != nil {
		w.t.Fatal(err)
	}
	for ip, name := range s.ptr {
		if err := w.SetPTR(netip.MustParseAddr(ip), name); err != nil {
			w.t.Fatal(err)
		}
	}
	w.registered = s
}

// registration is what stands at the registrar.
func (s said) registration() string {
	var b strings.Builder
	for host, addresses := range s.servers {
		fmt.Fprintf(&b, "@ NS %s.\n", host)
		for _, a := range addresses {
			fmt.Fprintf(&b, "%s. A %s\n", host, a)
		}
	}
	return b.String() + s.ds + "\n"
}
