package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk watches the space of the spool's file system. Mail is refused while less than the
// reserve is free, so that what is queued can still be delivered, and reports be written. If
// the disk fills up all the same, by another's doing, the ballast is given up, and the write
// that failed is done again in its space.
type disk struct {
	s       *pebbleStore
	fs      vfs.FS // for the database: gives the ballast up when a write finds no space
	reserve uint64
	ballast int64

	mu      sync.Mutex
	checked time.Time
	written int64 // since then
	full    bool
	thrown  bool // the ballast is gone
}

// How long the free space is believed, and how many octets written.
const (
	diskEvery   = time.Second
	diskFullTry = 200 * time.Millisecond
	diskWritten = 16 << 20
)

func newDisk(s *pebbleStore, o StoreOptions) *disk {
	d := &disk{s: s, reserve: uint64(max(o.Reserve, 0)), ballast: max(o.Ballast, 0)}
	d.fs = orderedFS{vfs.OnDiskFull(s.fs, d.throw)}
	return d
}

// An orderedFS syncs a folder before a marker is made in it: the library points with markers
// to files whose names it has not synced, and a file system may keep the one without the other.
type orderedFS struct{ vfs.FS }

// Create implements vfs.FS.
func (o orderedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(name), "marker.") {
		if err := syncDir(o.FS, o.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(name, c)
}

// Unwrap implements vfs.FS.
func (o orderedFS) Unwrap() vfs.FS { return o.FS }

// begin makes the ballast anew if there is space for it.
func (d *disk) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return nil
}

// room returns ErrFull if a mail of some size may not be taken. Mail in the place of a
// report that is already stored may always be.
func (d *disk) room(size int64, inPlace bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written += size
	every := diskEvery
	if d.full {
		every = diskFullTry
	}
	if time.Since(d.checked) >= every || d.written > diskWritten {
		d.look()
	}
	if d.full && !inPlace {
		return ErrFull
	}
	return nil
}

func (d *disk) short() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

// look asks for the free space. A file system that does not tell has enough.
func (d *disk) look() {
	d.checked, d.written = time.Now(), 0
	use, err := d.s.fs.GetDiskUsage(d.s.dir)
	was := d.full
	d.full = err == nil && use.AvailBytes < d.reserve
	if was != d.full {
		d.s.log.Warn("the disk of the spool", "short of space", d.full, "free", use.AvailBytes, "reserve", d.reserve)
	}
	if err == nil && use.AvailBytes > d.reserve+2*uint64(d.ballast) {
		d.refill()
	}
}

// throw gives the ballast up.
func (d *disk) throw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.checked = true, time.Now()
	if d.thrown {
		return
	}
	d.thrown = true
	err := d.s.fs.Remove(d.s.path("ballast"))
	d.s.log.Error("ALARM: the disk of the spool is full", "spool", d.s.dir, "error", err)
}

// refill writes the ballast if it is not there.
func (d *disk) refill() {
	d.thrown = false
	info, err := d.s.fs.Stat(d.s.path("ballast"))
	if d.ballast == 0 || err == nil && info.Size() >= d.ballast {
		return
	}
	if err := d.writeBallast(); err != nil {
		d.s.log.Warn("the ballast could not be written", "spool", d.s.dir, "error", err)
	}
}

func (d *disk) writeBallast() error {
	f, err := d.s.fs.Create(d.s.path("ballast"), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for left := d.ballast; left > 0 && err == nil; left -= int64(len(block)) {
		_, err = f.Write(block[:min(left, int64(len(block)))])
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w; %w", err, d.s.fs.Remove(d.s.path("ballast")))
	}
	return nil
}
