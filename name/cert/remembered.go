package cert

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Remembered returns how it stood with each host when an Issuer last wrote that into its
// folder. It may be called while the Issuer runs.
func Remembered(dir string) ([]Status, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Status
	for _, f := range files {
		host, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		var m memory
		if err := json.Unmarshal(text, &m); err != nil {
			out = append(out, Status{Host: host, Error: "what is remembered cannot be read"})
			continue
		}
		s := Status{Host: host, Next: m.Next, Failures: m.Tries, Error: m.Error}
		if chain := m.chain(); chain != nil {
			s.NotAfter, s.Renewal = chain[0].NotAfter, renewal(chain[0], m.Window)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Host, b.Host) })
	return out, nil
}
