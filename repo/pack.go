package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// unpack reads a pack into memory. The library inflates whatever a pack holds, so the pack
// is gone through once before, without keeping anything, to see that it is within limits.
func unpack(ctx context.Context, r io.Reader, l Limits) (storer.EncodedObjectStorer, error) {
	data, err := io.ReadAll(io.LimitReader(r, l.Total+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > l.Total {
		return nil, fmt.Errorf("a pack larger than %d octets: %w", l.Total, ErrLimit)
	}
	if err := inspect(ctx, data, l); err != nil {
		return nil, err
	}
	objects := memory.NewStorage()
	p, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(data)), objects)
	if err != nil {
		return nil, err
	}
	if _, err := p.Parse(); err != nil {
		return nil, err
	}
	return objects, nil
}

// inspect checks the sizes of all objects in a pack against the limits. A pack holds, besides
// files, a commit and a folder for some of them, so that there are twice as many objects at most.
func inspect(ctx context.Context, data []byte, l Limits) error {
	scanner := packfile.NewScanner(bytes.NewReader(data))
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	if int64(count) > 2*int64(l.Files)+16 {
		return fmt.Errorf("%d objects: %w", count, ErrLimit)
	}
	var total int64
	for range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		head, err := scanner.NextObjectHeader()
		if err != nil {
			return err
		}
		size, err := inspectObject(scanner, head, l)
		if err != nil {
			return err
		}
		if total += size; total > 2*l.Total {
			return fmt.Errorf("objects of more than %d octets: %w", 2*l.Total, ErrLimit)
		}
	}
	return nil
}

// inspectObject returns how much memory an object takes once it is unpacked.
func inspectObject(scanner *packfile.Scanner, head *packfile.ObjectHeader, l Limits) (int64, error) {
	most := l.FileSize
	if head.Type != plumbing.BlobObject {
		most = l.Total // a folder of very many files
	}
	if head.Length < 0 || head.Length > most {
		return 0, fmt.Errorf("an object of %d octets: %w", head.Length, ErrLimit)
	}
	w := &prefix{left: head.Length}
	if _, _, err := scanner.NextObject(w); err != nil {
		return 0, err
	}
	if head.Type != plumbing.OFSDeltaObject && head.Type != plumbing.REFDeltaObject {
		return head.Length, nil
	}
	// A delta begins with the lengths of what it is based on and of what it makes.
	_, n := binary.Uvarint(w.begin[:w.n])
	if n <= 0 {
		return 0, errors.New("a malformed delta")
	}
	makes, n := binary.Uvarint(w.begin[n:w.n])
	if n <= 0 || makes > uint64(l.Total) {
		return 0, fmt.Errorf("a delta that makes %d octets: %w", makes, ErrLimit)
	}
	return head.Length + int64(makes), nil
}

// A prefix keeps the first octets written to it, and refuses more than was announced.
type prefix struct {
	begin [2 * binary.MaxVarintLen64]byte
	n     int
	left  int64
}

func (p *prefix) Write(b []byte) (int, error) {
	if p.left -= int64(len(b)); p.left < 0 {
		return 0, errors.New("an object longer than it says")
	}
	p.n += copy(p.begin[p.n:], b)
	return len(b), nil
}
