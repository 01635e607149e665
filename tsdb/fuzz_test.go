package tsdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// FuzzLock takes any bytes for the LOCK file: it can be locked, and whoever
// comes second is told by whom, and nothing else.
func FuzzLock(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("4711                \n"))
	f.Add([]byte("12\x1b[2J                                          and more\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, "LOCK"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.release()
		if _, err := lockDir(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "(process "+strconv.Itoa(os.Getpid())+"):") {
			t.Errorf("%q", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "LOCK"), b, 0o644); err != nil { // by somebody else
			t.Fatal(err)
		}
		if who := holder(filepath.Join(dir, "LOCK")); len(who) > 40 || strings.ContainsFunc(who, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", who)
		}
	})
}

// FuzzDirectory changes bytes of one file of a data directory and reads the
// directory as the tools do: the file stops nothing but itself, and unless
// something is told, everything is as it was.
func FuzzDirectory(f *testing.F) {
	o, truth := fuzzedDir(f)
	bodies := map[string][]byte{}
	var files []string
	if err := filepath.WalkDir(o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files = append(files, path)
		bodies[path], err = os.ReadFile(path)
		return err
	}); err != nil {
		f.Fatal(err)
	}
	for i := range files {
		f.Add(byte(i), false, uint32(0), []byte(nil))
		f.Add(byte(i), false, uint32(5000), []byte{0xff})
		f.Add(byte(i), true, uint32(100), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, short bool, at uint32, b []byte) {
		path := files[int(which)%len(files)]
		body := slices.Clone(bodies[path])
		from := min(int(at)%(len(body)+1), len(body))
		if copy(body[from:], b); short {
			body = body[:from]
		}
		defer func() {
			if err := overwrite(path, bodies[path]); err != nil {
				t.Error(err)
			}
		}()
		if err := overwrite(path, body); err != nil {
			t.Fatal(err)
		}
		lookAtDirectory(t, o, path, bytes.Equal(body, bodies[path]), truth)
	})
}

// overwrite puts content into a file that may be read only.
func overwrite(path string, b []byte) error {
	return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, b, 0o644))
}

// fuzzedDir is a data directory with a sealed day, an overlay, a live day,
// parked invocations and a log, which nobody has open.
func fuzzedDir(f *testing.F) (o Options, truth map[string]task.Invocation) {
	f.Helper()
	o = testOptions(f.TempDir(), &testClock{at: noon})
	o.RetentionTime = 0
	db := start(f, o)
	ctx := context.Background()
	add := func(name string, at time.Time) {
		for i := range 5 {
			mustAppend(f, db, finished(fmt.Sprint(name, i), at.Add(time.Duration(i)*time.Minute)))
		}
	}
	add("sealed ", noon.Add(-48*time.Hour))
	if _, err := db.Cut(ctx, true); err != nil {
		f.Fatal(err)
	}
	add("late ", noon.Add(-47*time.Hour))
	add("live ", noon.Add(-time.Hour))
	if _, err := db.Cut(ctx, false); err != nil {
		f.Fatal(err)
	}
	mustAppend(f, db, started("parked", noon), finished("in the log", noon))
	if n, err := db.compact.Park(ctx, db.cuttable(), 1, true); n != 1 || err != nil {
		f.Fatal(n, err)
	}
	truth = contents(f, db)
	db.crash(f)
	return o, truth
}

func lookAtDirectory(t *testing.T, o Options, path string, whole bool, truth map[string]task.Invocation) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := OpenReadOnly(o)
	if err != nil {
		if strings.Contains(path, "/wal/") && strings.Contains(err.Error(), filepath.Base(path)) {
			return // a log of a newer version
		}
		t.Fatalf("%s: it cannot be read at all: %v", path, err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	told := 0
	if err := db.Verify(ctx, nil, func(f Finding) {
		if !f.Note {
			told++
		}
	}); err != nil {
		t.Errorf("verify: %v", err)
	}
	if whole && told > 0 {
		t.Errorf("%d findings in a whole directory", told)
	}
	rows := map[string]task.Invocation{}
	for q := (Query{Limit: 100, Details: true}); ; {
		page, err := db.Select(ctx, q)
		if err != nil {
			t.Fatalf("select: %v", err)
		}
		told += len(page.Coverage.Unreadable)
		for _, v := range page.Invocations {
			if _, twice := rows[v.TaskID]; twice {
				t.Errorf("%q is shown twice", v.TaskID)
			}
			rows[v.TaskID] = v
		}
		if page.Next == nil {
			break
		}
		q.After = page.Next
	}
	if _, cover, err := db.Tasks(ctx, 0, noon.Add(48*time.Hour).UnixMicro(), ""); err != nil {
		t.Errorf("sums: %v", err)
	} else {
		told += len(cover.Unreadable)
	}
	for _, target := range []string{"2026-11-21", "2026-11-23"} {
		if err := db.Dump(ctx, []string{target}, Query{}, func(*task.Invocation) error { return nil }); err != nil && told == 0 {
			t.Errorf("dump %s: %v, and nothing is told", target, err)
		}
	}
	if _, err := blocks.Analyze(ctx, path); err != nil && strings.HasSuffix(path, ".db") && !strings.Contains(path, "parked") && told == 0 {
		t.Errorf("analyze: %v, and nothing is told", err)
	}
	dir := filepath.Base(filepath.Dir(path))
	for id, w := range truth {
		g, ok := rows[id]
		same := ok && sameKnowledge(g, w)
		switch {
		case same:
		case dir == "days" && !strings.HasPrefix(id, "sealed "), dir != "days" && strings.HasPrefix(id, "sealed ") && dir != "live", filepath.Base(path) == "LOCK":
			t.Errorf("%s: %q is wrong: %v", path, id, ok)
		case dir == "days" && told == 0:
			t.Errorf("%s: %q is wrong, and nothing is told", path, id)
		}
	}
	for id := range rows {
		if _, ok := truth[id]; !ok && told == 0 && dir == "days" {
			t.Errorf("%s: %q was never sent", path, id)
		}
	}
}
