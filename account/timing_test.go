package account

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// S28, roughly: what an answer costs must not say whether a name exists. The measure is the
// least of many, which other load on the machine disturbs least.
func TestSameWorkForUnknownNames(t *testing.T) {
	a := argonSecret{memory: 2 << 10, time: 1, threads: 1, salt: randomBytes(16)}
	a.sum = a.derive("secret", 32)
	b, err := Parse(map[string][]byte{
		"ann":  fmt.Appendf(nil, `{"password": %q}`, a),
		"gone": fmt.Appendf(nil, `{"password": %q, "disabled": true}`, a),
		"mute": []byte(`{}`),
	}, Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	d := Static(b)
	names := []string{"ann", "gone", "mute", "nobody", "nobody@far.example"}
	least := make([]time.Duration, len(names))
	for range 60 {
		for i, name := range names {
			start := time.Now()
			d.Authenticate(t.Context(), name, "wrong") //nolint:errcheck // it is denied
			if took := time.Since(start); least[i] == 0 || took < least[i] {
				least[i] = took
			}
		}
	}
	if low, high := slices.Min(least), slices.Max(least); high > 2*low {
		t.Errorf("%v take %v", names, least)
	}
}
