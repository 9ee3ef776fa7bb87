package queue

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// An ID names a letter. IDs sort by the time of their making, as their text does.
type ID [16]byte

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID returns an ID of 48 bits of time and 80 random ones.
func newID(t time.Time) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], uint64(max(t.UnixMilli(), 0))<<16)
	rand.Read(id[6:]) //nolint:errcheck // never fails (crypto/rand)
	return id
}

// String returns 26 letters and digits.
func (id ID) String() string { return idText.EncodeToString(id[:]) }

// ParseID reads what String wrote, in any case.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := idText.DecodeString(strings.ToLower(s))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("queue: %q is no id", s)
	}
	copy(id[:], b)
	if id.String() != strings.ToLower(s) {
		return ID{}, fmt.Errorf("queue: %q is no id", s)
	}
	return id, nil
}

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// A Key names an entry: what is left to do of one letter for one destination domain. The
// domain of a report that waits to be signed is "".
type Key struct {
	ID     ID
	Domain string
}

func (k Key) String() string { return k.ID.String() + "/" + k.Domain }
