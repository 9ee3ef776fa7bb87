package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stagecoach/name/authority"
	"stagecoach/rfc/dns"
)

type zoneHookCmd struct {
	Install zoneHookInstallCmd `cmd:"" help:"Put both hooks into a bare repository."`
	Notify  zoneHookNotifyCmd  `cmd:"" help:"Tell the primary of a push, as the post-receive hook of git does."`
}

type zoneHookInstallCmd struct {
	Repo    string `arg:"" help:"The bare repository." type:"existingdir"`
	Primary string `help:"Where the primary listens: IP[:PORT]." default:"127.0.0.1" placeholder:"IP"`
	Program string `help:"This program, as the git user finds it (default: the path of this one)." placeholder:"PATH"`
	Force   bool   `help:"Replace hooks that are there."`
}

// Help shows an example.
func (zoneHookInstallCmd) Help() string {
	return `pre-receive runs "zone check" over what is pushed and refuses what the primary could not serve;
post-receive sends the primary a NOTIFY, signed with a key from the _keys files, so that it reads the zones at once.

Example: stagecoach zone hook install /srv/zone.git --primary 10.0.0.3`
}

// hookMark stands in the hooks that are ours, which may be replaced.
const hookMark = "# Installed by stagecoach zone hook install."

// Run writes both hooks, or neither where one of somebody else is there.
func (c zoneHookInstallCmd) Run() error {
	at, err := dns.ParseAddrPort(c.Primary, 53)
	if err != nil {
		return fmt.Errorf("--primary: %w", err)
	}
	if _, err := os.Stat(filepath.Join(c.Repo, "HEAD")); err != nil {
		return fmt.Errorf("%s is no bare repository: %w", c.Repo, err)
	}
	program := c.Program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	dir := filepath.Join(c.Repo, "hooks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	scripts := map[string]string{
		"pre-receive":  "exec " + quoteShell(program) + " zone check --pushed",
		"post-receive": "exec " + quoteShell(program) + " zone hook notify --primary " + quoteShell(at.String()),
	}
	names := slices.Sorted(maps.Keys(scripts))
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !bytes.Contains(text, []byte(hookMark)) && !c.Force {
			return fmt.Errorf("%s is there already and not ours; --force replaces it", filepath.Join(dir, name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range names {
		if err := writeHook(filepath.Join(dir, name), "#!/bin/sh\n"+hookMark+"\n"+scripts[name]+"\n"); err != nil {
			return err
		}
		fmt.Println(filepath.Join(dir, name))
	}
	return nil
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// writeHook replaces a hook in one step, as pushes may come meanwhile.
func writeHook(name, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

type zoneHookNotifyCmd struct {
	Primary string `help:"Where the primary listens: IP[:PORT]." default:"127.0.0.1" placeholder:"IP"`
}

// Help shows an example.
func (zoneHookNotifyCmd) Help() string {
	return `Standard input is what git gives to the hook, the working folder is the repository.

Example: echo $OLD $NEW refs/heads/main | stagecoach zone hook notify --primary 10.0.0.3`
}

// Run tells the primary. The push has been taken: what fails here is said and does no harm, as
// the primary looks by itself from time to time.
func (c zoneHookNotifyCmd) Run(ctx context.Context) error {
	at, err := dns.ParseAddrPort(c.Primary, 53)
	if err != nil {
		return fmt.Errorf("--primary: %w", err)
	}
	pushes, err := readPushes(os.Stdin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, p := range pushes {
		if err := notifyPush(ctx, os.Stdout, at, p); err != nil {
			return fmt.Errorf("the primary was not told and will see the push when it looks by itself: %w", err)
		}
	}
	return nil
}

// notifyPush sends one NOTIFY, upon which all zones are read, and prints what is served then.
func notifyPush(ctx context.Context, w io.Writer, at netip.AddrPort, p push) error {
	before, err := files(ctx, p.old)
	if err != nil {
		return err
	}
	now, err := files(ctx, p.new)
	if err != nil {
		return err
	}
	if own, err := isOwnCommit(ctx, p.new, now); own || err != nil {
		return err
	}
	zones := changedZones(before, now)
	for _, zone := range zones {
		// The primary knows the keys of before.
		key, ok := authority.NotifyKey(before, zone)
		if !ok {
			key, ok = authority.NotifyKey(now, zone)
		}
		if !ok {
			continue
		}
		c := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}, Key: key, Attempts: 1, Timeout: 20 * time.Second}
		if err := dns.Do(ctx, c, dns.NewNotify(zone, nil)); err != nil {
			return err
		}
		return printServed(ctx, w, at, zones)
	}
	if len(zones) > 0 {
		return errors.New("no key in a _keys file is for " + strings.Join(zones, ", "))
	}
	return nil
}

// isOwnCommit reports whether the primary itself has pushed: it knows, and waits for the push to
// end, so that nobody may have it wait for us.
func isOwnCommit(ctx context.Context, commit string, now map[string][]byte) (bool, error) {
	out, err := git(ctx, "log", "-1", "--format=%ce", commit)
	if err != nil {
		return false, err
	}
	zone, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "authority@")
	_, there := now[zone]
	return ok && there, nil
}

// changedZones returns the zones of the files that differ; keys and grants count for theirs.
func changedZones(before, now map[string][]byte) []string {
	zones := map[string]bool{}
	for _, side := range []map[string][]byte{before, now} {
		for name := range side {
			old, was := before[name]
			text, is := now[name]
			if was && is && bytes.Equal(old, text) {
				continue
			}
			zone := strings.TrimSuffix(strings.TrimSuffix(name, "_keys"), "_grants")
			if zone = strings.TrimSuffix(zone, "."); zone != "" && dns.IsName(zone) {
				zones[zone] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(zones))
}

// printServed says with which serials the zones are in service.
func printServed(ctx context.Context, w io.Writer, at netip.AddrPort, zones []string) error {
	c := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: at}}}
	for _, zone := range zones {
		soa, err := dns.SOA(ctx, c, zone)
		if err != nil {
			fmt.Fprintf(w, "%s is not served by %s: %v\n", zone, at, err)
			continue
		}
		if _, err := fmt.Fprintf(w, "%s is served by %s with serial %d\n", zone, at, soa.Serial); err != nil {
			return err
		}
	}
	return nil
}
