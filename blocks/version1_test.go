package blocks

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// version1 is a sealed file of format version 1 with 60 rows of testDay, some
// with ids that are not UUIDs.
func version1(t *testing.T, dir string) *Sealed {
	t.Helper()
	packed, err := os.ReadFile("testdata/version1/2026-11-23.db.gz")
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
	path := filepath.Join(dir, testDay.String()+".db")
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, s) })
	return s
}

// TestVersion1 reads a file of version 1, hides a row of it, and seals it
// again: the rows of the new version are the same.
func TestVersion1(t *testing.T) {
	ctx := context.Background()
	shelf := newShelf(t)
	days := filepath.Join(shelf.dir, "days")
	old := version1(t, days)
	if old.ids.pages != 0 || old.Rows() != 60 {
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
	if findings, err := CheckFile(ctx, l.Path(), true); err != nil || len(findings) != 0 {
		t.Fatal(findings, err)
	}
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

// everyRow lists a day, and looks every row up by its id, name and root.
func everyRow(t *testing.T, shelf *shelf, d DayFiles) (rows []task.Invocation) {
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
		t.Fatal(v.Failures())
	}
	return rows
}
