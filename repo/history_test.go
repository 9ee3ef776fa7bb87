package repo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	work, bare := pushed(t)
	write(t, work, map[string]string{"ann": "new", "sub/c": "added"})
	commit(t, work, "second")
	write(t, work, map[string]string{"ann": "newest"})
	runGit(t, work, "rm", "-q", "sub/b")
	commit(t, work, "third")
	runGit(t, work, "push", "-q", "origin", "main")
	r := open(t, bare, Options{})
	s := fetch(t, r)
	for n, want := range map[int][]map[string][]byte{
		0: nil,
		1: {{"ann": []byte("new"), "sub/b": []byte("kept")}},
		9: {{"ann": []byte("new"), "sub/b": []byte("kept")}, {"ann": []byte("old"), "sub/c": nil}},
	} {
		got, err := r.History(t.Context(), s, n)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%d steps: %v %s", n, err, d)
		}
	}
}
