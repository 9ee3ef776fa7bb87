package hold

import (
	"context"
	"errors"
	"time"

	"stagecoach/mail"
)

const (
	defaultPoll = time.Second
	lookEvery   = time.Minute // at everything
)

// Run forwards what was released, sends digests and deletes what is too old, until ctx ends. Of
// several processes on one store one at a time does so.
func (h *Holder) Run(ctx context.Context) error {
	poll := h.Poll
	if poll <= 0 {
		poll = defaultPoll
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for first := true; ; first = false {
		woken := h.Store.take(wakeFile)
		if first || woken || !h.now().Before(h.looked.Add(lookEvery)) {
			h.looked = h.now()
			if err := h.Round(ctx); err != nil && ctx.Err() == nil {
				h.log().Error("held mail", "stage", "hold", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.waking():
			h.looked = time.Time{}
		}
	}
}

// Round does once what there is to be done.
func (h *Holder) Round(ctx context.Context) error {
	unlock, err := h.Store.lock()
	if err != nil || unlock == nil {
		return err
	}
	defer unlock()
	err = h.Store.clean(h.now())
	forced := h.Store.take(digestFile)
	folders, e := h.Store.folders()
	err = errors.Join(err, e)
	for _, folder := range folders {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		items, e := readFolder(folder)
		err = errors.Join(err, e, h.reader(ctx, folder, items, forced))
	}
	return err
}

// reader does what there is to be done for one reader.
func (h *Holder) reader(ctx context.Context, folder string, items []Item, forced bool) error {
	var err error
	var held []Item
	for _, it := range items {
		if it.Released {
			err = errors.Join(err, h.send(ctx, it))
		} else {
			held = append(held, it)
		}
	}
	t, e := readTold(folder)
	if e != nil {
		return errors.Join(err, e)
	}
	held, e = h.expire(held, t)
	err = errors.Join(err, e)
	return errors.Join(err, h.digest(ctx, folder, held, t, forced))
}

// send forwards a released mail. It is removed when the next stage has taken it; a crash between the
// two has it sent twice, never lost. What cannot be forwarded is held again.
func (h *Holder) send(ctx context.Context, it Item) error {
	m, err := it.Mail()
	if err != nil {
		return err
	}
	defer m.Message.Close()
	relabel(&m.Message.Header, verdict{probability: it.Probability})
	ctx = mail.WithTrace(ctx, "held-"+it.ID)
	switch err := h.Next.Handle(ctx, m); {
	case err == nil:
		return h.Store.Delete(it)
	case mail.IsPermanent(err):
		return errors.Join(err, h.Store.keep(it))
	default:
		return err // the next round tries again
	}
}

// expire deletes what is too old and was told of. Of what nobody can be told the age alone counts.
func (h *Holder) expire(items []Item, t told) (left []Item, err error) {
	for _, it := range items {
		old := !h.now().Before(h.Store.Expires(it))
		if !old || t[it.ID] == 0 && h.DigestAt >= 0 && h.reads(it) {
			left = append(left, it)
			continue
		}
		if e := h.Store.Delete(it); e != nil && !errors.Is(e, ErrNotHeld) {
			err = errors.Join(err, e)
			continue
		}
		h.log().Info("held mail has expired", "stage", "hold", "user", it.User, "held", it.ID)
	}
	return left, err
}

// reads reports whether the reader of a mail still is one.
func (h *Holder) reads(it Item) bool {
	a, err := mail.ParseAddress(it.User)
	if err != nil {
		return false
	}
	_, ok := h.User(a)
	return ok
}
