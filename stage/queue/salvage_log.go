package queue

import (
	"encoding/binary"
	"io"
)

// The library's log is blocks of 32 KiB of chunks that do not cross them. A chunk is checksum
// (4), length (2), type (1), number of the log (4), and, in the types 9 to 12, the offset up
// to which the log was synced (8); then its part of a record. The numbers are little-endian.
// The types of each form are: whole record, first, middle and last part.
const (
	logBlock      = 32 << 10
	logHead       = 11
	logHeadSynced = 19
)

// readLog calls f with every whole record of a log that can be read, and says whether there
// is a gap before it; it returns how many gaps there are. Behind damage it looks for the next
// chunk octet by octet, so that nothing is lost but what was hit.
func readLog(r io.Reader, number uint32, f func(record []byte, gap bool)) (gaps int, err error) {
	block := make([]byte, logBlock)
	var record []byte
	open, skipped := false, 0
	for {
		n, err := io.ReadFull(r, block)
		for at := 0; at+logHead <= n; {
			part, kind, size := parseChunk(block[at:n], number)
			if size == 0 { // padding, the old content of a file used again, or damage
				at++
				skipped++
				continue
			}
			// The end of a block is left empty where no chunk fits.
			if skipped >= logHeadSynced {
				gaps++
				open = false
			}
			at += size
			skipped = 0
			switch kind {
			case 0:
				f(part, gaps > 0)
			case 1:
				record, open = append(record[:0], part...), true
				continue
			default:
				if !open {
					gaps = max(gaps, 1)
					continue
				}
				record = append(record, part...)
				if kind == 2 {
					continue
				}
				f(record, gaps > 0)
			}
			open = false
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return gaps, nil
		case err != nil:
			return gaps, err
		}
	}
}

// parseChunk reads the chunk at the beginning of b; size 0 means that there is none. kind is
// 0 for a whole record, 1, 2 and 3 for the first, a middle and the last part of one.
func parseChunk(b []byte, number uint32) (part []byte, kind, size int) {
	if len(b) < logHead || b[6] < 5 || b[6] > 12 || binary.LittleEndian.Uint32(b[7:]) != number {
		return nil, 0, 0
	}
	head := logHead
	if b[6] >= 9 {
		head = logHeadSynced
	}
	size = head + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return nil, 0, 0
	}
	if !chunkSum(b[:size]) {
		return nil, 0, 0
	}
	return b[head:size], int(b[6]-5) % 4, size
}

// carve calls f with every record of ours that stands whole in the raw bytes of a file; that
// is possible since the tables are not compressed.
func carve(raw []byte, f func(record []byte)) {
	for at := 0; at+recordHead <= len(raw); at++ {
		if raw[at] != recordMagic[0] || string(raw[at:at+3]) != recordMagic {
			continue
		}
		size := recordHead + int(binary.BigEndian.Uint32(raw[at+5:]))
		if size > len(raw)-at || size < recordHead {
			continue
		}
		if _, err := openRecord(raw[at+3], raw[at:at+size]); err == nil {
			f(raw[at : at+size])
			at += size - 1
		}
	}
}
