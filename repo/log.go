package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// An Entry is a commit as a log shows it.
type Entry struct {
	ID      string // of the commit, in hex
	Author  string
	When    time.Time
	Subject string // first line of the message
}

// Log returns the n newest commits of a Snapshot, the newest first, along first parents. Only a
// repository on this machine has a log; elsewhere there are no entries.
func (r *Remote) Log(ctx context.Context, s *Snapshot, n int) ([]Entry, error) {
	at, ok := r.source.(*local)
	if !ok {
		return nil, nil
	}
	repository, err := git.PlainOpenWithOptions(at.path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("%s: log: %w", r.at, err)
	}
	var out []Entry
	for id := plumbing.NewHash(s.Version); len(out) < n && ctx.Err() == nil; {
		c, err := object.GetCommit(repository.Storer, id)
		if errors.Is(err, plumbing.ErrObjectNotFound) && len(out) > 0 {
			break // a shallow clone ends here
		}
		if err != nil {
			return nil, fmt.Errorf("%s: log: %w", r.at, err)
		}
		subject, _, _ := strings.Cut(c.Message, "\n")
		out = append(out, Entry{ID: id.String(), Author: c.Author.Name, When: c.Author.When, Subject: subject})
		if len(c.ParentHashes) == 0 {
			break
		}
		id = c.ParentHashes[0]
	}
	return out, ctx.Err()
}
