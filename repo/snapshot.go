package repo

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/storage/memory"
)

// A Snapshot is what a Remote held at one version. It does not change; who reads it does
// not change it either.
type Snapshot struct {
	Version string            // id of the commit, or "sha256:" and a hash of a plain folder
	Branch  string            // name of the branch, "" for a plain folder or a detached HEAD
	Files   map[string][]byte // by slash-separated path

	objects *memory.Storage // the commit and its trees, for who adds to it; nil for a plain folder
	ours    bool            // the commit was made here, and all of it is durable
}

// Names returns the paths of all files in their order.
func (s *Snapshot) Names() []string { return slices.Sorted(maps.Keys(s.Files)) }

// A gatherer collects files within limits.
type gatherer struct {
	limits Limits
	files  map[string][]byte
	count  int
	total  int64
}

func newGatherer(l Limits) *gatherer {
	return &gatherer{limits: l, files: map[string][]byte{}}
}

// enter counts a file or folder and checks its name and depth.
func (g *gatherer) enter(path string, depth int) error {
	if !fs.ValidPath(path) {
		return fmt.Errorf("%q is no path of a file", path)
	}
	if g.count++; g.count > g.limits.Files {
		return fmt.Errorf("more than %d files: %w", g.limits.Files, ErrLimit)
	}
	if depth > g.limits.Depth {
		return fmt.Errorf("%s: more than %d folders deep: %w", path, g.limits.Depth, ErrLimit)
	}
	return nil
}

// room checks that a file of this size may be added.
func (g *gatherer) room(path string, size int64) error {
	if size > g.limits.FileSize {
		return fmt.Errorf("%s: larger than %d octets: %w", path, g.limits.FileSize, ErrLimit)
	}
	if g.total += size; g.total > g.limits.Total {
		return fmt.Errorf("all files together: larger than %d octets: %w", g.limits.Total, ErrLimit)
	}
	return nil
}
