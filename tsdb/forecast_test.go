package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"daybook/compact"
	"daybook/tsdb/task"
)

func TestForecast(t *testing.T) {
	t.Parallel()
	today := task.DayOf(noon.UnixMicro())
	past := func(sizes ...int64) (out []compact.DayBytes) { // yesterday last
		for i, n := range sizes {
			if n > 0 {
				out = append(out, compact.DayBytes{Day: today - task.Day(len(sizes)-i), Bytes: n})
			}
		}
		return out
	}
	in := func(days float64) time.Time { return noon.Add(time.Duration(days * float64(24*time.Hour))) }
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		plan  compact.RetentionPlan
		keep  time.Duration
		limit float64
		want  Forecast
	}{
		"no past":            {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500}},
		"one day":            {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500, Past: past(100)}, want: Forecast{1, 100, time.Time{}, in(5)}},
		"a part of a day":    {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 950, Past: past(100)}, want: Forecast{1, 100, time.Time{}, in(0.5)}},
		"an empty day":       {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500, Past: past(100, 0, 50)}, want: Forecast{3, 50, time.Time{}, in(10)}},
		"the last week":      {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 0, Past: past(9000, 1, 1, 1, 1, 1, 1, 1)}, want: Forecast{7, 1, time.Time{}, in(1000)}},
		"the limit first":    {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500, Past: past(100)}, limit: 90, want: Forecast{1, 100, in(4), in(5)}},
		"over the limit now": {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 950, Past: past(100)}, limit: 90, want: Forecast{1, 100, noon, in(0.5)}},
		"age holds it":       {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500, Past: past(100, 100)}, keep: 2 * day, limit: 90, want: Forecast{2, 100, time.Time{}, time.Time{}}},
		"age is too long":    {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 500, Past: past(100, 100)}, keep: 20 * day, want: Forecast{2, 100, time.Time{}, in(5)}},
		"what goes now":      {plan: compact.RetentionPlan{DiskSize: 1000, DiskUsed: 900, Past: past(100), Departures: []compact.Departure{{Snapshot: "s", Bytes: 400}}}, want: Forecast{1, 100, time.Time{}, in(5)}},
	} {
		c.plan.At = noon
		if got := forecast(c.plan, c.keep, c.limit); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// What the plan says is what retention does, and planning changes nothing.
func TestPlanRetention(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime, o.WALSync, o.DiskUsage = 0, "never", 0
	db := start(t, o)
	ctx := context.Background()
	for i := 5; i >= 1; i-- {
		fill(t, db, noon.Add(-time.Duration(i)*24*time.Hour), 12_000)
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.RetentionTime, o.RetentionSize = 5*24*time.Hour, 16<<20
	c.add(24 * time.Hour)
	// A daemon was here a second ago: its clock is trusted.
	if err := os.Chtimes(filepath.Join(o.Dir, "LOCK"), c.now(), c.now()); err != nil {
		t.Fatal(err)
	}
	before := hashes(t, o.Dir)
	ro, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ro.PlanRetention()
	if err := errors.Join(err, ro.Close()); err != nil {
		t.Fatal(err)
	}
	if after := hashes(t, o.Dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("planning changed something")
	}
	// Every day is linked into the snapshot: only the two together give its
	// space back, and the snapshot goes first.
	var plan []string
	for _, d := range v.Departures {
		name := d.Snapshot
		if name == "" {
			name = d.Day.String()
		}
		plan = append(plan, d.Cause+" "+name)
	}
	if len(plan) != 3 || plan[0] != "age 2026-11-18" || v.Departures[0].Bytes != 0 || plan[1] != "size snapshots/20261123T120000Z" || plan[2] != "size 2026-11-19" ||
		v.Departures[2].Bytes < 1<<20 || v.Days != 6 || v.BytesPerDay == 0 || v.Floor != task.DayOf(noon.UnixMicro())-3 || len(v.Pressure) > 0 {
		t.Errorf("%v %+v", plan, v)
	}
	db = start(t, o)
	defer db.Close()
	if _, err := db.compact.Retain(ctx, db.cuttable()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.compact.RetainSpace(ctx, db.cuttable()); err != nil {
		t.Fatal(err)
	}
	if got := dayNames(t, o.Dir); got != "2026-11-20 2026-11-21 2026-11-22" || exists(filepath.Join(o.Dir, v.Departures[1].Snapshot)) {
		t.Error(got)
	}
	o.DiskUsage = 101
	ro, err = OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	var options *OptionsError
	if _, err := ro.PlanRetention(); !errors.As(err, &options) {
		t.Error(err)
	}
}
