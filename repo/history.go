package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrNoHistory says that a repository is not on this machine, so that there is no telling how its
// files were before.
var ErrNoHistory = errors.New("the repository is elsewhere, and its history not known")

// History goes back from a Snapshot, commit by commit along first parents, at most n steps. Each
// step tells how the files that differ looked before: nil where there was none. Only a
// repository on this machine has a history; elsewhere the error is ErrNoHistory.
func (r *Remote) History(ctx context.Context, s *Snapshot, n int) ([]map[string][]byte, error) {
	at, ok := r.source.(*local)
	if !ok || s.objects == nil {
		return nil, ErrNoHistory
	}
	repository, err := openRepository(at.path)
	if err != nil {
		return nil, fmt.Errorf("%s: history: %w", r.at, err)
	}
	commit, err := object.GetCommit(repository.Storer, plumbing.NewHash(s.Version))
	if err != nil {
		return nil, fmt.Errorf("%s: history: %w", r.at, err)
	}
	var steps []map[string][]byte
	for len(steps) < n && commit.NumParents() > 0 {
		parent, err := commit.Parent(0)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			break // a shallow clone ends here
		}
		if err != nil {
			return nil, fmt.Errorf("%s: history: %w", r.at, err)
		}
		step, err := r.undo(ctx, commit, parent)
		if err != nil {
			return nil, fmt.Errorf("%s: history: commit %s: %w", r.at, commit.Hash, err)
		}
		steps = append(steps, step)
		commit = parent
	}
	return steps, nil
}

// undo returns the files of parent that commit has otherwise.
func (r *Remote) undo(ctx context.Context, commit, parent *object.Commit) (map[string][]byte, error) {
	now, err := commit.Tree()
	if err != nil {
		return nil, err
	}
	before, err := parent.Tree()
	if err != nil {
		return nil, err
	}
	changes, err := object.DiffTreeContext(ctx, now, before)
	if err != nil {
		return nil, err
	}
	step := map[string][]byte{}
	for _, c := range changes {
		if c.From.Name != "" {
			step[c.From.Name] = nil
		}
		if c.To.Name == "" {
			continue
		}
		file, err := before.TreeEntryFile(&c.To.TreeEntry)
		if err != nil {
			return nil, err
		}
		if file.Size > r.limits.FileSize {
			continue
		}
		text, err := file.Contents()
		if err != nil {
			return nil, err
		}
		step[c.To.Name] = []byte(text)
	}
	return step, nil
}
