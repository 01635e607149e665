package params

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestTimes(t *testing.T) {
	day := func(s string) int64 {
		d, err := task.ParseDay(s)
		if err != nil {
			t.Fatal(err)
		}
		return d.Start()
	}
	for text, want := range map[string]int64{
		"": 0, "0": 0, "now": now.UnixMicro(), "-1h": now.Add(-time.Hour).UnixMicro(), "-2d": now.Add(-48 * time.Hour).UnixMicro(),
		"2026-11-22": day("2026-11-22"), "2026-11-22T01:00:00+01:00": day("2026-11-22"), "2026-11-22T01:00:00 01:00": day("2026-11-22"),
		"1.5": 1_500_000,
	} {
		l, err := ParseList(url.Values{"from": {text}}, now)
		if err != nil || l.From != want {
			t.Errorf("%q: %d, want %d, %v", text, l.From, want, err)
		}
	}
	for _, text := range []string{"tomorrow", "2026-13-01", "2026-11-22x", "-1", "-h"} {
		var wrong *Error
		if _, err := ParseList(url.Values{"from": {text}}, now); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "not a time") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCursor has a cursor continue its own query and no other.
func TestCursor(t *testing.T) {
	given := url.Values{"task": {"a*"}, "from": {"-1h"}, "order": {"oldest"}}
	l, err := ParseList(given, now)
	if err != nil {
		t.Fatal(err)
	}
	at := task.Key{At: 1_795_435_200_000_000, Hash: task.HashID("x"), ID: "x"}
	given.Set("cursor", l.Cursor(at))
	again, err := ParseList(given, now.Add(time.Hour))
	if err != nil || again.After == nil || *again.After != at || again.From != l.From {
		t.Fatalf("%+v %v", again, err)
	}
	given.Set("task", "b*")
	if _, err := ParseList(given, now); err == nil || !strings.Contains(err.Error(), "other filters") {
		t.Fatal(err)
	}
	given.Set("cursor", "AQ")
	if _, err := ParseList(given, now); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatal(err)
	}
}
