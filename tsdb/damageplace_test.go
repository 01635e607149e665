package tsdb

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// damagePlace is a data directory as a crash has left it, what it says, and a
// copy of it, from which it is made again for every damage: the rollups of a
// legacy file know it by its path and its time.
type damagePlace struct {
	of     string // what it is a copy of: backupCopy, snapshotCopy, or nothing
	o      Options
	copy   string
	truth  map[string]task.Invocation
	files  []string // those to damage, as paths in the directory
	bodies map[string][]byte
	only   map[string]map[string]bool // concerns, once they are known
}

const (
	backupCopy   = "of a backup: "
	snapshotCopy = "of a snapshot: "
)

// afterSnapshot begins the ids that came after the snapshot, and the checkpoint.
const afterSnapshot = "after the checkpoint "

// damagedDir has something in every kind of file of Daybook's own. The day
// files have rows of several tasks, with details, in more than one cut; the log
// has a checkpoint and several segments.
func damagedDir(t *testing.T) *damagePlace {
	t.Helper()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime, o.WALSync, o.walSegment = 0, "never", 256
	ctx := context.Background()
	db := store(t, o, c)
	rich := func(round int, at time.Time) {
		t.Helper()
		for i := range 12 {
			e := task.Event{TaskID: fmt.Sprintf("rich-%d-%d", round, i), TaskName: fmt.Sprint("name", i%3), State: [...]task.State{task.StateFailure, task.StateSuccess}[i%2],
				At: at.Add(time.Duration(i) * time.Minute).UnixMicro(), Worker: fmt.Sprintf("w%d@h", i%2), Queue: "q", Retries: task.RetriesUnknown,
				Args: fmt.Sprintf("word%d of round%d", i, round), Result: "r", ExceptionType: "E", Traceback: strings.Repeat("at line ", i), HasRuntime: true, Runtime: int64(i)}
			mustAppend(t, db, Record{Invocation: e.Invocation()})
		}
		if _, err := db.Cut(ctx, false); err != nil {
			t.Fatal(err)
		}
	}
	day := 24 * time.Hour
	rich(0, noon.Add(-4*day))
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	rich(1, noon.Add(-day)) // an overlay
	rich(2, noon.Add(-time.Hour))
	db.crash(t) // puts what -wal have into the files
	db = start(t, o)
	rich(3, noon.Add(-2*time.Hour))
	mustAppend(t, db, started("parked too", noon))
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		mustAppend(t, db, finished(fmt.Sprint(afterSnapshot, i), noon))
	}
	truth := contents(t, db)
	// The files as they are: nobody writes, and what the -wal holds stays there.
	dir := t.TempDir()
	copyKept(t, o.Dir, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Dir = dir
	if err := os.WriteFile(filepath.Join(dir, backupMarker), []byte("a backup\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(dir, "quarantine") // of a day that is kept no longer
	sealed, err := os.ReadFile(filepath.Join(dir, "days", "2026-11-19.db"))
	if err == nil {
		err = os.Mkdir(aside, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(aside, "2026-11-18.db"), sealed, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return placeOf(t, o, truth, func(rel string) bool {
		return !strings.HasPrefix(rel, "snapshots") || strings.HasSuffix(rel, "2026-11-22.2.db")
	})
}

// damagedLegacy has a legacy file: elsewhere, with rollups that are in use, or
// under legacy/, with the -wal that a crash has left.
func damagedLegacy(t *testing.T, own *damagePlace, name string, handedOver bool) *damagePlace {
	t.Helper()
	o := own.o
	o.Dir = t.TempDir()
	copyKept(t, own.copy, o.Dir)
	if err := os.RemoveAll(filepath.Join(o.Dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	legacy := filepath.Join(o.Dir, "legacy")
	if err := os.Mkdir(legacy, 0o755); err != nil {
		t.Fatal(err)
	}
	if handedOver {
		fixture(t, name, legacy)
	} else {
		o.Legacy = []string{fixture(t, name, t.TempDir())}
		db := start(t, o)
		if err := db.sumLegacies(context.Background()); err != nil || !sumsReady(db) {
			t.Fatal(err)
		}
		db.crash(t)
	}
	db, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	truth := contents(t, db)
	if ready := sumsReady(db); ready == handedOver {
		t.Fatalf("rollups are in use: %v", ready)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return placeOf(t, o, truth, func(rel string) bool { return strings.HasPrefix(rel, "legacy") })
}

// damagedBackup is a backup of a place.
func damagedBackup(t *testing.T, own *damagePlace) *damagePlace {
	t.Helper()
	own.reset(t)
	if err := os.Remove(filepath.Join(own.o.Dir, backupMarker)); err != nil { // of a backup it would be one that is not whole
		t.Fatal(err)
	}
	o := own.o
	o.Dir = filepath.Join(t.TempDir(), "backup")
	res, err := Backup(context.Background(), BackupOptions{Dir: own.o.Dir, Dest: o.Dir, Now: o.Now})
	if err != nil || len(res.Problems) > 0 {
		t.Fatal(err, res.Problems)
	}
	return copyOf(t, o, backupCopy, own.truth)
}

// damagedSnapshot is the snapshot of a place.
func damagedSnapshot(t *testing.T, own *damagePlace) *damagePlace {
	t.Helper()
	o := own.o
	o.Dir = t.TempDir()
	snapshots, err := filepath.Glob(filepath.Join(own.copy, "snapshots", "*"))
	if err != nil || len(snapshots) != 1 {
		t.Fatal(snapshots, err)
	}
	copyKept(t, snapshots[0], o.Dir)
	before := maps.Clone(own.truth)
	maps.DeleteFunc(before, func(id string, _ task.Invocation) bool { return strings.HasPrefix(id, afterSnapshot) })
	return copyOf(t, o, snapshotCopy, before)
}

// copyOf is a copy of a place, which says what it has to.
func copyOf(t *testing.T, o Options, of string, truth map[string]task.Invocation) *damagePlace {
	t.Helper()
	p := placeOf(t, o, truth, func(string) bool { return true })
	p.of = of
	return p
}

// silent wants a place that is not damaged to answer everything right, and to have
// nothing that is told: else that would count as told of every damage.
func (p *damagePlace) silent(t *testing.T) {
	t.Helper()
	p.reset(t)
	x := inspection{p: p}
	x.readOnly(t, damage{})
	x.daemon(t)
	if len(x.found)+len(x.notes) > 0 {
		t.Fatalf("%sof a directory that is not damaged is told: %+v %+v", p.of, x.found, x.notes)
	}
}

// placeOf copies a directory, and finds the files in it that are to be damaged.
func placeOf(t *testing.T, o Options, truth map[string]task.Invocation, want func(rel string) bool) *damagePlace {
	t.Helper()
	p := &damagePlace{o: o, copy: t.TempDir(), truth: truth, bodies: map[string][]byte{}, only: map[string]map[string]bool{}}
	copyKept(t, o.Dir, p.copy)
	err := filepath.WalkDir(p.copy, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, relErr := filepath.Rel(p.copy, path)
		if err != nil || relErr != nil || len(b) == 0 || !want(rel) {
			return err
		}
		p.files, p.bodies[rel] = append(p.files, rel), b
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// copyKept copies a directory as cp -rp does.
func copyKept(t testing.TB, from, to string) {
	t.Helper()
	copyTree(t, from, to)
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		rel, relErr := filepath.Rel(from, path)
		if err != nil || relErr != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, rel), fi.ModTime(), fi.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reset makes the directory what it was.
func (p *damagePlace) reset(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(p.o.Dir)
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(p.o.Dir, e.Name()))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	copyKept(t, p.copy, p.o.Dir)
}

// put writes a file of the directory, and leaves its time: a disk does not tell.
func (p *damagePlace) put(t *testing.T, rel string, b []byte) {
	t.Helper()
	path := filepath.Join(p.o.Dir, rel)
	fi, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, 0o644)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err == nil {
		err = os.Chtimes(path, fi.ModTime(), fi.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// concerns are the ids that the directory says something else of, or nothing,
// when a file is not there: no damage of it may change any other. A database
// that is there without its -wal is one thing more that a damage can make of it.
func (p *damagePlace) concerns(t *testing.T, rel string) map[string]bool {
	t.Helper()
	if ids, ok := p.only[rel]; ok {
		return ids
	}
	ids := map[string]bool{}
	p.only[rel] = ids
	without := func(names ...string) {
		t.Helper()
		p.reset(t)
		for _, name := range names {
			if err := os.Remove(filepath.Join(p.o.Dir, name)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		db, err := OpenReadOnly(p.o)
		if err != nil {
			t.Fatalf("without %s: %v", rel, err)
		}
		a := ask(t, db, p.truth)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for id, v := range p.truth {
			if got, ok := a.rows[id]; !ok || !sameKnowledge(got, v) {
				ids[id] = true
			}
		}
		for id := range a.rows {
			if _, ok := p.truth[id]; !ok {
				t.Errorf("without %s there is %s", rel, id)
			}
		}
	}
	if db, ok := strings.CutSuffix(rel, "-wal"); ok {
		without(rel, db+"-shm")
		if kindOf(rel) == "legacy -wal" {
			without(db, rel) // then the file is refused
		}
		return ids
	}
	without(rel)
	if strings.HasSuffix(rel, ".db") {
		without(rel, rel+"-wal", rel+"-shm")
	}
	return ids
}

// days are those of some ids, and of the file itself.
func (p *damagePlace) days(rel string, ids map[string]bool) map[task.Day]bool {
	days := map[task.Day]bool{}
	for id := range ids {
		v := p.truth[id]
		days[v.Day()] = true
	}
	name := strings.TrimSuffix(filepath.Base(rel), "-wal")
	if d, _, ok := blocks.ParseSealedName(name); ok {
		days[d] = true
	}
	if d, _, ok := blocks.ParseLiveName(name); ok {
		days[d] = true
	}
	return days
}

// kindOf names the kind of a file.
func kindOf(rel string) string {
	dir, name := filepath.Split(filepath.ToSlash(rel))
	kind := "live"
	switch {
	case strings.HasPrefix(dir, "snapshots/"):
		return "in a snapshot"
	case dir == "quarantine/":
		return "quarantined"
	case dir == "":
		return name // LOCK, BACKUP
	case dir == "days/" && strings.HasSuffix(name, ".sha256"):
		return "checksum"
	case dir == "days/":
		return "sealed"
	case dir == "wal/" && strings.HasPrefix(name, "checkpoint"):
		return "checkpoint"
	case dir == "wal/":
		return "segment"
	case dir == "legacy/rollups/":
		return "legacy rollups " + filepath.Ext(name)
	case dir == "legacy/" && name == "attached":
		return "attached"
	case dir == "legacy/":
		kind = "legacy"
	case strings.HasPrefix(name, "parked"):
		kind = "parked"
	}
	if at := strings.LastIndex(name, ".db"); at+3 < len(name) {
		return kind + " " + name[at+3:]
	}
	return kind
}

// checked reports whether every byte of a file is under a checksum that verify
// looks at.
func checked(kind string) bool {
	return slices.Contains([]string{"sealed", "checksum", "segment", "checkpoint"}, kind)
}

// lostEnd reports whether a damage of a segment is what a crash may leave: of
// the last one nothing, or nothing but zeros, from some byte on; of others
// something behind what the next one says that it holds.
func (p *damagePlace) lostEnd(rel string, spoilt []byte) bool {
	was := p.bodies[rel]
	if kindOf(rel) != "segment" || p.untouched(rel, spoilt) {
		return kindOf(rel) == "segment"
	}
	for _, other := range p.files {
		if kindOf(other) == "segment" && other > rel {
			return false
		}
	}
	same := 0
	for same < min(len(was), len(spoilt)) && was[same] == spoilt[same] {
		same++
	}
	return len(bytes.TrimLeft(spoilt[same:], "\x00")) == 0
}

// untouched reports whether all records of a segment are there as they were.
func (p *damagePlace) untouched(rel string, spoilt []byte) bool {
	return kindOf(rel) == "segment" && bytes.HasPrefix(spoilt, p.bodies[rel])
}
