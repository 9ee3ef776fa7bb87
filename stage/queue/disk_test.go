package queue

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A smallDisk says how much space is free.
type smallDisk struct {
	vfs.FS
	free atomic.Int64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(d.free.Load()), TotalBytes: 1 << 40}, nil
}
