package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// The library takes damage near the end of its files for the torn end that a crash leaves,
// and drops what follows without a word. So we look before it opens them. Damage to the very
// last record of a log, and a log that was cut off, cannot be told from a torn end by anyone.

// precheck looks into the files of the database. It returns the records of the last log that
// stand behind damage, which the library will drop; and an error if its list of tables is
// damaged.
func (s *pebbleStore) precheck() (behind [][]byte, err error) {
	names, err := s.fs.List(s.path("db"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	manifest, lastLog, number := "", "", uint64(0)
	highest := ""
	for _, name := range names {
		if m, ok := strings.CutPrefix(name, "marker.manifest."); ok && m > highest {
			highest = m
			_, manifest, _ = strings.Cut(m, ".")
		}
		if strings.HasPrefix(name, "OPTIONS-") { // ours are fixed: damage there shall not matter
			if err := s.fs.Remove(s.path("db", name)); err != nil {
				return nil, err
			}
		}
		if base, ok := strings.CutSuffix(name, ".log"); ok {
			n, err := strconv.ParseUint(base, 10, 32)
			if err == nil && n >= number {
				lastLog, number = name, n
			}
		}
	}
	if manifest != "" {
		if err := s.checkManifest(manifest); err != nil {
			return nil, err
		}
	}
	if lastLog == "" {
		return nil, nil
	}
	return s.behindDamage(lastLog, uint32(number))
}

func (s *pebbleStore) readDB(name string) ([]byte, error) {
	f, err := s.fs.Open(s.path("db", name))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	return raw, errors.Join(err, f.Close())
}

// checkManifest looks whether the list of tables is whole: chunks as in a log, of the types 1
// to 4 and without a number, and nothing else.
func (s *pebbleStore) checkManifest(name string) error {
	raw, err := s.readDB(name)
	if err != nil {
		return err
	}
	for at := 0; at < len(raw); {
		block := raw[at:min(len(raw), at/logBlock*logBlock+logBlock)]
		const head = 7
		size := 0
		if len(block) >= head && block[6] >= 1 && block[6] <= 4 {
			size = head + int(binary.LittleEndian.Uint16(block[4:]))
		}
		if size == 0 || size > len(block) || !chunkSum(block[:size]) {
			if strings.Trim(string(block), "\x00") != "" {
				return fmt.Errorf("%w: %s at %d", ErrDamaged, name, at)
			}
			size = len(block)
		}
		at += size
	}
	return nil
}

// chunkSum checks the checksum of a chunk.
func chunkSum(chunk []byte) bool {
	sum := crc32.Checksum(chunk[6:], castagnoli)
	return binary.LittleEndian.Uint32(chunk) == (sum>>15|sum<<17)+0xa282ead8
}

// behindDamage returns the records of a log that stand behind a gap.
func (s *pebbleStore) behindDamage(name string, number uint32) (behind [][]byte, err error) {
	f, err := s.fs.Open(s.path("db", name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = readLog(f, number, func(record []byte, gap bool) {
		if gap && len(record) > 12 {
			behind = append(behind, append([]byte(nil), record...))
		}
	})
	return behind, err
}

// replay writes records again that the library has dropped. If some of them were never
// synced, it does no harm: they are whole, and each stands for itself.
func (s *pebbleStore) replay(behind [][]byte) error {
	if len(behind) == 0 {
		return nil
	}
	s.alarm("log", fmt.Errorf("%w: something before its last %d records; a mail may be lost", ErrDamaged, len(behind)))
	for _, record := range behind {
		b := s.db.NewBatch()
		err := eachOp(record, func(o op) {
			key := append([]byte(nil), o.key...)
			if o.gone {
				b.Delete(key, nil) //nolint:errcheck // a batch in memory
			} else {
				b.Set(key, append([]byte(nil), o.value...), nil) //nolint:errcheck
			}
		})
		if err == nil {
			err = s.apply(b, pebble.NoSync)
		}
		if err != nil {
			return err
		}
	}
	return s.commit(s.db.NewBatch())
}
