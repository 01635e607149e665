package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// Who mends a damaged day sets its file aside before it takes the good one from the
// backup. A backup that prunes in between keeps that one.
func TestPruneKeepsWhatLiesInQuarantine(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	mustAppend(t, db, finished("a", noon.Add(-aDay)), finished("b", noon))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "2026-11-22.db"
	day, sum := filepath.Join(o.Dir, "days", name), filepath.Join(o.Dir, "days", name+".sha256")
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Prune: true, Now: c.now}
	backup := func(what string, problem, kept bool) {
		t.Helper()
		res, err := Backup(ctx, bo)
		if err != nil || len(res.Problems) > 0 != problem || len(res.Pruned) == 0 != kept || exists(filepath.Join(bo.Dest, "days", name)) != kept {
			t.Fatalf("%s: %+v %v", what, res, err)
		}
	}
	backup("whole", false, true)
	aside := filepath.Join(o.Dir, "quarantine")
	at := filepath.Join(aside, name)
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(day, at)
	backup("the file alone", false, true)
	move(sum, at+".sha256")
	backup("with its checksum", false, true)
	for _, to := range []string{name + ".damaged", "disk/" + name, "replaced-20261123T120000Z/days/" + name} {
		to = filepath.Join(aside, to)
		move(at, to)
		at = to
		backup(at, false, true)
	}
	elsewhere := filepath.Join(t.TempDir(), "quarantine")
	move(aside, elsewhere)
	if err := os.Symlink(elsewhere, aside); err != nil {
		t.Fatal(err)
	}
	backup("on another disk", false, true)
	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(aside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	backup("quarantine cannot be read", true, true)
	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	// Neither a checksum nor a live file is a sealed one.
	for _, other := range []string{name + ".sha256", "served-until-20261123T120000Z/live/2026-11-22.7.db"} {
		other = filepath.Join(aside, other)
		if err := os.MkdirAll(filepath.Dir(other), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	backup("gone", false, false)
}

// A lost day expires like one that is there, and not by a clock that has jumped; and it
// makes no answer incomplete that does not touch it.
func TestLostDayExpires(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 15 * aDay
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	mustAppend(t, db, finished("a", noon.Add(-2*aDay)), finished("b", noon.Add(-aDay)), finished("c", noon))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	restart := func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = start(t, o)
	}
	days, away := filepath.Join(o.Dir, "days"), t.TempDir()
	const name, back = "2026-11-22.db", "2026-11-21.db"
	for _, n := range []string{name, back} {
		if err := os.Rename(filepath.Join(days, n), filepath.Join(away, n)); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	yesterday := task.DayOf(noon.UnixMicro()) - 1
	covers := func(from, to int64, want string) {
		t.Helper()
		page, err := db.Select(ctx, Query{Filter: task.Filter{From: from, To: to}, Limit: 10})
		if got := fmt.Sprint(page.Coverage.Unreadable); err != nil || got != want || page.Coverage.Complete != (want == "[]") {
			t.Errorf("from %d to %d: %+v %v", from, to, page.Coverage, err)
		}
	}
	covers(yesterday.End(), 0, "[]")
	covers(yesterday.End()-1, 0, "[days/"+name+"]")
	covers(yesterday.Start()-1, yesterday.Start()+1, "[days/"+back+" days/"+name+"]")
	covers(yesterday.Start()-1, yesterday.Start(), "[days/"+back+"]")
	covers(yesterday.Start()-3*aDay.Microseconds(), yesterday.Start()-aDay.Microseconds(), "[]")
	mustAppend(t, db, finished("late", noon.Add(-2*aDay)))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	tells := func(what, name string, want bool) {
		t.Helper()
		if strings.Contains(fmt.Sprint(db.Health().Reasons), name) != want || exists(filepath.Join(days, name+".sha256")) != want {
			t.Errorf("%s: %v", what, db.Health().Reasons)
		}
	}
	retain(t, db)
	tells("not expired", name, true)
	c.add(15 * aDay) // a jump, after which nothing newer than the lost day expires
	retain(t, db)
	tells("the clock has jumped", name, true)
	if err := os.Rename(filepath.Join(away, back), filepath.Join(days, back)); err != nil {
		t.Fatal(err)
	}
	goOn(t, db, c, 61*time.Minute)
	tells("expired", name, false)
	if before, some := db.head.Deleted(); !some || before <= yesterday {
		t.Errorf("deleted before %v %v", before, some)
	}
	tells("put back, not opened", back, true)
	if !exists(filepath.Join(days, back)) {
		t.Error("a file that was put back is gone before it was opened")
	}
	restart()
	retain(t, db) // no file says that a daemon has run up to now: a jump
	goOn(t, db, c, 61*time.Minute)
	tells("started again", name, false)
	tells("put back", back, false)
	db.compact.Settle()
	if got := dayNames(t, o.Dir); got != "" {
		t.Errorf("days: %s", got)
	}
}

// Where nothing goes for its age a lost day goes when a newer one goes for its size.
func TestLostDayGoesForSpace(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime, o.DiskUsage = 0, 0
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	for i := range 4 {
		mustAppend(t, db, finished(fmt.Sprint(i), noon.Add(-time.Duration(i)*aDay)))
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2026-11-20.db", "2026-11-22.db"} {
		if err := os.Remove(filepath.Join(o.Dir, "days", name)); err != nil {
			t.Fatal(err)
		}
	}
	lost := func(want string) {
		t.Helper()
		var names []string
		for _, name := range []string{"2026-11-20.db", "2026-11-22.db"} {
			if _, told := db.compact.Unreadable()[filepath.Join("days", name)]; told && exists(filepath.Join(o.Dir, "days", name+".sha256")) {
				names = append(names, name)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("lost: %q, want %q", got, want)
		}
	}
	db = start(t, o)
	db.spaceRound(ctx)
	lost("2026-11-20.db 2026-11-22.db")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "large"), make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o.RetentionSize = 16 << 20
	db = start(t, o)
	db.spaceRound(ctx)
	lost("2026-11-22.db") // newer than what there was to go
}
