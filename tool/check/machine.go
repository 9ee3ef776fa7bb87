package check

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func machineChecks() []Check {
	return []Check{
		{
			ID: "config", Title: "Configuration", run: checkConfig,
			Why: "The service does not start with a configuration that it cannot read.",
			Fix: "Mend what the text says; \"stagecoach serve --check\" tells more.",
		},
		{
			ID: "permissions", Title: "Permissions of files", run: checkPermissions,
			Why: "Who can read the private keys can sign and log in as the domain; who can write the state owns the service.",
			Fix: "chmod 600 the file, chmod 700 the folder.",
		},
		{
			ID: "disk", Title: "Disk space", run: checkDisk,
			Why: "Without room on the disk no mail is taken.",
			Fix: "Make room, or move the state to a larger disk.",
		},
		{
			ID: "clock", Title: "Clock", run: checkClock,
			Why: "With a wrong clock signatures, certificates and signed updates are refused, and mail has a false date.",
			Fix: "Run a time service (systemd-timesyncd, chrony).",
		},
	}
}

func checkConfig(_ context.Context, l *look, f *findings) {
	switch t := l.target; {
	case t.ConfigFile == "":
		f.skip("", "no configuration is here: what it says could not be compared")
	case errors.Is(t.ConfigErr, fs.ErrPermission):
		f.unknown(t.ConfigFile, "this user may not read it: %v", t.ConfigErr)
	case t.ConfigErr != nil:
		f.wrong(t.ConfigFile, "", "%v", t.ConfigErr)
	default:
		f.ok(t.ConfigFile, "it can be read")
	}
}

// checkPermissions looks at the state folder, its files and the named keys.
func checkPermissions(_ context.Context, l *look, f *findings) {
	if l.target.ConfigFile != "" {
		if info, err := os.Stat(l.target.ConfigFile); err == nil && info.Mode().Perm()&0o022 != 0 {
			f.wrong(l.target.ConfigFile, "chmod go-w "+l.target.ConfigFile, "others may write it (mode %04o)", info.Mode().Perm())
		}
	}
	names := slices.Clone(l.target.Private)
	if l.target.State != "" {
		switch info, err := os.Stat(l.target.State); {
		case errors.Is(err, fs.ErrNotExist):
			f.note(l.target.State, "Start the service once.", "the state folder is not there yet")
		case err != nil:
			f.unknown(l.target.State, "%v", err)
		case info.Mode().Perm()&0o022 != 0:
			f.wrong(l.target.State, "chmod 700 "+l.target.State, "others may write in the state folder (mode %04o)", info.Mode().Perm())
		default:
			names = append(names, secretsIn(l.target.State)...)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		switch info, err := os.Stat(name); {
		case errors.Is(err, fs.ErrNotExist):
			f.wrong(name, "Make the file, or take it from the configuration.", "the file is not there")
		case err != nil:
			f.unknown(name, "%v", err)
		case info.Mode().Perm()&0o077 != 0:
			f.wrong(name, "chmod 600 "+name, "it holds a secret, and others may read it (mode %04o)", info.Mode().Perm())
		}
	}
	switch {
	case len(names) == 0 && l.target.State == "" && len(f.lines) == 0:
		f.skip("", "no state folder is known: give --config")
	case !f.bad():
		f.ok(l.target.State, "%d secret files are nobody else's", len(names))
	}
}

// secretsIn returns the files of a state folder, three levels deep, whose names say that they
// hold keys.
func secretsIn(state string) []string {
	var out []string
	for _, pattern := range []string{"*", "*/*", "*/*/*"} {
		found, err := filepath.Glob(filepath.Join(state, pattern))
		if err != nil {
			continue
		}
		for _, name := range found {
			base := filepath.Base(name)
			if suffix := filepath.Ext(base); suffix == ".key" || suffix == ".keys" || strings.HasPrefix(base, "dkim-") && suffix == ".pem" || strings.HasSuffix(base, "key.pem") {
				out = append(out, name)
			}
		}
	}
	return out
}

// How much room there should be: a part of the disk, and for some large mails.
const (
	littleRoom = 512 << 20
	noRoom     = 100 << 20
)

func checkDisk(_ context.Context, l *look, f *findings) {
	dir := l.target.State
	if dir == "" {
		f.skip("", "no state folder is known: give --config")
		return
	}
	space, err := l.env.Disk(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.skip(dir, "the state folder is not there yet")
		return
	case err != nil:
		f.unknown(dir, "%v", err)
		return
	}
	free, percent := space.Free>>20, 100*space.Free/max(space.Total, 1)
	switch {
	case space.Free < noRoom:
		f.wrong(dir, "", "only %d MiB are free", free)
	case space.Files > 0 && space.FreeFiles*100 < space.Files:
		f.wrong(dir, "Remove files: the file system can hold no more of them (df -i).", "only %d more files can be made", space.FreeFiles)
	case space.Free < littleRoom || percent < 5:
		f.note(dir, "", "only %d MiB are free, %d %%", free, percent)
	default:
		f.ok(dir, "%d MiB are free, %d %%", free, percent)
	}
}

// How far the clock may be wrong. TSIG allows five minutes (RFC 8945 section 10).
const (
	wrongClock = time.Minute
	looseClock = 5 * time.Second
)

func checkClock(ctx context.Context, l *look, f *findings) {
	if l.target.Clock == "" {
		f.skip("", "there is no clock to compare with")
		return
	}
	ahead, err := l.compareClock(ctx)
	if err != nil {
		f.unknown(l.target.Clock, "the time could not be asked: %v", err)
		return
	}
	switch off := ahead.Abs().Round(100 * time.Millisecond); {
	case off > wrongClock:
		f.wrong(l.target.Clock, "", "the clock is %v %s", off, side(ahead))
	case off > looseClock:
		f.note(l.target.Clock, "", "the clock is %v %s", off, side(ahead))
	default:
		f.ok(l.target.Clock, "the clock is right")
	}
}

func side(ahead time.Duration) string {
	if ahead > 0 {
		return "ahead"
	}
	return "behind"
}
