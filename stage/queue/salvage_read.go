package queue

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// A wreck is the folder of a damaged database.
type wreck struct {
	s      *pebbleStore
	dir    string
	damage int // places that could not be read
	report bool
}

// An op is one change of a key, as a log or a table has it. seq 0 is of a record that was
// carved out of a file: nothing is known of its time.
type op struct {
	seq        uint64
	gone       bool
	key, value []byte
}

// each calls f for the changes in all logs and tables. They are in no order, and some come
// more than once. What op holds is valid only until f returns.
func (w *wreck) each(f func(op)) error {
	names, err := w.s.fs.List(w.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := w.s.fs.PathJoin(w.dir, name)
		var err error
		switch {
		case strings.HasSuffix(name, ".log"):
			err = w.log(path, name, f)
		case strings.HasSuffix(name, ".sst"):
			err = w.table(path, f)
		}
		if err != nil {
			w.hit(path, err)
		}
	}
	return nil
}

// hit notes a place that cannot be read.
func (w *wreck) hit(path string, err error) {
	w.damage++
	if w.report {
		w.s.alarm(path, err)
	}
}

func (w *wreck) log(path, name string, f func(op)) error {
	number, err := strconv.ParseUint(strings.SplitN(strings.TrimSuffix(name, ".log"), "-", 2)[0], 10, 32)
	if err != nil {
		return err
	}
	file, err := w.s.fs.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	gaps, err := readLog(file, uint32(number), func(record []byte, _ bool) {
		if err := eachOp(record, f); err != nil {
			w.hit(path, err)
		}
	})
	if gaps > 0 {
		w.hit(path, fmt.Errorf("%w: in %d places", ErrDamaged, gaps))
	}
	return err
}

// eachOp calls f for the changes of one batch.
func eachOp(record []byte, f func(op)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	var b pebble.Batch
	if len(record) < 12 {
		return nil // the end mark of a log
	}
	if err := b.SetRepr(append([]byte(nil), record...)); err != nil {
		return err
	}
	seq := binary.LittleEndian.Uint64(record)
	for r := b.Reader(); ; seq++ {
		kind, key, value, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if kind == pebble.InternalKeyKindLogData {
			seq--
		}
		emit(kind, seq, key, value, f)
	}
}

func emit(kind pebble.InternalKeyKind, seq uint64, key, value []byte, f func(op)) {
	switch kind {
	case pebble.InternalKeyKindSet, pebble.InternalKeyKindSetWithDelete:
		f(op{seq, false, key, value})
	case pebble.InternalKeyKindDelete, pebble.InternalKeyKindSingleDelete, pebble.InternalKeyKindDeleteSized:
		f(op{seq, true, key, nil})
	}
}

// table reads a table from both ends up to what is damaged, and carves what lies between.
func (w *wreck) table(path string, f func(op)) error {
	file, err := w.s.fs.Open(path)
	if err != nil {
		return err
	}
	err = w.tableKeys(path, f)
	if err == nil {
		return file.Close()
	}
	defer file.Close()
	raw, e := io.ReadAll(file)
	if e != nil && len(raw) == 0 {
		return e
	}
	carve(raw, func(record []byte) {
		if key := keyOf(record); key != nil {
			f(op{0, false, key, record})
		}
	})
	return err
}

// keyOf returns the key of a record by its content.
func keyOf(record []byte) []byte {
	switch record[3] {
	case kindLetter:
		if l, err := decodeLetter(record); err == nil {
			return letterKey(l.ID)
		}
	case kindEntry:
		if e, err := decodeEntry(record); err == nil {
			return entryKey(e.Key)
		}
	}
	return nil
}

func (w *wreck) tableKeys(path string, f func(op)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	file, err := w.s.fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		file.Close()
		return err
	}
	o := w.s.options()
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return err // it has closed the file
	}
	defer r.Close()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	var last []byte
	for kv := it.First(); kv != nil; kv = it.Next() {
		value, _, err := kv.Value(nil)
		if err != nil {
			return err
		}
		last = append(last[:0], kv.K.UserKey...)
		emit(kv.Kind(), uint64(kv.SeqNum()), kv.K.UserKey, value, f)
	}
	if err = it.Error(); err == nil {
		return it.Close()
	}
	for kv := it.Last(); kv != nil && string(kv.K.UserKey) > string(last); kv = it.Prev() {
		value, _, e := kv.Value(nil)
		if e != nil {
			break
		}
		emit(kv.Kind(), uint64(kv.SeqNum()), kv.K.UserKey, value, f)
	}
	it.Close() //nolint:errcheck // it says what is known
	return err
}
