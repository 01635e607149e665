package tsdb

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// A page of the file of parked invocations that cannot be read ends no answer and
// no intake: what is in it is left out, and the file is named by answers, health and verify.
func TestDamagedPageOfParked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.RetentionTime = 0
	db := store(t, o, c)
	mustAppend(t, db, started("parked one", noon), started("parked another", noon), finished("kept", noon))
	if n, err := db.compact.Park(ctx, db.cuttable(), 2, true); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	truth := contents(t, db)
	open := func(_ string, v task.Invocation) bool { return !v.State.Finished() }
	maps.DeleteFunc(truth, open)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "live", "parked.*.db"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	rows, ok := tables(b)["parked"]
	if !ok {
		t.Fatal("the file has no rows")
	}
	for i := rows[0]; i < rows[1]; i++ {
		b[i] = 0xff
	}
	if err := os.WriteFile(files[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	name := "live/" + filepath.Base(files[0])

	check := func(what string, db *DB) {
		t.Helper()
		found := 0
		if err := db.Verify(ctx, nil, func(f Finding) {
			if !f.Note && filepath.Base(f.Path) == filepath.Base(name) {
				found++
			}
		}); err != nil || found == 0 {
			t.Errorf("%s: verify: %d findings, %v", what, found, err)
		}
		a := ask(t, db, truth)
		if _, ok := a.rows["parked one"]; ok {
			t.Errorf("%s: the page is not damaged", what)
		}
		maps.DeleteFunc(a.rows, open) // one of them is not parked
		if len(a.odd) > 0 || !maps.EqualFunc(a.rows, truth, func(a, b task.Invocation) bool { return sameKnowledge(a, b) }) {
			t.Errorf("%s: %v %v", what, a.rows, a.odd)
		}
		if !slices.Contains(a.unreadable, name) {
			t.Errorf("%s: %s is not named: %v", what, name, a.unreadable)
		}
	}
	ro, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	check("read-only", ro)
	if err := ro.Close(); err != nil {
		t.Error(err)
	}
	db = start(t, o)
	check("as daemon", db)
	mustAppend(t, db, finished("parked one", noon)) // as of a day that is damaged in use: a new one
	if _, err := db.Get(ctx, "parked one"); err != nil {
		t.Error(err)
	}
	if h := db.Health(); !slices.ContainsFunc(h.Reasons, func(r string) bool { return strings.Contains(r, name) }) {
		t.Errorf("health says nothing: %+v", h)
	}
	_ = db.Close() // what is damaged may not be written
}
