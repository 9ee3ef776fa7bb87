package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"stagecoach/mail"
	"stagecoach/repo"
)

// A Keeper is a Source that can be written to; a *repo.Remote is one.
type Keeper interface {
	Source
	Commit(ctx context.Context, base *repo.Snapshot, changes ...repo.Change) (*repo.Snapshot, error)
}

var _ Keeper = (*repo.Remote)(nil)

// An Author is who changes accounts, as the history is to name him.
type Author struct{ Name, Email string }

// A Draft is a change of the files that is being made. Everything is looked up in the Book as
// it was before.
type Draft struct {
	Book *Book

	files   map[string][]byte // before
	changed map[string][]byte // nil removes a file
	put     []string          // files of users that were written
}

// maxAttempts bounds how often a change is made again because somebody else was faster.
const maxAttempts = 10

// Edit changes accounts by one commit, and returns whether anything was to be changed. change
// is called again on what is there then when somebody else was faster, so it does nothing but
// to change the Draft; it returns the subject of the commit. Nothing is committed when it
// fails, or when the files would not be understood after it.
//
// What the files say counts: Settings.Confirmed and Settings.Trust are without meaning here.
func Edit(ctx context.Context, k Keeper, s Settings, by Author, change func(*Draft) (string, error)) (bool, error) {
	s.Confirmed, s.Trust = nil, false
	for attempt := range maxAttempts {
		changed, err := edit(ctx, k, s, by, change)
		if !errors.Is(err, repo.ErrMoved) || attempt == maxAttempts-1 {
			return changed, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(rand.N(50 * time.Millisecond << attempt)):
		}
	}
	return false, nil // not reached
}

func edit(ctx context.Context, k Keeper, s Settings, by Author, change func(*Draft) (string, error)) (bool, error) {
	base, err := k.Fetch(ctx)
	if err != nil {
		return false, err
	}
	book, err := Parse(base.Files, s)
	if err != nil {
		return false, fmt.Errorf("%s has errors already, which must be mended first:\n%w", k, err)
	}
	d := &Draft{Book: book, files: base.Files, changed: map[string][]byte{}}
	subject, err := change(d)
	if err != nil {
		return false, err
	}
	if len(d.changed) == 0 {
		return false, nil
	}
	if err := d.check(s); err != nil {
		return false, err
	}
	_, err = k.Commit(ctx, base, repo.Change{
		Files: d.changed, Message: subject + "\n", Name: by.Name, Email: by.Email, When: time.Now(),
	})
	return err == nil, err
}

// check reads the files as they will be.
func (d *Draft) check(s Settings) error {
	after := map[string][]byte{}
	for name, data := range d.files {
		after[name] = data
	}
	for name, data := range d.changed {
		if after[name] = data; data == nil {
			delete(after, name)
		}
	}
	book, err := Parse(after, s)
	if err != nil {
		return err
	}
	for _, file := range d.put {
		for _, u := range book.users {
			if t, ok := book.circle(u); ok && u.File == file && !d.circledBefore(file) {
				return fmt.Errorf("%s: the target %s leads back to %s: mail would go in a circle", file, t, u.address)
			}
		}
	}
	return nil
}

func (d *Draft) circledBefore(file string) bool {
	for _, u := range d.Book.users {
		if u.File == file {
			_, ok := d.Book.circle(u)
			return ok
		}
	}
	return false
}

// circle returns the target of a user through which mail to him comes back to him.
func (b *Book) circle(u *User) (mail.Address, bool) {
	for _, t := range u.Targets {
		seen := map[*User]bool{}
		for queue := []mail.Address{t}; len(queue) > 0; queue = queue[1:] {
			next, ok := b.Lookup(queue[0])
			switch {
			case !ok || seen[next]:
			case next == u:
				return t, true
			default:
				seen[next] = true
				queue = append(queue, next.Targets...)
			}
		}
	}
	return mail.Address{}, false
}

// Entry returns what the files say about a user of the Draft's Book.
func (d *Draft) Entry(u *User) (*Entry, error) { return readEntry(u, d.files[u.File]) }

// New returns an empty entry for a name that must be free.
func (d *Draft) New(a mail.Address) (*Entry, error) {
	if u, taken := d.Book.Holder(a); taken {
		return nil, fmt.Errorf("%s is taken by %s", a, u.address)
	}
	file, err := d.Book.fileFor(a)
	return &Entry{File: file}, err
}

// Put writes an entry.
func (d *Draft) Put(e *Entry) error {
	domain := d.Book.main
	if i := bytes.IndexByte([]byte(e.File), '/'); i >= 0 {
		var err error
		if domain, err = mail.CanonicalDomain(e.File[:i]); err != nil {
			return err
		}
	}
	text, err := e.text(domain)
	if err != nil {
		return err
	}
	d.write(e.File, text)
	d.write(pendingFolder+e.File, e.pendingText())
	d.put = append(d.put, e.File)
	return nil
}

// Confirm takes a target of a user for confirmed. The user's own file stays as it is.
func (d *Draft) Confirm(u *User, target mail.Address) error {
	if !HasTarget(u.Pending, target) {
		return nil
	}
	e, err := d.Entry(u)
	if err != nil {
		return err
	}
	e.Pending = slices.DeleteFunc(slices.Clone(e.Pending), func(a mail.Address) bool { return fold(a) == fold(target) })
	d.write(pendingFolder+u.File, e.pendingText())
	return nil
}

// Remove removes a user.
func (d *Draft) Remove(u *User) {
	d.write(u.File, nil)
	d.write(pendingFolder+u.File, nil)
}

// write changes a file if that makes a difference.
func (d *Draft) write(name string, data []byte) {
	old, there := d.files[name]
	if there != (data != nil) || !bytes.Equal(old, data) {
		d.changed[name] = data
	}
}

// Holder returns who has an address as his name or as an alias; what a sub-address, a role or a
// catch-all stands for is free to be taken.
func (b *Book) Holder(a mail.Address) (*User, bool) {
	e, ok := b.entries[fold(a)]
	return e.user, ok
}

// HasTarget reports whether a list has an address, without regard to case.
func HasTarget(list []mail.Address, a mail.Address) bool {
	for _, b := range list {
		if fold(a) == fold(b) {
			return true
		}
	}
	return false
}
