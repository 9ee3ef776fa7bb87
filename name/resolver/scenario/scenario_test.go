package scenario

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestScenarios plays every file below testdata.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no scenarios")
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(f), "testdata/"), ".txtar")
		t.Run(name, func(t *testing.T) { Run(t, f) })
	}
}
