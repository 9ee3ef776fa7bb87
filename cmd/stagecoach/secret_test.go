package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	os.WriteFile(open, []byte("canary"), 0o644)
	os.WriteFile(closed, []byte("canary\n"), 0o600)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)

	for in, want := range map[string]string{"@" + closed: "canary", "credential:closed": "canary", "canary": "canary"} {
		var s Secret
		if err := s.UnmarshalText([]byte(in)); err != nil || s.Text() != want {
			t.Errorf("%s: %q, %v", in, s.Text(), err)
		}
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", s)
		if out := fmt.Sprintf("%v %+v %s", s, s, b.String()); strings.Contains(out, "canary") {
			t.Errorf("the secret shows: %s", out)
		}
	}
	for in, want := range map[string]string{
		"@" + open: "chmod 600", "@" + dir + "/none": "no such file", "credential:none": "no such file", "credential:../open": "plain name",
	} {
		var s Secret
		err := s.UnmarshalText([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want an error with %q", in, err, want)
		}
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]time.Duration{"5d": 120 * time.Hour, "90s": 90 * time.Second, "0": 0} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", in, time.Duration(d), err)
		}
	}
	for in, want := range map[string]int64{"50M": 50 << 20, "7": 7, "1kb": 1024} {
		var z Size
		if err := z.UnmarshalText([]byte(in)); err != nil || int64(z) != want {
			t.Errorf("%s: %v, %v", in, z, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "5x", "-1s", "99999999G"} {
		if (new(Duration)).UnmarshalText([]byte(in)) == nil {
			t.Errorf("%q is taken as a duration", in)
		}
		if (new(Size)).UnmarshalText([]byte(in)) == nil {
			t.Errorf("%q is taken as a size", in)
		}
	}
}
