package tsdb

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// spoilRollups makes those rollups of a file that are of some rows such as no
// version writes; the rows stay as they are.
func spoilRollups(t *testing.T, path string, rows []task.Invocation) {
	t.Helper()
	var r rollup.Rollup
	for i := range rows {
		r.Add(&rows[i])
	}
	data := r.AppendBinary(nil)
	spoilt := bytes.Clone(data)
	spoilt[0] = 0xfe
	rewrite(t, path, data, spoilt)
}

// rewrite changes some bytes of a file, wherever they are.
func rewrite(t *testing.T, path string, old, new []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, old) {
		t.Fatalf("%s has no %x", path, old)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, old, new), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A file whose rollups cannot be read is left out of summaries, series and
// counts, and named by them; everything else is counted once. Some of what it
// has is in the head or in an overlay, in a later state.
func TestSumsWithoutAFile(t *testing.T) {
	t.Parallel()
	const hours = 3600 * 1e6
	today := task.DayOf(noon.UnixMicro())
	for name, c := range map[string]struct {
		day   task.Day
		spoil func(t *testing.T, path string, rows []task.Invocation)
		open  bool   // it fails when the DB has it open
		left  uint64 // of its day
	}{
		"decoding":             {day: today - 2, spoil: spoilRollups},
		"decoding, an overlay": {day: today - 3, spoil: spoilRollups, left: 2},
		"gone": {day: today - 2, spoil: func(t *testing.T, path string, _ []task.Invocation) {
			// In a record: width 86400 or 3600, name 1, an eight byte start, gone 0, which becomes 1.
			rewrite(t, path, []byte{3, 9, 6, 8}, []byte{3, 9, 6, 9})
			rewrite(t, path, []byte{2, 9, 6, 8}, []byte{2, 9, 6, 9})
		}},
		"attaching": {day: today - 1, open: true, spoil: func(t *testing.T, path string, _ []task.Invocation) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &testClock{at: noon}
			o := testOptions(t.TempDir(), clock)
			db := store(t, o, clock)
			ctx := context.Background()
			// Twice, with something new, so that the overlay has something that is gone.
			for _, event := range []func(string, time.Time) Record{finished, started} {
				mustAppend(t, db, event("late", noon.Add(-72*time.Hour+time.Second)), event("later", noon.Add(-72*time.Hour)))
				if _, err := db.Cut(ctx, false); err != nil {
					t.Fatal(err)
				}
			}
			// From each sealed day one that the head has now.
			mustAppend(t, db, finished("s1", noon), finished("s2", noon))
			truth := contents(t, db)
			var path string
			for _, b := range db.blocks() {
				d, _, ok := blocks.ParseSealedName(filepath.Base(b.Path))
				if ok && d == c.day {
					path = filepath.Join(o.Dir, b.Path)
				}
			}
			want := map[task.Day]uint64{}
			var rows []task.Invocation
			for _, v := range truth {
				want[v.Day()]++
				if v.Day() == c.day && v.TaskID != "late" && v.TaskID != "later" {
					rows = append(rows, v)
				}
			}
			want[c.day] = c.left
			db.crash(t)
			// What is in the file: the head has taken one over since.
			rows = append(rows, finished(map[task.Day]string{today - 2: "s1", today - 3: "s2"}[c.day], time.UnixMicro(c.day.Start()).Add(12*time.Hour)).Invocation)
			if !c.open {
				c.spoil(t, path, rows)
			}
			db = start(t, o)
			if c.open {
				c.spoil(t, path, rows)
			}
			defer db.crash(t)
			check := func(what string, cover Coverage, err error, from, to task.Day, got uint64) {
				t.Helper()
				var all uint64
				for d := from; d <= to; d++ {
					all += want[d]
				}
				named := slices.Contains(cover.Unreadable, filepath.Base(path))
				if err != nil || got != all || named != (from <= c.day && c.day <= to) {
					t.Errorf("%s, %s to %s: %d of %d, unreadable %v, %v", what, from, to, got, all, cover.Unreadable, err)
				}
			}
			for range 2 { // what is remembered, too
				for from := today - 3; from <= today; from++ {
					for to := from; to <= today; to++ {
						sums, cover, err := db.Tasks(ctx, from.Start(), to.End(), "")
						var got uint64
						for _, s := range sums {
							got += s.Total
						}
						check("summary", cover, err, from, to, got)
						points, cover, err := db.Series(ctx, "t", from.Start(), to.End(), rollup.Hour)
						got = 0
						for _, p := range points {
							got += p.Total
						}
						check("series", cover, err, from, to, got)
						n, err := db.Count(ctx, CountQuery{Filter: task.Filter{From: from.Start(), To: to.End()}})
						check("count", n.Coverage, err, from, to, uint64(n.Total))
					}
				}
				// A part of a day, of which hours are remembered.
				sums, cover, err := db.Tasks(ctx, c.day.Start()+hours, (c.day+1).Start()+hours, "")
				var got uint64
				for _, s := range sums {
					got += s.Total
				}
				check("hours", cover, err, c.day, c.day, got)
			}
		})
	}
}

// Of an overlay whose rollups cannot be read nothing counts, and of the sealed file
// under it everything does, in whole hours and in parts of one alike.
func TestSumsUnderADamagedOverlay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := start(t, testOptions(t.TempDir(), &testClock{at: noon}))
	day := rollup.Day.Start(noon.UnixMicro()) - rollup.Day.Micros()
	at := func(hour, minute int64) int64 { return day + hour*rollup.Hour.Micros() + minute*rollup.Minute.Micros() }
	add := func(id string, state task.State, us int64) {
		t.Helper()
		e := task.Event{TaskID: id, TaskName: "t", State: state, At: us, Worker: "w@h", Retries: task.RetriesUnknown}
		mustAppend(t, db, Record{Invocation: e.Invocation()})
	}
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(600) { // one a minute from 6:00 on
		add(fmt.Sprint(i), task.StateSuccess, at(6, i)+7)
	}
	cut(true)
	add("late", task.StateSuccess, at(8, 30))
	cut(false)
	view := db.catalog.View()
	overlay := ""
	for _, d := range view.Days() {
		if d.Sealed != nil && d.Live != nil {
			overlay = d.Live.Path()
		}
	}
	view.Release()
	file, err := sql.Open("sqlite3", overlay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Exec("UPDATE rollup SET data = x'ff'"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for _, head := range []bool{false, true} { // the second time with something that hides a sealed row
		if head {
			add("150", task.StateFailure, at(8, 31)+9)
		}
		for _, x := range []struct{ from, to, want int64 }{
			{at(8, 0), at(10, 0), 120}, {at(8, 10), at(8, 50), 40}, {at(8, 10), at(9, 50), 100}, {at(8, 10), at(12, 0), 230},
		} {
			set, unreadable, err := sumSet(ctx, db, x.from, x.to, rollup.Forever, sumOf{})
			if err != nil || len(unreadable) != 1 || set.Get("t", 0) == nil || int64(set.Get("t", 0).Total()) != x.want {
				t.Errorf("from %s to %s (head: %v): want %d, unreadable %v, %v: %+v", stamp(x.from), stamp(x.to), head, x.want, unreadable, err, set)
			}
		}
	}
}
