package resolver

import (
	"testing"
)

func TestLRU(t *testing.T) {
	l := newLRU[int, string](80)
	for i := range 10 {
		l.put(i, "x", 10)
	}
	if n, used, lost := l.size(); n != 8 || used != 80 || lost != 2 {
		t.Errorf("%d entries of %d, %d lost", n, used, lost)
	}
	if _, ok := l.get(1); ok {
		t.Error("what was put first is still there")
	}
	l.get(2)
	l.put(10, "y", 10)
	if _, ok := l.get(2); !ok {
		t.Error("what was used last is gone")
	}
	if _, ok := l.get(3); ok {
		t.Error("what was used first is still there")
	}
	l.put(11, "too large", 11)
	if _, ok := l.get(11); ok {
		t.Error("what costs more than an eighth is kept")
	}
	if l.removeIf(func(k int, _ string) bool { return k%2 == 0 }) != 5 {
		t.Error("removeIf")
	}
	l.remove(5)
	if n, used, _ := l.size(); used != 10*n {
		t.Errorf("%d entries cost %d", n, used)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, parent string
		labels       int
	}{{"www.org.", "org.", 2}, {"org.", ".", 1}, {".", ".", 0}, {`a\.b.org.`, "org.", 2}, {`a\\.b.org.`, "b.org.", 3}} {
		if parent(c.name) != c.parent || labels(c.name) != c.labels {
			t.Errorf("%s: %s, %d", c.name, parent(c.name), labels(c.name))
		}
	}
	for _, c := range []struct {
		zone, name string
		want       bool
	}{
		{".", "org.", true}, {"org.", "org.", true}, {"org.", "a.org.", true}, {"org.", "aorg.", false}, {"a.org.", "org.", false},
		{"b.org.", `a\.b.org.`, false}, {"b.org.", `a\\.b.org.`, true},
	} {
		if under(c.zone, c.name) != c.want {
			t.Errorf("under(%s, %s)", c.zone, c.name)
		}
	}
	if ancestor("a.b.c.", 2) != "b.c." || common("a.b.c.", "x.c.") != "c." || common("a.", "b.") != "." {
		t.Error("ancestor, common")
	}
}
