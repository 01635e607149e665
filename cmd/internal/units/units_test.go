package units_test

import (
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/units"
)

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		in    string
		want  time.Duration
		print string // "" is as in
	}{
		{"0", 0, "0s"}, {"0s", 0, ""}, {"30s", 30 * time.Second, ""}, {"10m", 10 * time.Minute, ""},
		{"36h", 36 * time.Hour, ""}, {"24h", 24 * time.Hour, ""}, {"1d", 24 * time.Hour, "24h"}, {"7d", 7 * 24 * time.Hour, ""},
		{"15d", 15 * 24 * time.Hour, ""}, {"2w", 14 * 24 * time.Hour, "14d"}, {"1y", 365 * 24 * time.Hour, "365d"},
		{"1h30m", 90 * time.Minute, ""}, {"250ms", 250 * time.Millisecond, ""}, {"1d12h", 36 * time.Hour, "36h"},
		{"1m1ms", time.Minute + time.Millisecond, ""},
	} {
		got, err := units.ParseDuration(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.in, got, err, c.want)
		}
		want := c.print
		if want == "" {
			want = c.in
		}
		if s := units.FormatDuration(got); s != want {
			t.Errorf("%s is printed as %s, want %s", c.in, s, want)
		}
	}
	for _, in := range []string{"", "5", "-1h", "h", "1h1h", "1m1h", "1.5h", "7 d", "7D", "1hh", "300000y", "99999999999999999999s", "1us", strings.Repeat("9", 100)} {
		if got, err := units.ParseDuration(in); err == nil {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in    string
		want  int64
		print string
	}{
		{"0", 0, ""}, {"17", 17, ""}, {"32MiB", 32 << 20, ""}, {"1KB", 1000, ""}, {"1KiB", 1024, ""}, {"1gib", 1 << 30, "1GiB"},
		{"1.5GiB", 3 << 29, "1536MiB"}, {"10GB", 10e9, ""}, {"1 MB", 1e6, "1MB"}, {"100B", 100, "100"}, {"2TB", 2e12, ""},
	} {
		got, err := units.ParseSize(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.in, got, err, c.want)
		}
		want := c.print
		if want == "" {
			want = c.in
		}
		if s := units.FormatSize(got); s != want {
			t.Errorf("%s is printed as %s, want %s", c.in, s, want)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1XB", "1K", "1e3", "1.5", "99999999TiB", "1/2KB", "0x10", "1..5KB", strings.Repeat("9", 1000)} {
		if got, err := units.ParseSize(in); err == nil {
			t.Errorf("%q is taken for %d", in, got)
		}
	}
}

func FuzzUnits(f *testing.F) {
	for _, s := range []string{"36h", "1d12h", "1.5GiB", "10KB", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := units.ParseDuration(s); err == nil {
			if again, err := units.ParseDuration(units.FormatDuration(d)); err != nil || again != d {
				t.Errorf("%q is %v, printed and read %v, %v", s, d, again, err)
			}
		}
		if n, err := units.ParseSize(s); err == nil {
			if again, err := units.ParseSize(units.FormatSize(n)); err != nil || again != n {
				t.Errorf("%q is %d, printed and read %d, %v", s, n, again, err)
			}
		}
	})
}
