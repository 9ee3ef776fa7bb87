package authority

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A copyFile is where a Secondary keeps a zone: as zone text, whose time of change is when the
// primary last said that it is current.
type copyFile struct {
	dir, zone string
}

func (f copyFile) path() string { return filepath.Join(f.dir, fileName(f.zone)+".zone") }

// fileName returns the name of a zone with what does not belong into a file name escaped.
func fileName(zone string) string {
	var b strings.Builder
	for _, c := range []byte(dns.Host(zone)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

// read returns nil without an error if there is no copy.
func (f copyFile) read() (*zoneCopy, error) {
	text, err := os.ReadFile(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(f.path())
	if err != nil {
		return nil, err
	}
	parsed, problems := parseFile(f.path(), f.zone, string(text))
	if fatal(problems) {
		return nil, problems[len(problems)-1]
	}
	z, err := NewZone(f.zone, parsed.records())
	if err != nil {
		return nil, err
	}
	return &zoneCopy{z, info.ModTime()}, nil
}

// write replaces the copy.
func (f copyFile) write(c *zoneCopy) error {
	if err := replaceFile(f.path(), []byte(render(c.zone))); err != nil {
		return err
	}
	return f.touch(c.checked)
}

// replaceFile puts data in place of what is at path, for nobody else to read: after a crash
// there is the one or the other, and after a nil error there is data.
func replaceFile(path string, data []byte) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (f copyFile) touch(at time.Time) error {
	return os.Chtimes(f.path(), at, at)
}
