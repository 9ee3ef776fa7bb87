package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A served is what the file remembers of a record: which key was served, since when.
type served struct {
	Key   string    `json:"key"` // its hash
	Since time.Time `json:"since"`
}

func hashOf(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:])
}

// restore has keys be ready that were served before a restart. A file that cannot be read
// remembers nothing.
func (k *Keys) restore() error {
	if k.File == "" {
		return nil
	}
	text, err := os.ReadFile(k.File)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(filepath.Dir(k.File), 0o700)
	}
	remembered := map[string]served{}
	if err == nil {
		err = json.Unmarshal(text, &remembered)
	}
	if err != nil {
		k.Log.Warn("publish: what was published cannot be read", "file", k.File, "err", err)
		return nil
	}
	for name, e := range k.entries {
		if s, ok := remembered[name]; ok && s.Key == hashOf(e.id) {
			e.ready, e.since = true, s.Since
		}
	}
	return nil
}

// save replaces the file, whole. The lock is held.
func (k *Keys) save() error {
	if k.File == "" {
		return nil
	}
	all := map[string]served{}
	for name, e := range k.entries {
		if e.ready {
			all[name] = served{hashOf(e.id), e.since}
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(k.File), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), k.File)
}
