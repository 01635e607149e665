package blocks

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql/driver"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// unpacked is a file of testdata, of an older version of the format.
func unpacked(t testing.TB, from, to string, mode os.FileMode) string {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", from))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, mode); err != nil {
		t.Fatal(err)
	}
	return to
}

// oldSealed is a sealed file of an older version with 60 rows of testDay, some
// with ids that are not UUIDs.
func oldSealed(t testing.TB, version, dir string) *Sealed {
	t.Helper()
	s, err := OpenSealed(unpacked(t, version+"/2026-11-23.db.gz", filepath.Join(dir, testDay.String()+".db"), 0o444))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, s) })
	return s
}

// TestVersions reads sealed files of older versions, hides a row of each, and
// seals it again: the rows of the new version are the same.
func TestVersions(t *testing.T) {
	for _, version := range []string{"version1", "version2", "version3", "version4"} {
		t.Run(version, func(t *testing.T) { testVersion(t, version) })
	}
}

func testVersion(t *testing.T, version string) {
	ctx := context.Background()
	shelf := newShelf(t)
	days := filepath.Join(shelf.dir, "days")
	old := oldSealed(t, version, days)
	if (old.ids.pages == 0) != (version == "version1") || old.named != (version >= "version3") || old.Rows() != 60 {
		t.Fatalf("%+v", old)
	}
	findings, err := CheckFile(ctx, old.Path(), true)
	if err != nil || len(findings) != 1 || !findings[0].Note {
		t.Fatal(findings, err)
	}
	if _, err := Analyze(ctx, old.Path()); err != nil {
		t.Fatal(err)
	}
	rows := everyRow(t, shelf, DayFiles{Day: testDay, Sealed: old})
	if len(rows) != 60 {
		t.Fatal(len(rows))
	}
	hidden := rows[7].TaskID
	l := shelf.live(testDay, nil, []string{hidden}, nil)
	requireWords(t, l.Path())
	tmp, _, err := BuildSealed(ctx, filepath.Join(shelf.dir, "tmp"), SealInput{Day: testDay, Generation: 2, Live: l, Sealed: old, At: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	path, err := PublishSealed(tmp, days, testDay, 2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, s)
	if findings, err := CheckFile(ctx, path, true); err != nil || len(findings) != 0 {
		t.Fatal(findings, err)
	}
	want := append(rows[:7:7], rows[8:]...)
	got := everyRow(t, shelf, DayFiles{Day: testDay, Sealed: s})
	if len(got) != len(want) {
		t.Fatal(len(got))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("\n%+v\n%+v", got[i], want[i])
		}
	}
}

// TestOldLive goes on with live files of older versions: rows are added,
// replaced, found and sealed, and what an older version would make of the file
// is right. That of version 2 has an index by name, and zstd; up to version 3 hours
// are complete; none has a short residue.
func TestOldLive(t *testing.T) {
	t.Run("version2", func(t *testing.T) { testOldLive(t, "version2", false, false, chunkZstd) })
	t.Run("version3", func(t *testing.T) { testOldLive(t, "version3", true, false, chunkS2) })
	t.Run("version4", func(t *testing.T) { testOldLive(t, "version4", true, true, chunkS2) })
}

func testOldLive(t *testing.T, version string, named, pending bool, chunks byte) {
	ctx := context.Background()
	shelf := newShelf(t)
	l, err := OpenLive(unpacked(t, version+"/2026-11-23.3.db.gz", filepath.Join(shelf.dir, "live", "2026-11-23.3.db"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, l)
	rows := everyRow(t, shelf, DayFiles{Day: testDay, Live: l})
	if len(rows) != 60 || l.named != named {
		t.Fatal(len(rows), l.named)
	}
	more := rowAt("more", rows[0].TaskName, testDay.Start()+5, task.StateFailure)
	more.RootID, more.Args = more.TaskID, "(1,)"
	again := rows[3]
	again.Worker = "other"
	again.Transitions = []task.Transition{{At: again.FinishedAt, State: again.State, Worker: again.Worker, ExceptionType: again.Outcome.ExceptionType}}
	if err := l.Apply(ctx, Batch{Cut: 9, Put: []Put{{Inv: &more}, {Inv: &again, Replace: true}}}); err != nil {
		t.Fatal(err)
	}
	want := everyRow(t, shelf, DayFiles{Day: testDay, Live: l})
	if len(want) != 61 {
		t.Fatal(len(want))
	}
	tmp, _, err := BuildSealed(ctx, filepath.Join(shelf.dir, "tmp"), SealInput{Day: testDay, Generation: 1, Live: l, At: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	path, err := PublishSealed(tmp, filepath.Join(shelf.dir, "days"), testDay, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, s)
	// An older version may go on with it: it must find what it knows.
	if n := chunksNotOf(t, l.Path(), chunks); n > 0 {
		t.Errorf("%d chunks are not as they were", n)
	}
	if n := shortResidues(t, l.Path()); n > 0 {
		t.Errorf("%d short residues", n)
	}
	if s := l.state.Load().hours; s.kept != pending {
		t.Errorf("%+v", s)
	}
	for _, file := range []string{l.Path(), path} {
		if findings, err := CheckFile(ctx, file, true); err != nil || len(findings) != 0 {
			t.Fatal(findings, err)
		}
	}
	if got := everyRow(t, shelf, DayFiles{Day: testDay, Sealed: s}); !s.named || !reflect.DeepEqual(got, want) {
		t.Fatalf("named %v: %d rows, want %d", s.named, len(got), len(want))
	}
}

// shortResidues counts the rows whose residue an older version calls damaged.
func shortResidues(t *testing.T, path string) int64 {
	t.Helper()
	c, err := openFile(path, modeRead)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, closer(c.close))
	var vals [1]driver.Value
	if _, err := c.queryRow(context.Background(), vals[:], "SELECT count(*) FROM invocation WHERE hex(substr(residue, 1, 1)) >= '10'"); err != nil {
		t.Fatal(err)
	}
	n, _ := vals[0].(int64)
	return n
}

func chunksNotOf(t *testing.T, path string, version byte) (n int) {
	t.Helper()
	c, err := openFile(path, modeRead)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, closer(c.close))
	chunks := 0
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		chunks++
		if data := vals[0].([]byte); data[0] != version {
			n++
		}
		return nil
	}, "SELECT data FROM chunk"); err != nil || chunks < 2 {
		t.Fatal(chunks, err)
	}
	return n
}

// everyRow lists a day, and looks every row up by its id, name and root.
func everyRow(t testing.TB, shelf *shelf, d DayFiles) (rows []task.Invocation) {
	t.Helper()
	ctx := context.Background()
	v := shelf.catalog(PoolOptions{}, d).View()
	defer v.Release()
	all := func(f task.Filter) (out []task.Invocation) {
		if err := v.Select(ctx, Select{Filter: &f, Details: true}, func(row *task.Invocation) (bool, error) {
			out = append(out, *row)
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	rows = all(task.Filter{})
	named := map[string][]string{}
	for i := range rows {
		named[rows[i].TaskName] = append(named[rows[i].TaskName], rows[i].TaskID)
	}
	for name, want := range named {
		var got []string
		for _, row := range all(task.Filter{TaskNames: []string{name}}) {
			got = append(got, row.TaskID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("of %q: %q, want %q", name, got, want)
		}
	}
	for i := range rows {
		id := rows[i].TaskID
		found, err := v.Lookup(ctx, []string{id, id + "x"})
		if err != nil {
			t.Fatal(err)
		}
		if row := found[id].Invocation; len(found) != 1 || !reflect.DeepEqual(row, rows[i]) {
			t.Fatalf("%q: %+v", id, found)
		}
		if byRoot := all(task.Filter{RootID: id}); len(byRoot) != 1 || byRoot[0].TaskID != id {
			t.Fatalf("%q: %d rows of that root", id, len(byRoot))
		}
	}
	if n := len(v.Unreadable()); n > 0 {
		t.Fatal(v.LeftOut())
	}
	return rows
}

// What POST /api/v1/invocations takes as a whole has a short residue in new files,
// and is the same from there.
func TestShortResidue(t *testing.T) {
	ctx := context.Background()
	shelf := newShelf(t)
	v := rowAt("posted", "a", testDay.Start()+5_000_000, task.StateFailure)
	v.RootID = v.TaskID
	v.StartedAt, v.SentAt = testDay.Start()+4_000_000, testDay.Start()+1_000_000
	v.Transitions = []task.Transition{{At: v.FinishedAt, State: v.State, Worker: v.Worker, Retries: v.Retries, ExceptionType: v.Outcome.ExceptionType}}
	l := shelf.live(testDay, []task.Invocation{v}, nil, nil)
	if n := shortResidues(t, l.Path()); n != 1 {
		t.Errorf("%d short residues", n)
	}
	s := shelf.seal(l, 1)
	path := s.Path()
	if n := shortResidues(t, path); n != 1 {
		t.Errorf("%d short residues when it is sealed", n)
	}
	for _, d := range []DayFiles{{Day: testDay, Live: l}, {Day: testDay, Sealed: s}} {
		if got := everyRow(t, shelf, d); len(got) != 1 || !reflect.DeepEqual(got[0].Transitions, v.Transitions) {
			t.Errorf("%+v", got)
		}
	}
	for _, file := range []string{l.Path(), path} {
		if findings, err := CheckFile(ctx, file, true); err != nil || len(findings) != 0 {
			t.Error(findings, err)
		}
	}
}
