package tsdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/compact"
	"daybook/tsdb/task"
)

// contents walks through everything and wants every id once.
func contents(t testing.TB, db *DB) map[string]task.Invocation {
	t.Helper()
	out := map[string]task.Invocation{}
	for q := (Query{Limit: 1000, Details: true}); ; {
		page, err := db.Select(context.Background(), q)
		if err != nil || !page.Complete || len(page.Coverage.Unreadable) > 0 {
			t.Fatalf("select: %v %+v", err, page.Coverage)
		}
		for _, v := range page.Invocations {
			if _, ok := out[v.TaskID]; ok {
				t.Errorf("%s is there twice", v.TaskID)
			}
			out[v.TaskID] = v
		}
		if page.Next == nil {
			return out
		}
		q.After = page.Next
	}
}

// findings are what verify has to say against a directory.
func findings(t testing.TB, db *DB) (found []Finding) {
	t.Helper()
	err := db.Verify(context.Background(), nil, func(f Finding) {
		if !f.Note {
			found = append(found, f)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// opened opens a copy read-only, reads it through and wants nothing to be
// wrong with it.
func opened(t testing.TB, dir string, o Options) map[string]task.Invocation {
	t.Helper()
	return shown(t, dir, o, true)
}

// shown is opened, with or without the thorough check.
func shown(t testing.TB, dir string, o Options, verify bool) map[string]task.Invocation {
	t.Helper()
	o.Dir = dir
	db, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if verify {
		if found := findings(t, db); len(found) > 0 {
			t.Errorf("verify: %+v", found)
		}
	}
	all := contents(t, db)
	sums, _, err := db.Tasks(context.Background(), 0, db.now()+24*3600*1_000_000, "")
	total := 0
	for _, s := range sums {
		total += int(s.Total)
	}
	if err != nil || total != len(all) {
		t.Errorf("summaries count %d of %d: %v", total, len(all), err)
	}
	if h := db.Health(); h.RowsExact && h.Rows != int64(len(all)) {
		t.Errorf("health says that there are exactly %d rows of %d", h.Rows, len(all))
	}
	return all
}

// served opens a copy as its daemon, reads it through, and closes it again.
func served(t testing.TB, dir string, o Options) map[string]task.Invocation {
	t.Helper()
	o.Dir = dir
	db := start(t, o)
	all := contents(t, db)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	return all
}

func sameContents(t testing.TB, what string, got, want map[string]task.Invocation) {
	t.Helper()
	for id, w := range want {
		if g, ok := got[id]; !ok || !sameKnowledge(g, w) {
			t.Errorf("%s: %s is %+v (%v), want %+v", what, id, g, ok, w)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("%s: %s is not wanted", what, id)
		}
	}
}

// store has rows in every place: sealed, sealed again, masked by an overlay,
// moved between days, live, parked, in the head.
func store(t testing.TB, o Options, c *testClock) *DB {
	t.Helper()
	db := start(t, o)
	ctx := context.Background()
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
	}
	day := 24 * time.Hour
	for i := range 30 {
		mustAppend(t, db, finished(fmt.Sprint("s", i), noon.Add(-time.Duration(i%3+1)*day)))
	}
	cut(true)
	mustAppend(t, db, finished("again", noon.Add(-2*day)))
	cut(true) // a second generation
	mustAppend(t, db, finished("s0", noon), finished("late", noon.Add(-3*day)))
	cut(false) // moved to today; late lies over a sealed day
	mustAppend(t, db, started("parked", noon))
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	mustAppend(t, db, finished("head", noon), started("open", noon))
	return db
}

// copyTree copies a directory as cp -r does; live files must not be in use.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	want := contents(t, db)
	ctx := context.Background()
	s, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Path != filepath.Join("snapshots", "20261123T120000Z") || !slices.Contains(s.Files, "days/2026-11-21.2.db.sha256") ||
		!slices.ContainsFunc(s.Files, func(name string) bool { return strings.HasPrefix(name, "live/2026-11-23.") }) {
		t.Errorf("%+v", s)
	}
	dir := filepath.Join(o.Dir, s.Path)
	if !sameFile(filepath.Join(dir, "days", "2026-11-22.db"), filepath.Join(o.Dir, "days", "2026-11-22.db")) {
		t.Error("a sealed day is copied, not linked")
	}
	if again, err := db.Snapshot(ctx); err != nil || again.Path != s.Path+"-2" {
		t.Errorf("a second one: %+v %v", again, err)
	}
	mustAppend(t, db, finished("after", noon), finished("open", noon), finished("s1", noon))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	sameContents(t, "read-only", opened(t, dir, o), want)
	copied := filepath.Join(t.TempDir(), "copy")
	copyTree(t, dir, copied)
	sameContents(t, "served", served(t, copied, o), want)
	sameContents(t, "and served again", served(t, copied, o), want)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Snapshot(canceled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(o.Dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("tmp holds %v %v", left, err)
	}
}

// A snapshot says which days it has not.
func TestSnapshotWithoutADay(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer func() { db.Close() }()
	ctx := context.Background()
	if s, err := db.Snapshot(ctx); err != nil || len(s.Unreadable) > 0 {
		t.Fatal(s, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2026-11-22.db", "2026-11-21.2.db.sha256"} {
		path := filepath.Join(o.Dir, "days", name)
		if err := os.Remove(path); err != nil { // the snapshot has it too
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db = start(t, o)
	s, err := db.Snapshot(ctx)
	if want := []string{"days/2026-11-21.2.db", "days/2026-11-22.db"}; err != nil || !slices.Equal(s.Unreadable, want) {
		t.Fatal(s, err)
	}
	o.Dir = filepath.Join(o.Dir, s.Path)
	r, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Get(ctx, "head"); err != nil {
		t.Error("and not the others:", err)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer func() { db.Close() }()
	ctx := context.Background()
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(t.TempDir(), "a", "backup"), Now: c.now}
	backup := func(linked, copied, unchanged int) BackupResult {
		t.Helper()
		res, err := Backup(ctx, bo)
		if err != nil || len(res.Problems) > 0 || res.Linked != linked || res.Copied != copied || res.Unchanged != unchanged {
			t.Fatalf("%+v %v; want %d linked, %d copied, %d unchanged", res, err, linked, copied, unchanged)
		}
		return res
	}
	want := contents(t, db)
	backup(3, 0, 0) // beside a daemon
	sameContents(t, "beside a daemon", opened(t, bo.Dest, o), want)
	backup(0, 0, 3)
	sameContents(t, "again", opened(t, bo.Dest, o), want)

	// Days are sealed again, one more is, and the daemon dies.
	c.add(24 * time.Hour)
	mustAppend(t, db, finished("tomorrow", c.now()))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Remember()
	want = contents(t, db)
	db.crash(t)
	before := hashes(t, o.Dir)
	backup(3, 0, 1) // 20: generation 2; 22: generation 2, without what moved; 23
	if after := hashes(t, o.Dir); !maps.Equal(before, after) {
		t.Errorf("a backup changes what it saves:\n%v\n%v", before, after)
	}
	sameContents(t, "without a daemon", opened(t, bo.Dest, o), want)
	if got := dayNames(t, bo.Dest); got != "2026-11-20.2 2026-11-21.2 2026-11-22.2 2026-11-23" {
		t.Errorf("superseded generations stay: %s", got)
	}
	mark := filepath.Join(bo.Dest, "days", compact.UnfinishedBackup)
	if exists(mark) {
		t.Error("the backup is marked as unfinished")
	}

	// One that was interrupted is named with what to do about it, which helps.
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ho := o
	ho.Dir = bo.Dest
	half, err := OpenReadOnly(ho)
	if err != nil {
		t.Fatal(err)
	}
	if found := findings(t, half); len(found) != 1 || !strings.HasSuffix(found[0].Path, compact.UnfinishedBackup) || !strings.Contains(found[0].Problem, "interrupted") ||
		!strings.Contains(found[0].Remedy, "`daybook backup` into this directory again") || strings.Contains(found[0].Remedy, "move it out") {
		t.Errorf("%+v", found)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	// So is one that was killed before there was a mark, with nothing in it.
	ho.Dir = t.TempDir()
	for _, name := range []string{backupMarker, "LOCK"} {
		if err := os.WriteFile(filepath.Join(ho.Dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if half, err = OpenReadOnly(ho); err != nil {
		t.Fatal(err)
	}
	if found := findings(t, half); len(found) != 1 || found[0].Path != backupMarker || !strings.Contains(found[0].Problem, "never completed") || !strings.Contains(found[0].Remedy, "`daybook backup`") {
		t.Errorf("%+v", found)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	backup(0, 0, 4)
	sameContents(t, "backed up again", opened(t, bo.Dest, o), want)

	// Retention deletes a day: it stays in the backup until it is pruned.
	o.RetentionTime = 3 * 24 * time.Hour
	db = start(t, o)
	for i, n := range []int{0, 0, 1} { // a start before has seen the clock jump: there is an hour's pause
		if got, err := db.compact.Retain(ctx, db.cuttable()); got != n || err != nil {
			t.Fatal(i, got, err)
		}
		c.add(31 * time.Minute)
	}
	want = contents(t, db)
	if res := backup(0, 0, 3); !slices.Equal(res.Kept, []string{"2026-11-20"}) || len(opened(t, bo.Dest, o)) <= len(want) {
		t.Errorf("%+v", res)
	}
	bo.Prune = true
	if res := backup(0, 0, 3); !slices.Equal(res.Pruned, []string{"2026-11-20"}) {
		t.Errorf("%+v", res)
	}
	sameContents(t, "pruned", opened(t, bo.Dest, o), want)
	restored := filepath.Join(t.TempDir(), "restored")
	copyTree(t, bo.Dest, restored)
	sameContents(t, "restored", served(t, restored, o), want)
}

// hashes are the sizes and times of all files but the lock and what SQLite
// keeps to coordinate readers.
func hashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%x", task.HashID(string(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBackupElsewhere(t *testing.T) {
	t.Parallel()
	other, err := os.MkdirTemp("/dev/shm", "daybook-test")
	if err != nil {
		t.Skip("needs a second file system at /dev/shm")
	}
	defer os.RemoveAll(other)
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	ctx := context.Background()
	bo := BackupOptions{Dir: o.Dir, Dest: filepath.Join(other, "b")}
	res, err := Backup(ctx, bo)
	if err != nil || res.Linked+res.Copied != 3 {
		t.Fatalf("%+v %v", res, err)
	}
	if res.Linked == 3 {
		t.Skip("needs a second file system at /dev/shm")
	}
	sameContents(t, "copied", opened(t, bo.Dest, o), contents(t, db))
	if res, err := Backup(ctx, bo); err != nil || res.Unchanged != 3 {
		t.Errorf("%+v %v", res, err)
	}
	// A checksum that is missing, as after a kill, is made up for.
	if err := os.Remove(filepath.Join(bo.Dest, "days", "2026-11-22.db.sha256")); err != nil {
		t.Fatal(err)
	}
	if res, err := Backup(ctx, bo); err != nil || res.Unchanged != 2 || res.Copied != 1 {
		t.Errorf("%+v %v", res, err)
	}
	sameContents(t, "mended", opened(t, bo.Dest, o), contents(t, db))
	// Damage in the source is told and does not replace the copy that is whole.
	damaged := filepath.Join(o.Dir, "days", "2026-11-22.db")
	b, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-100] ^= 1
	if err := errors.Join(os.Remove(damaged), os.WriteFile(damaged, b, 0o444)); err != nil {
		t.Fatal(err)
	}
	bo.Dest = filepath.Join(other, "c")
	if res, err := Backup(ctx, bo); err != nil || len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Error(), "2026-11-22.db") {
		t.Errorf("%+v %v", res, err)
	}
	if exists(filepath.Join(bo.Dest, "days", "2026-11-22.db")) {
		t.Error("a damaged file is in the backup")
	}
}

// A backup that was served has rows of its own: they are set aside.
func TestBackupOfServed(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	ctx := context.Background()
	bo := BackupOptions{Dir: o.Dir, Dest: t.TempDir(), Now: c.now}
	if _, err := Backup(ctx, bo); err != nil {
		t.Fatal(err)
	}
	oo := o
	oo.Dir = bo.Dest
	own := start(t, oo)
	mustAppend(t, own, finished("its own", noon), finished("its late one", noon.Add(-24*time.Hour)))
	if _, err := Backup(ctx, bo); err == nil || !strings.Contains(err.Error(), "a daemon serves it") {
		t.Errorf("beside its daemon: %v", err)
	}
	if _, err := own.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := Backup(ctx, bo)
	if err != nil || res.SetAside == "" {
		t.Fatalf("%+v %v", res, err)
	}
	sameContents(t, "backup", opened(t, bo.Dest, o), contents(t, db))
	if !exists(filepath.Join(bo.Dest, res.SetAside, "days", "2026-11-22.2.db")) || !exists(filepath.Join(bo.Dest, res.SetAside, "live")) {
		t.Error("what it had of its own is gone")
	}
	if res, err := Backup(ctx, bo); err != nil || res.SetAside != "" {
		t.Errorf("%+v %v", res, err)
	}
}

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	if err := start(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(o.Dir, link); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, b := range []struct{ dir, dest, want string }{
		{o.Dir, filepath.Join(o.Dir, "backup"), "is inside"},
		{o.Dir, o.Dir, "is inside"},
		{o.Dir, filepath.Join(link, "a", "b"), "is inside"},
		{link, filepath.Join(o.Dir, "snapshots"), "is inside"},
		{o.Dir, filepath.Dir(o.Dir), "is inside"},
		{o.Dir, full, "not empty"},
		{o.Dir, filepath.Join(full, "x"), "not a directory"},
		{filepath.Join(full, "nope"), t.TempDir(), "no such file"},
		{full, t.TempDir(), "no data directory"},
		{o.Dir, "", "empty"},
	} {
		var options *OptionsError
		_, err := Backup(context.Background(), BackupOptions{Dir: b.dir, Dest: b.dest})
		if !errors.As(err, &options) || !strings.Contains(err.Error(), b.want) {
			t.Errorf("%s to %s: %v", b.dir, b.dest, err)
		}
	}
	if exists(filepath.Join(o.Dir, "backup")) || exists(filepath.Join(o.Dir, "a")) {
		t.Error("something was created")
	}
	// Another data directory's backup.
	dest := t.TempDir()
	for i := range 2 {
		o := testOptions(t.TempDir(), c)
		db := start(t, o)
		mustAppend(t, db, finished(fmt.Sprint("x", i), noon.Add(-24*time.Hour)))
		if _, err := db.Cut(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		_, err := Backup(context.Background(), BackupOptions{Dir: o.Dir, Dest: dest})
		if i == 0 && err != nil || i == 1 && (err == nil || !strings.Contains(err.Error(), "another data directory")) {
			t.Errorf("%d: %v", i, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What leaves the log for a day while a backup is being made is in one of the
// two, and what comes then is in neither or whole.
func TestBackupWhileCutting(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := store(t, o, c)
	defer db.Close()
	ctx := context.Background()
	mustAppend(t, db, finished("over s1", noon.Add(-2*24*time.Hour))) // no file is new afterwards
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("uncut", noon))
	want := contents(t, db)
	bo := BackupOptions{Dir: o.Dir, Dest: t.TempDir(), Now: c.now}
	d, err := openDest(bo.Dest, bo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	d.logged = func() {
		// s1 moves from its sealed day to today, and uncut leaves the log.
		mustAppend(t, db, finished("s1", noon.Add(time.Second)))
		if _, err := db.Cut(ctx, false); err != nil {
			t.Error(err)
		}
		if err := db.head.Checkpoint(); err != nil {
			t.Error(err)
		}
	}
	if _, err := backupOnce(ctx, bo, d); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	got := opened(t, bo.Dest, o)
	if want["s1"].FinishedAt == got["s1"].FinishedAt {
		t.Error("what was cut meanwhile is as it was before")
	}
	want["s1"] = got["s1"]
	sameContents(t, "backup", got, want)
	sameContents(t, "served", served(t, bo.Dest, o), want)
}
