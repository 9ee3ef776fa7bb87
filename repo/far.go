package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// A session is one conversation with git-upload-pack. The sessions of go-git fit.
type session interface {
	AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error)
	UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// far is a repository at the end of a wire.
type far struct {
	dial func(ctx context.Context, service string, limit int64) (session, error)
}

func (f far) fetch(ctx context.Context, branch string, l Limits, last *Snapshot) (*Snapshot, error) {
	s, err := f.dial(ctx, transport.UploadPackServiceName, l.Total)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	offered, err := s.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return nil, ErrEmpty
	}
	if err != nil {
		return nil, orTimeout(ctx, fmt.Errorf("list of branches: %w", err))
	}
	name, commit, err := pickOffered(offered, branch)
	if err != nil {
		return nil, err
	}
	if last != nil && last.Version == commit.String() && last.Branch == name {
		return last, nil
	}
	objects, err := download(ctx, s, offered, commit, l)
	if err != nil {
		return nil, orTimeout(ctx, fmt.Errorf("download: %w", err))
	}
	return readCommit(ctx, objects, name, commit, l)
}

// orTimeout names the end of the context as the cause, where it closed the connection.
func orTimeout(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	return err
}

func pickOffered(offered *packp.AdvRefs, branch string) (string, plumbing.Hash, error) {
	all, err := offered.AllReferences()
	if err != nil {
		return "", plumbing.ZeroHash, err
	}
	return pickBranch(refsOf(all), branch)
}

// download fetches one commit with all that belongs to it, and nothing before it.
func download(ctx context.Context, s session, offered *packp.AdvRefs, commit plumbing.Hash, l Limits) (storer.EncodedObjectStorer, error) {
	req := packp.NewUploadPackRequestFromCapabilities(offered.Capabilities)
	// Without side bands the answer is the bare pack, and its length is what we read.
	for _, c := range []capability.Capability{capability.Sideband, capability.Sideband64k,
		capability.MultiACK, capability.MultiACKDetailed, capability.ThinPack} {
		req.Capabilities.Delete(c)
	}
	if offered.Capabilities.Supports(capability.Shallow) {
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
		req.Depth = packp.DepthCommits(1)
	}
	req.Wants = []plumbing.Hash{commit}
	resp, err := s.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer resp.Close()
	return unpack(ctx, resp, l)
}

// A pusher is one conversation with git-receive-pack. The sessions of go-git fit.
type pusher interface {
	ReceivePack(ctx context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error)
}

func (f far) commit(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error) {
	if base.Branch == "" {
		return nil, ErrRejected
	}
	g, err := newGraft(base, changes)
	if err != nil {
		return nil, err
	}
	s, err := f.dial(ctx, transport.ReceivePackServiceName, l.Total)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	offered, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, orTimeout(ctx, fmt.Errorf("list of branches: %w", err))
	}
	if _, now, err := pickOffered(offered, base.Branch); err != nil || now.String() != base.Version {
		return nil, errors.Join(ErrMoved, err)
	}
	req, err := g.request(offered, base)
	if err != nil {
		return nil, err
	}
	report, err := s.(pusher).ReceivePack(ctx, req)
	if err == nil {
		err = report.Error()
	}
	if err == nil {
		return g.snapshot(base, changes)
	}
	return f.afterFailure(ctx, base, changes, g, l, orTimeout(ctx, err))
}

// afterFailure looks at what became of a push that failed, or whose answer was lost.
func (f far) afterFailure(ctx context.Context, base *Snapshot, changes []Change, g *graft, l Limits, cause error) (*Snapshot, error) {
	now, err := f.fetch(ctx, base.Branch, l, base)
	switch {
	case err != nil:
		return nil, errors.Join(cause, err)
	case now.Version == g.id.String():
		return g.snapshot(base, changes)
	case now.Version != base.Version:
		return nil, fmt.Errorf("%w: %w", ErrMoved, cause)
	}
	return nil, fmt.Errorf("%w: %w", ErrRejected, cause)
}

// request is the push of a graft: the branch moves from base, or not at all.
func (g *graft) request(offered *packp.AdvRefs, base *Snapshot) (*packp.ReferenceUpdateRequest, error) {
	pack, _, _, err := packObjects(g.objects)
	if err != nil {
		return nil, err
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(offered.Capabilities)
	req.Commands = []*packp.Command{{
		Name: plumbing.NewBranchReferenceName(base.Branch),
		Old:  plumbing.NewHash(base.Version),
		New:  g.id,
	}}
	req.Packfile = io.NopCloser(bytes.NewReader(pack))
	return req, nil
}
