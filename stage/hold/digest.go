package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"stagecoach/mail"
)

// told is what the reader knows of a held mail: 1 that it is held, 2 that it will be deleted soon.
type told map[string]int

const toldFile = "told"

func readTold(folder string) (told, error) {
	text, err := os.ReadFile(filepath.Join(folder, toldFile))
	if errors.Is(err, fs.ErrNotExist) {
		return told{}, nil
	}
	t := told{}
	if err == nil && json.Unmarshal(text, &t) != nil {
		t = told{} // then it is told again
	}
	return t, err
}

// write replaces the file with what there is to say of these mails.
func (t told) write(folder string, items []Item) error {
	left := told{}
	for _, it := range items {
		if n := t[it.ID]; n > 0 {
			left[it.ID] = n
		}
	}
	text, err := json.Marshal(left)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, newPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(folder, toldFile)); err != nil {
		return err
	}
	return syncDir(folder)
}

const (
	maxListed  = 100                // mails in one digest; the others are in the next
	soonBefore = 3 * 24 * time.Hour // of the end, to say it once more
)

// digest tells one reader what is new by the last moment at which digests are sent, if anything is.
func (h *Holder) digest(ctx context.Context, folder string, items []Item, t told, forced bool) error {
	if len(items) == 0 || h.DigestAt < 0 && !forced || !h.reads(items[0]) {
		return nil
	}
	due := h.lastDigest()
	if forced {
		due = h.now()
	}
	if !forced && h.sent[folder].Equal(due) {
		return nil // the file that says so could not be written
	}
	var fresh, ending []Item
	for _, it := range items {
		switch {
		case len(fresh)+len(ending) == maxListed:
		case t[it.ID] == 0 && !it.At.After(due):
			fresh = append(fresh, it)
		case t[it.ID] == 1 && !h.Store.Expires(it).Add(-soonBefore).After(due):
			ending = append(ending, it)
		}
	}
	if len(fresh)+len(ending) == 0 {
		return nil
	}
	m, err := h.compose(items, fresh, ending)
	if err != nil {
		return err
	}
	user := items[0].User
	if err := h.Next.Handle(mail.WithTrace(ctx, "digest-"+items[0].ID), m); err != nil {
		return fmt.Errorf("digest to %s: %w", user, err)
	}
	if h.sent == nil {
		h.sent = map[string]time.Time{}
	}
	h.sent[folder] = due
	h.log().Info("digest sent", "stage", "hold", "user", user, "new", len(fresh), "ending", len(ending), "held", len(items))
	for _, it := range fresh {
		t[it.ID] = 1
	}
	for _, it := range ending {
		t[it.ID] = 2
	}
	return t.write(folder, items)
}

// lastDigest returns the last moment at which digests were to be sent.
func (h *Holder) lastDigest() time.Time {
	now := h.now()
	at := func(day int) time.Time {
		minutes := int(h.DigestAt / time.Minute)
		return time.Date(now.Year(), now.Month(), now.Day()+day, minutes/60, minutes%60, 0, 0, now.Location())
	}
	if t := at(0); !t.After(now) {
		return t
	}
	return at(-1)
}
