package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Duration is a time.Duration that flags and TOML write as "90s" or "5d".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration does, and days ("5d").
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 36500 {
			*d = Duration(n * 24 * float64(time.Hour))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration: write a number with a unit, as 90s, 15m, 4h or 5d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration as UnmarshalText reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// A Size is a number of octets that flags and TOML write as "50M".
type Size int64

// UnmarshalText reads a number with an optional unit K, M or G (powers of 1024).
func (z *Size) UnmarshalText(b []byte) error {
	s := strings.TrimSuffix(strings.ToUpper(string(b)), "B")
	shift := 0
	if s != "" {
		if i := strings.IndexByte("KMG", s[len(s)-1]); i >= 0 {
			shift = 10 * (i + 1)
			s = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40>>shift {
		return fmt.Errorf("%q is no size: write a number of octets, or one with K, M or G, as 50M", b)
	}
	*z = Size(n << shift)
	return nil
}

// MarshalText writes the size in octets.
func (z Size) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(z), 10), nil }
