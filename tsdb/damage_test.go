package tsdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// damage is one way to spoil a file.
type damage struct {
	name  string
	spoil func(r *rand.Rand, b []byte, other []byte) []byte
}

var damages = []damage{
	{"flipped", func(r *rand.Rand, b, _ []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}},
	{"flipped in its first page", func(r *rand.Rand, b, _ []byte) []byte {
		b[r.IntN(min(len(b), 200))] ^= 1 << r.IntN(8)
		return b
	}},
	{"garbled", func(r *rand.Rand, b, _ []byte) []byte {
		at := r.IntN(len(b))
		for i := at; i < min(len(b), at+1+r.IntN(5000)); i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	{"zeroed", func(r *rand.Rand, b, _ []byte) []byte {
		at := r.IntN(len(b))
		clear(b[at:min(len(b), at+1+r.IntN(9000))])
		return b
	}},
	{"cut", func(r *rand.Rand, b, _ []byte) []byte { return b[:r.IntN(len(b))] }},
	{"emptied", func(_ *rand.Rand, b, _ []byte) []byte { return nil }},
	{"blocks swapped", func(r *rand.Rand, b, _ []byte) []byte {
		const n = 4096
		if len(b) < 2*n {
			slices.Reverse(b)
			return b
		}
		i, j := r.IntN(len(b)/n)*n, r.IntN(len(b)/n)*n
		block := bytes.Clone(b[i : i+n])
		copy(b[i:i+n], b[j:j+n])
		copy(b[j:j+n], block)
		return b
	}},
	{"replaced by another", func(_ *rand.Rand, _, other []byte) []byte { return other }},
	{"longer", func(r *rand.Rand, b, _ []byte) []byte { return append(b, make([]byte, 1+r.IntN(8192))...) }},
}

// checked reports whether every byte of a file is under a checksum.
func checked(rel string) bool {
	return strings.HasPrefix(rel, "days"+string(filepath.Separator)) || strings.HasPrefix(rel, "wal"+string(filepath.Separator))
}

// dayOf is the day of a file, if it is that of one.
func dayOf(rel string) (d task.Day, ok bool) {
	name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(rel), "-wal"), "-shm"), ".sha256")
	if d, _, ok = blocks.ParseSealedName(name); ok {
		return d, true
	}
	d, _, ok = blocks.ParseLiveName(name)
	return d, ok
}

// damagedDir is a data directory with something in every kind of file, as a
// crash has left it, and what it says.
func damagedDir(t *testing.T) (dir string, o Options, truth map[string]task.Invocation) {
	t.Helper()
	c := &testClock{at: noon}
	o = testOptions(t.TempDir(), c)
	o.RetentionTime = 0
	db := store(t, o, c)
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, db, finished("after the checkpoint", noon), finished("then", noon))
	truth = contents(t, db)
	dir = t.TempDir()
	// The files as they are: nobody writes, and what the -wal holds stays there.
	copyTree(t, o.Dir, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, o, truth
}

// TestDamage spoils each kind of file in every way: nothing panics, the daemon
// starts, the other days answer as before, what checksums can know is found by
// verify, with what to do about it, and no file is deleted for being damaged.
func TestDamage(t *testing.T) {
	dir, o, truth := damagedDir(t)
	var files []string
	bodies := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files, bodies[rel] = append(files, rel), b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// A legacy file has many rows: it is there when it is its turn.
	legacy := filepath.Join("legacy", "gen0-small.db")
	old, err := os.ReadFile(fixture(t, "gen0-small.db", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	files, bodies[legacy] = append(files, legacy), old
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 3))
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	kinds := map[string]bool{}
	for i := range rounds * len(files) {
		rel := files[i%len(files)]
		how := damages[r.IntN(len(damages))]
		spoilt := how.spoil(r, bytes.Clone(bodies[rel]), bodies[files[r.IntN(len(files))]])
		if bytes.Equal(spoilt, bodies[rel]) {
			continue
		}
		kinds[filepath.Ext(rel)] = true
		if !t.Run(fmt.Sprintf("%s %s", rel, how.name), func(t *testing.T) {
			damaged := t.TempDir()
			copyTree(t, dir, damaged)
			path := filepath.Join(damaged, rel)
			if rel == legacy {
				if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoilt, 0o644); err != nil {
				t.Fatal(err)
			}
			o := o
			o.Dir = damaged
			inspect(t, o, rel, how.name, truth)
			after, err := os.ReadFile(path)
			if checked(rel) && strings.HasPrefix(rel, "days") && (err != nil || !bytes.Equal(after, spoilt)) {
				t.Errorf("the damaged file is gone, or has changed: %v", err)
			}
		}) {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d files, kinds %v", len(files), slices.Sorted(maps.Keys(kinds)))
}

// inspect looks at a directory in which one file is damaged: read-only, then
// with verify, then as its daemon.
func inspect(t *testing.T, o Options, rel, how string, truth map[string]task.Invocation) {
	t.Helper()
	db, err := OpenReadOnly(o)
	if err != nil {
		t.Fatalf("it cannot be read at all: %v", err)
	}
	rows, unreadable := whatIsLeft(t, db, rel)
	var found, notes []Finding
	if err := db.Verify(context.Background(), nil, func(f Finding) {
		if f.Note {
			notes = append(notes, f)
			return
		}
		found = append(found, f)
		if f.Path == "" || f.Problem == "" || f.Remedy == "" {
			t.Errorf("a finding says too little: %+v", f)
		}
	}); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	base := strings.TrimSuffix(filepath.Base(rel), ".sha256")
	base = strings.TrimSuffix(strings.TrimSuffix(base, "-wal"), "-shm")
	named := func(list []Finding) bool {
		return slices.ContainsFunc(list, func(f Finding) bool { return strings.Contains(f.Path, base) || strings.Contains(f.Problem, base) })
	}
	// The end of the log may be missing as after a crash, or be cut where a record ends.
	tail := strings.HasPrefix(rel, "wal") && (how == "cut" || how == "zeroed" || how == "longer" || how == "emptied")
	if checked(rel) && !named(found) && !named(notes) && !tail {
		t.Errorf("verify does not name %s: %+v", base, found)
	}
	if strings.HasPrefix(rel, "legacy") && len(rows) < len(truth) {
		t.Errorf("%d rows are left of %d", len(rows), len(truth))
	}
	wrong := compareLeft(rel, rows, truth)
	for _, id := range wrong {
		d, ok := dayOf(rel)
		switch v := truth[id]; {
		case !ok || v.Day() == d || id == "s0":
			if checked(rel) && len(found) == 0 && len(notes) == 0 && len(unreadable) == 0 && !tail {
				t.Errorf("%s is wrong, and nothing is found", id)
			}
		default:
			t.Errorf("%s of %s is wrong for the damage of %s", id, v.Day(), rel)
		}
	}

	db, err = Open(o)
	if err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	if err := db.replay(context.Background()); err != nil {
		t.Fatalf("it does not replay: %v", err)
	}
	db.ready.Store(true)
	mustAppend(t, db, finished("new", noon))
	if _, err := db.Cut(context.Background(), false); err != nil && len(found) == 0 {
		t.Errorf("it does not cut, and nothing is found: %v", err)
	}
	if _, err := db.Get(context.Background(), "new"); err != nil {
		t.Errorf("what was taken is not there: %v", err)
	}
	whatIsLeft(t, db, rel)
	if err := db.Close(); err != nil && len(found) == 0 {
		t.Errorf("close: %v, and nothing is found", err)
	}
}

// An invocation that is not found where a file cannot be read, or anything was
// deleted, is not one that there never was.
func TestNotFoundTellsWhatIsCovered(t *testing.T) {
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 0
	old := fixture(t, "gen1-small.db", t.TempDir())
	o.Legacy = []string{old}
	db := store(t, o, c)
	ask := func(id, what string, unreadable ...string) {
		t.Helper()
		_, err := db.Get(ctx, id)
		_, flowErr := db.Workflow(ctx, id, MaxWorkflow)
		for call, err := range map[string]error{"get": err, "workflow": flowErr} {
			var missing *NotFoundError
			if !errors.As(err, &missing) || !errors.Is(err, ErrNotFound) {
				t.Fatalf("%s, %s: %v", call, what, err)
			}
			if got := missing.Coverage; !slices.Equal(got.Unreadable, unreadable) || got.Complete != (len(unreadable) == 0) {
				t.Errorf("%s, %s: complete %v, without %v", call, what, got.Complete, got.Unreadable)
			}
		}
	}
	ask("nobody", "all is well")
	lost := ""
	for id, v := range contents(t, db) {
		if v.Day() == task.DayOf(noon.UnixMicro())-3 {
			lost = id
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = start(t, o)
	defer db.crash(t)
	files, err := filepath.Glob(filepath.Join(o.Dir, "days", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	// Found out by the look-up, not at the start.
	if err := errors.Join(os.Remove(files[0]), os.Truncate(old, 8192)); err != nil {
		t.Fatal(err)
	}
	ask(lost, "two files are damaged", filepath.Base(files[0]), "gen1-small.db")
}

// whatIsLeft walks through what can be read, and wants the sums over the days
// whose file is not damaged to be those of their rows.
func whatIsLeft(t *testing.T, db *DB, rel string) (rows map[string]task.Invocation, unreadable []string) {
	t.Helper()
	rows = map[string]task.Invocation{}
	for q := (Query{Limit: 100, Details: true}); ; {
		page, err := db.Select(context.Background(), q)
		if err != nil {
			t.Errorf("select: %v", err)
			return rows, unreadable
		}
		unreadable = append(unreadable, page.Coverage.Unreadable...)
		for _, v := range page.Invocations {
			if _, twice := rows[v.TaskID]; twice {
				t.Errorf("%s is shown twice", v.TaskID)
			}
			rows[v.TaskID] = v
		}
		if page.Next == nil {
			break
		}
		q.After = page.Next
	}
	ctx := context.Background()
	_, cover, err := db.Tasks(ctx, 0, noon.Add(48*time.Hour).UnixMicro(), "")
	if err != nil {
		t.Errorf("the sum of all: %v", err)
	}
	unreadable = append(unreadable, cover.Unreadable...)
	today := task.DayOf(noon.UnixMicro())
	for d := today - 3; d <= today; d++ {
		sums, cover, err := db.Tasks(ctx, d.Start(), d.End(), "t")
		if err != nil {
			t.Errorf("the sums of %s: %v", d, err)
			continue
		}
		var got, want uint64
		for _, s := range sums {
			got += s.Total
		}
		for _, v := range rows {
			if v.Day() == d {
				want++
			}
		}
		if damaged, ok := dayOf(rel); got != want && (!ok || damaged != d) {
			t.Errorf("%d are summed of the %d of %s, %v cannot be read", got, want, d, cover.Unreadable)
		}
	}
	return rows, unreadable
}

// compareLeft returns the ids that are missing or other than they were; damage
// of the log or the parked file may concern any.
func compareLeft(rel string, rows, truth map[string]task.Invocation) (wrong []string) {
	for id, w := range truth {
		if g, ok := rows[id]; !ok || !sameKnowledge(g, w) {
			if _, day := dayOf(rel); !day && !strings.Contains(rel, "parked") && !strings.HasPrefix(rel, "wal") {
				continue
			}
			if strings.Contains(rel, "parked") && id != "parked" || strings.HasPrefix(rel, "wal") && w.Day() != task.DayOf(noon.UnixMicro()) {
				continue
			}
			wrong = append(wrong, id)
		}
	}
	return wrong
}
