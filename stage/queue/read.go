package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"stagecoach/mail"
)

// Load implements Store.
func (s *pebbleStore) Load(_ context.Context, id ID) (*Letter, *mail.Message, error) {
	b, err := s.get(letterKey(id))
	if errors.Is(err, ErrNoEntry) {
		return nil, nil, fmt.Errorf("%w: letter %s is not there", ErrDamaged, id)
	}
	if err != nil {
		return nil, nil, err
	}
	l, err := decodeLetter(b)
	if err == nil && l.ID != id {
		err = fmt.Errorf("%w: the letter of another id", ErrDamaged)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := s.message(l)
	return l, m, err
}

// message makes a message of a letter in memory, or of its file.
func (s *pebbleStore) message(l *Letter) (*mail.Message, error) {
	if l.file == nil {
		return l.inMemory(), nil
	}
	f, err := s.openBody(l)
	if err != nil {
		return nil, err
	}
	return l.message(f, l.file.size, f), nil
}

// scanSlice is how many entries Scan reads with one iterator: one that lives long would keep
// the library from dropping what is deleted.
const scanSlice = 1000

// Scan implements Store.
func (s *pebbleStore) Scan(ctx context.Context, from Key) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		next := entryKey(from)
		skip := uint64(1)
		for next != nil {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			page, errs, last, more := s.page(next)
			switch {
			case more:
				next, skip = last, 1
			case len(errs) > 0 && page[len(page)-1] == nil && errors.Is(errs[len(errs)-1], ErrDamaged):
				next, skip = behindDamage(last, skip), 2*skip
			default:
				next = nil
			}
			for i, e := range page {
				if !yield(e, errs[i]) {
					return
				}
			}
		}
	}
}

// page reads up to scanSlice entries. If there are more, last is the first of them; if not,
// it is the last key that was read. An error that ends it early comes with a nil entry.
func (s *pebbleStore) page(from []byte) (page []*Entry, errs []error, last []byte, more bool) {
	add := func(e *Entry, err error) { page, errs = append(page, e), append(errs, err) }
	last = from
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{keyEntry + 1}})
	if err != nil {
		add(nil, s.readError(err))
		return page, errs, last, false
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		last = append(last[:0:0], it.Key()...)
		if len(page) == scanSlice {
			return page, errs, last, true
		}
		k, ok := parseEntryKey(it.Key())
		if !ok {
			continue
		}
		v, err := it.ValueAndErr()
		if err == nil {
			var e *Entry
			if e, err = decodeEntry(append([]byte(nil), v...)); err == nil {
				add(e, nil)
				continue
			}
		}
		add(&Entry{Key: k, Damaged: true}, s.readError(err))
	}
	if err := it.Error(); err != nil {
		add(nil, s.readError(err))
	}
	return page, errs, last, false
}

// behindDamage returns the key some milliseconds behind one where a block cannot be read:
// entries sort by time.
func behindDamage(key []byte, ms uint64) []byte {
	k, ok := parseEntryKey(key)
	if !ok {
		return nil
	}
	t := binary.BigEndian.Uint64(k.ID[:8])>>16 + ms
	if t >= 1<<48 {
		return nil
	}
	var id ID
	binary.BigEndian.PutUint64(id[:8], t<<16)
	return entryKey(Key{ID: id})
}
