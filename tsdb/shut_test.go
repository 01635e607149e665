package tsdb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// A sealed day that cannot be opened at the start is not sealed again from what
// comes late: the new generation would have nothing of it, and stand in for it
// when it can be read again, here and in backups.
func TestDayThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	db := start(t, o)
	defer func() { db.Close() }()
	yesterday := noon.Add(-24 * time.Hour)
	mustAppend(t, db, finished("a", yesterday), finished("b", yesterday))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, "days", "2026-11-22.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Now: c.now}
	if _, err := Backup(ctx, bo); err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	put([]byte("no database"))
	c.add(time.Minute) // no name is used again, as the time goes on
	db = start(t, o)
	mustAppend(t, db, finished("b", yesterday.Add(time.Second)), finished("late", yesterday))
	for range 2 {
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		if _, err := db.compact.Seal(ctx, false); err != nil {
			t.Fatal(err)
		}
		c.add(36 * time.Hour)
	}
	if got := dayNames(t, o.Dir); got != "2026-11-22" {
		t.Fatalf("days: %s", got)
	}
	page, err := db.Select(ctx, Query{Limit: 10})
	if err != nil || len(page.Invocations) != 2 || page.Coverage.Complete {
		t.Fatalf("%d rows, %+v, %v", len(page.Invocations), page.Coverage, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(ctx, bo); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(filepath.Join(bo.Dest, "days", "2026-11-22.db")); err != nil || string(kept) != string(whole) {
		t.Errorf("the backup has lost the day: %v", err)
	}

	put(whole)
	db = start(t, o)
	want := contents(t, db)
	if len(want) != 3 {
		t.Fatalf("%d rows of 3: %v", len(want), want)
	}
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Settle()
	if got := dayNames(t, o.Dir); got != "2026-11-22.2" {
		t.Errorf("days, when it can be read again: %s", got)
	}
	sameContents(t, "sealed", contents(t, db), want)
	if found := findings(t, db); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// An older generation of which the newer one has nothing is not deleted from a
// backup, but set aside.
func TestBackupKeepsWhatWasNotReplaced(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	ctx := context.Background()
	yesterday := noon.Add(-24 * time.Hour)
	sealed := func(id string) {
		t.Helper()
		db := start(t, o)
		mustAppend(t, db, finished(id, yesterday))
		if _, err := db.Cut(ctx, true); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sealed("a")
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "backup"), Now: c.now}
	if _, err := Backup(ctx, bo); err != nil {
		t.Fatal(err)
	}
	// Its owner takes the day out of use; then a late row makes a day of its own.
	const name = "2026-11-22.db"
	if err := os.MkdirAll(filepath.Join(o.Dir, "quarantine"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", ".sha256"} {
		if err := os.Rename(filepath.Join(o.Dir, "days", name+suffix), filepath.Join(o.Dir, "quarantine", name+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	sealed("late")
	if got := dayNames(t, o.Dir); got != "2026-11-22.2" {
		t.Fatalf("days: %s", got)
	}
	res, err := Backup(ctx, bo)
	if err != nil || res.SetAside == "" {
		t.Fatalf("%+v %v", res, err)
	}
	for _, suffix := range []string{"", ".sha256"} {
		if _, err := os.Stat(filepath.Join(bo.Dest, res.SetAside, "days", name+suffix)); err != nil {
			t.Error(err)
		}
	}
	if got := opened(t, bo.Dest, o); len(got) != 1 {
		t.Errorf("the backup shows %d rows", len(got))
	}
}

// A file that could be opened and then not be read is told: in the answer, in
// health and by the metric, until it is not in use any more or an hour has gone by.
func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	reg := prometheus.NewRegistry()
	var logged bytes.Buffer
	o.Metrics, o.Logger = reg, log.NewLogfmtLogger(log.NewSyncWriter(&logged))
	store(t, testOptions(o.Dir, c), c).crash(t)
	db := start(t, o) // which has nothing in its caches
	defer db.crash(t)
	ctx := context.Background()
	const name = "2026-11-20.db"
	days := filepath.Join(o.Dir, "days")
	damaged, err := os.ReadFile(filepath.Join(days, name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(damaged); i++ { // the first page is as it was at the start
		damaged[i] = 0xff
	}
	if err := errors.Join(os.Chmod(filepath.Join(days, name), 0o644), os.WriteFile(filepath.Join(days, name), damaged, 0o644)); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		page, err := db.Select(ctx, Query{Limit: 100})
		if err != nil || len(page.Coverage.Unreadable) != 1 || page.Coverage.Unreadable[0] != name {
			t.Fatalf("%+v %v", page.Coverage, err)
		}
	}
	told := func(want int) {
		t.Helper()
		if got := value(t, reg, "daybook_unreadable_files"); got != float64(want) {
			t.Fatalf("daybook_unreadable_files is %v, want %d", got, want)
		}
		if want == 0 {
			ails(t, db, true)
			return
		}
		ails(t, db, true, "days/"+name+" could not be read")
	}
	told(0)
	ask()
	ask()
	told(1)
	if n := strings.Count(logged.String(), "could not be read"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	c.add(2 * time.Hour)
	told(0)
	if _, _, err := db.Tasks(ctx, 0, db.now(), ""); err != nil {
		t.Fatal(err)
	}
	told(1)
	if n := strings.Count(logged.String(), "could not be read"); n != 2 {
		t.Errorf("logged %d times", n)
	}
	c.add(20 * 24 * time.Hour) // the day expires, two hours after the clock has jumped
	for _, wait := range []time.Duration{30 * time.Minute, 31 * time.Minute, 0} {
		if _, _, err := db.Tasks(ctx, 0, db.now(), ""); err != nil {
			t.Fatal(err)
		}
		told(1)
		if _, err := db.compact.Retain(ctx, db.cuttable()); err != nil {
			t.Fatal(err)
		}
		c.add(wait)
	}
	told(0)
}
