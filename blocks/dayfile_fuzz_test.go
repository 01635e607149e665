package blocks

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// fuzzFile is a whole file of the data directory, for targets that spoil it.
type fuzzFile struct {
	name  string    // in the data directory
	body  []byte    // followed by that of the -wal
	main  int       // where the -wal begins; all of it if there is none
	sum   []byte    // its checksum file
	under *fuzzFile // the sealed file that it lies over
	rows  []task.Invocation
}

// fuzzFiles makes a file of every kind and version. Without a checksum that of
// a sealed file is as if it was copied alone.
func fuzzFiles(t testing.TB) []fuzzFile {
	t.Helper()
	shelf := newShelf(t)
	r := rand.New(rand.NewPCG(3, 3))
	var rows []task.Invocation
	for i := range 40 {
		at := testDay.Start() + r.Int64N(3)*3_600_000_000 + r.Int64N(1000)
		if i%2 == 0 {
			v := wordyRow(r, fmt.Sprint("id-", i), at)
			v.Canonicalize()
			if i%4 == 0 && v.State.Finished() { // as if it was stated as a whole
				v.Transitions = v.Transitions[len(v.Transitions)-1:]
			}
			rows = append(rows, v)
		} else {
			rows = append(rows, randomRow(r, task.UnpackID([]byte(fmt.Sprintf("%016d", i))), at))
		}
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return b
	}
	var out []fuzzFile
	add := func(path string, rows []task.Invocation) *fuzzFile {
		t.Helper()
		f := fuzzFile{name: filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path)), body: read(path), rows: rows}
		f.main = len(f.body)
		f.body = append(f.body, read(path+"-wal")...)
		out = append(out, f)
		return &out[len(out)-1]
	}
	l := shelf.live(testDay, rows, nil, nil)
	if err := l.PutGaps(context.Background(), []task.Gap{{Source: "head", Cause: "dropped", From: testDay.Start(), To: testDay.Start() + 5, Count: 3}}); err != nil {
		t.Fatal(err)
	}
	add(l.Path(), rows) // with its -wal
	s := shelf.seal(l, 1)
	sealed := *add(s.Path(), rows)
	if err := WriteChecksum(s.Path(), filepath.Join(shelf.dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	add(s.Path(), rows).sum = read(s.Path() + checksumSuffix)
	closeAll(t, l)
	add(l.Path(), rows) // without
	for _, version := range []string{"version1", "version2", "version3", "version4"} {
		old := oldSealed(t, version, filepath.Join(shelf.dir, "tmp"))
		f := add(old.Path(), everyRow(t, shelf, DayFiles{Day: testDay, Sealed: old}))
		f.name = filepath.Join("days", old.Name())
		if err := os.Remove(old.Path()); err != nil {
			t.Fatal(err)
		}
	}
	old, err := OpenLive(unpacked(t, "version2/2026-11-23.3.db.gz", filepath.Join(shelf.dir, "live", "2026-11-23.3.db"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	oldRows := everyRow(t, shelf, DayFiles{Day: testDay, Live: old})
	closeAll(t, old)
	add(old.Path(), oldRows)
	// An overlay: late rows, one sealed row replaced, one that has moved away.
	late := []task.Invocation{rowAt("late", "app.task1", testDay.Start()+7, task.StateFailure), rowAt(rows[2].TaskID, "other", testDay.Start()+8, task.StateSuccess)}
	over, err := CreateOverlay(filepath.Join(shelf.dir, "live"), testDay, 8, s)
	if err != nil {
		t.Fatal(err)
	}
	hide := Batch{Cut: 8, Put: []Put{{Inv: &late[0]}, {Inv: &late[1]}}, Masked: map[string]*task.Invocation{}}
	for _, i := range []int{2, 4} {
		hide.Mask = append(hide.Mask, rows[i].TaskID)
		hide.Masked[rows[i].TaskID] = &rows[i]
	}
	if err := over.Apply(context.Background(), hide); err != nil {
		t.Fatal(err)
	}
	closeAll(t, over)
	left := slices.DeleteFunc(slices.Clone(rows), func(v task.Invocation) bool { return v.TaskID == rows[2].TaskID || v.TaskID == rows[4].TaskID })
	add(over.Path(), append(left, late...)).under = &sealed
	p, err := CreateParked(filepath.Join(shelf.dir, "live"), 9)
	if err != nil {
		t.Fatal(err)
	}
	var parked []task.Invocation
	var put []*task.Invocation
	for i := range 9 {
		e := task.Event{TaskID: fmt.Sprint("parked-", i), TaskName: "slow", At: testDay.Start() + int64(i), State: task.StateReceived, Retries: 0, Args: "(1,)"}
		v := e.Invocation()
		parked, put = append(parked, v), append(put, &v)
	}
	if err := p.Put(context.Background(), 5, put); err != nil {
		t.Fatal(err)
	}
	closeAll(t, p)
	add(p.Path(), parked)
	return out
}

// spoil does what edits say to b: three bytes are a place, one says what comes
// there: up to 63 of the bytes that follow, or with its upper bits zeros, bytes
// from another place, or the end of the file.
func spoil(b, edits []byte) []byte {
	b = slices.Clone(b)
	for n := 0; len(edits) >= 4 && n < 50; n++ {
		at := int(binary.BigEndian.Uint32([]byte{0, edits[0], edits[1], edits[2]})) % (len(b) + 64)
		how, length := edits[3]>>6, int(edits[3]&63)
		edits = edits[4:]
		if at >= len(b) {
			b = append(b, make([]byte, at-len(b)+1)...)
		}
		switch how {
		case 0:
			length = min(length, len(edits))
			copy(b[at:], edits[:length])
			edits = edits[length:]
		case 1:
			clear(b[at:min(len(b), at+length*length)])
		case 2:
			from := (at * (length + 1) / 2) % len(b)
			copy(b[at:], b[from:min(len(b), from+512)])
		case 3:
			b = b[:at]
		}
	}
	return b
}

// edit is the input of spoil for one edit.
func edit(at int, how byte, b ...byte) []byte {
	return append([]byte{byte(at >> 16), byte(at >> 8), byte(at), how<<6 | byte(len(b))}, b...)
}

// FuzzDayFile spoils the bytes of whole files, and takes any bytes for one.
func FuzzDayFile(f *testing.F) {
	files := fuzzFiles(f)
	for i := range files {
		n := len(files[i].body)
		f.Add(byte(i), false, []byte(nil))
		f.Add(byte(i), false, edit(n/2, 1, make([]byte, 60)...))
		f.Add(byte(i), false, edit(n*2/3, 0, 0xff, 0, 0xff))
		f.Add(byte(i), false, edit(n-100, 3))
		f.Add(byte(i), false, edit(28, 0, 0, 0, 0, 0))
	}
	f.Add(byte(2), false, []byte("z\xe8\x00|")) // a row without a task_id
	f.Add(byte('d'), false, []byte("0\x89\f|")) // a day that is none
	f.Add(byte(0), true, files[0].body[:4096])
	f.Add(byte(2), true, []byte(strings.Repeat("0", 64)+"  "+filepath.Base(files[2].name)+"\n"))
	f.Add(byte(7), true, []byte{})
	dir := newShelf(f).dir
	f.Fuzz(func(t *testing.T, which byte, raw bool, b []byte) {
		file := files[int(which)%len(files)]
		switch {
		case raw && file.sum != nil: // any bytes for a checksum file
			file.sum = b
		case raw:
			file.body, file.main = b, len(b)
		default:
			file.main = min(file.main, len(file.body))
			file.body = spoil(file.body, b)
		}
		whole := bytes.Equal(file.body, files[int(which)%len(files)].body)
		path := file.write(t, dir)
		file.look(t, path, whole)
	})
}

// FuzzDayRows puts any value into any column of any table of a file.
func FuzzDayRows(f *testing.F) {
	files := fuzzFiles(f)
	for i := range files {
		f.Add(byte(i), byte(9), byte(3), byte(2), byte('b'), int64(1), []byte("x"))
		f.Add(byte(i), byte(0), byte(1), byte(1), byte('i'), int64(-1), []byte("x"))
		f.Add(byte(i), byte(12), byte(0), byte(1), byte('+'), int64(5), []byte("\xff"))
	}
	f.Add(byte(3), byte('_'), byte(3), byte(1), byte('b'), int64(46), []byte("0"))   // a task_id of one byte
	f.Add(byte(0), byte('M'), byte(1), byte('a'), byte('i'), int64(-1), []byte("0")) // details before the first
	f.Add(byte(0), byte(3), byte(0), byte(3), byte('i'), int64(-1), []byte(nil))     // a gap that ends before 1970
	f.Add(byte(0), byte(5), byte(1), byte(3), byte('i'), int64(264), []byte(nil))    // a state that is SUCCESS when it is cut to fit
	f.Add(byte(0), byte(5), byte(1), byte(12), byte('i'), int64(-1), []byte(nil))    // less than no retries
	f.Add(byte(7), byte(5), byte(1), byte(1), byte('t'), int64(0), []byte(nil))      // an empty task_id
	dir := newShelf(f).dir
	f.Fuzz(func(t *testing.T, which, table, row, column, kind byte, n int64, b []byte) {
		file := files[int(which)%len(files)]
		if file.sum != nil {
			return
		}
		path := file.write(t, dir)
		if !setValue(t, path, int(table), int(row), int(column), kind, n, b) {
			return
		}
		file.look(t, path, false)
	})
}

// setValue changes one value of a row. It reports whether SQLite let it be.
func setValue(t *testing.T, path string, table, row, column int, kind byte, n int64, b []byte) bool {
	t.Helper()
	c, err := openFile(path, modeWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.script("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF"); err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		names = append(names, vals[0].(string))
		return nil
	}, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"); err != nil {
		t.Fatal(err)
	}
	name := names[table%len(names)]
	var columns []string
	if err := c.each(context.Background(), 1, func(vals []driver.Value) error {
		columns = append(columns, vals[0].(string))
		return nil
	}, "SELECT name FROM pragma_table_info('"+name+"')"); err != nil {
		t.Fatal(err)
	}
	col := columns[column%len(columns)]
	where := fmt.Sprintf(" WHERE (%[1]s) = (SELECT %[1]s FROM %[2]s LIMIT 1 OFFSET %[3]d %% max(1, (SELECT count(*) FROM %[2]s)))", strings.Join(columns[:1], ", "), name, row)
	var failed error
	switch kind {
	case 'i':
		failed = c.exec("UPDATE "+name+" SET "+col+" = ?"+where, n)
	case 'n':
		failed = c.exec("UPDATE " + name + " SET " + col + " = NULL" + where)
	case 't':
		failed = c.exec("UPDATE "+name+" SET "+col+" = ?"+where, string(b))
	case 'd':
		failed = c.exec("DELETE FROM " + name + where)
	case '+': // some bytes within what is there
		var vals [1]driver.Value
		if ok, err := c.queryRow(context.Background(), vals[:], "SELECT "+col+" FROM "+name+where); err != nil || !ok {
			return false
		}
		switch old := vals[0].(type) {
		case int64:
			failed = c.exec("UPDATE "+name+" SET "+col+" = ?"+where, old+n)
		case []byte:
			if len(old) == 0 {
				return false
			}
			now := slices.Clone(old)
			copy(now[int(uint64(n)%uint64(len(now))):], b)
			failed = c.exec("UPDATE "+name+" SET "+col+" = ?"+where, now)
		default:
			return false
		}
	default:
		failed = c.exec("UPDATE "+name+" SET "+col+" = ?"+where, append([]byte{}, b...))
	}
	return failed == nil
}

// write puts the file where it belongs, alone.
func (f *fuzzFile) write(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, f.name)
	main := min(f.main, len(f.body))
	for _, sub := range []string{"days", "live"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		for _, e := range entries {
			err = errors.Join(err, os.Remove(filepath.Join(dir, sub, e.Name())))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err := os.WriteFile(path, f.body[:main], 0o644)
	if err == nil && f.under != nil {
		err = os.WriteFile(filepath.Join(dir, f.under.name), f.under.body, 0o644)
	}
	if err == nil && len(f.body) > main {
		err = os.WriteFile(path+"-wal", f.body[main:], 0o644)
	}
	if err == nil && f.sum != nil {
		err = os.WriteFile(path+checksumSuffix, f.sum, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// typed reports whether an error says what is wrong with which file.
func typed(err error, path string) bool {
	var sqlite sqlite3.Error
	return hasType(err) || errors.As(err, &sqlite) && strings.Contains(err.Error(), path)
}

// look reads a file in every way there is. whole says that it is as it was.
func (f *fuzzFile) look(t *testing.T, path string, whole bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	findings, err := CheckFile(ctx, path, true)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	sound := !slices.ContainsFunc(findings, func(f Finding) bool { return !f.Note })
	for _, x := range findings {
		if x.Path == "" || x.Problem == "" || x.Remedy == "" {
			t.Errorf("a finding says too little: %+v", x)
		}
	}
	if whole && !sound && f.sum == nil {
		t.Fatalf("found in a whole file: %+v", findings)
	}
	if _, err := FileGaps(ctx, path); err != nil && (sound || !typed(err, path)) {
		t.Errorf("gaps: %v", err)
	}
	if strings.HasPrefix(filepath.Base(path), "parked.") {
		f.lookParked(t, ctx, path, sound)
		return
	}
	if _, err := Analyze(ctx, path); err != nil && (sound || !typed(err, path)) {
		t.Errorf("analyze: %v", err)
	}
	d := DayFiles{Day: testDay}
	if f.under != nil {
		if d.Sealed, err = OpenSealed(filepath.Join(filepath.Dir(path), "..", f.under.name)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.HasPrefix(f.name, "live") {
		d.Live, err = OpenLiveReadOnly(path)
	} else {
		d.Sealed, err = OpenSealed(path)
	}
	if err != nil {
		if sound || !typed(err, path) {
			t.Errorf("open: %v; findings %+v", err, findings)
		}
		return
	}
	if d.Live != nil {
		defer closeAll(t, d.Live)
	}
	if d.Sealed != nil {
		if err := d.Sealed.LoadFilter(); err != nil && (sound || !typed(err, path)) {
			t.Errorf("filter: %v", err)
		}
		defer closeAll(t, d.Sealed)
	}
	pool := NewPool(PoolOptions{Conns: 1})
	defer pool.Close()
	cat := NewCatalog(pool)
	cat.Edit(func(m map[task.Day]DayFiles) { m[testDay] = d })
	v := cat.View()
	defer v.Release()
	rows := f.selects(t, ctx, v, sound)
	f.sums(t, ctx, v, rows, sound)
	for _, err := range v.LeftOut() {
		if sound || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("left out: %v; findings %+v", err, findings)
		}
	}
	if sound && (whole || f.sum != nil && len(findings) == 0) {
		want := slices.Clone(f.rows)
		byKey := func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) }
		slices.SortFunc(want, byKey)
		for i := range want {
			if i >= len(rows) || !sameRow(rows[i], want[i]) {
				t.Fatalf("the rows are not those that went in, from %d of %d on", i, len(want))
			}
		}
	}
}

// selects asks for the rows in every way, and wants answers that agree.
func (f *fuzzFile) selects(t *testing.T, ctx context.Context, v *View, sound bool) (rows []task.Invocation) {
	t.Helper()
	all := func(s Select) (out []task.Invocation) {
		t.Helper()
		if err := v.Select(ctx, s, func(row *task.Invocation) (bool, error) {
			out = append(out, *row)
			err := task.CheckID(row.TaskID)
			if row.TaskID == "" || !row.State.Valid() || sound && err != nil {
				t.Errorf("a row that cannot be: %+v: %v", row, err)
			}
			return len(out) < 10_000, nil
		}); err != nil {
			t.Errorf("select: %v", err)
		}
		return out
	}
	same := func(what string, got, want []task.Invocation) {
		t.Helper()
		if sound && !slices.EqualFunc(got, want, func(a, b task.Invocation) bool { return a.TaskID == b.TaskID && a.Key() == b.Key() }) {
			t.Errorf("%s: %d rows, want %d; unreadable: %v", what, len(got), len(want), v.LeftOut())
		}
	}
	rows = all(Select{Oldest: true, Details: true})
	newest := all(Select{})
	slices.Reverse(newest)
	same("newest first", newest, rows)
	where := func(ok func(*task.Invocation) bool) (out []task.Invocation) {
		for i := range rows {
			if ok(&rows[i]) {
				out = append(out, rows[i])
			}
		}
		return out
	}
	for _, name := range []string{"app.task1", "other", f.rows[0].TaskName} {
		same("by name", all(Select{Oldest: true, Filter: &task.Filter{TaskNames: []string{name}}}), where(func(v *task.Invocation) bool { return v.TaskName == name }))
	}
	filter := &task.Filter{States: []task.State{task.StateFailure, task.StateRetry}}
	same("by state", all(Select{Oldest: true, Filter: filter}), where(func(v *task.Invocation) bool { return v.State == task.StateFailure || v.State == task.StateRetry }))
	root := f.rows[1].TaskID
	same("by root", all(Select{Oldest: true, Filter: &task.Filter{RootID: root}}), where(func(v *task.Invocation) bool { return v.RootID == root }))
	q, err := text.Parse("word1")
	if err != nil {
		t.Fatal(err)
	}
	same("by word", all(Select{Oldest: true, Text: q, Details: true}), where(q.Match))
	var ids []string
	for i := range f.rows {
		ids = append(ids, f.rows[i].TaskID)
	}
	for i := range rows {
		ids = append(ids, rows[i].TaskID)
	}
	found, err := v.Lookup(ctx, ids)
	if err != nil {
		t.Errorf("lookup: %v", err)
	}
	if sound {
		for i := range rows {
			got := found[rows[i].TaskID].Invocation
			got.Canonicalize()
			rows[i].Canonicalize()
			if !sameRow(got, rows[i]) {
				t.Errorf("%s by its id is not what it is in order:\n%+v\n%+v", rows[i].TaskID, got, rows[i])
			}
		}
		if len(found) != len(rows) {
			t.Errorf("%d by their ids, %d in order", len(found), len(rows))
		}
	}
	return rows
}

// sums reads the rollups, which count the rows.
func (f *fuzzFile) sums(t *testing.T, ctx context.Context, v *View, rows []task.Invocation, sound bool) {
	t.Helper()
	for _, whole := range []bool{false, true} {
		var n int64
		_, err := v.Rollups(ctx, RollupQuery{From: testDay.Start(), To: testDay.End(), Width: rollup.Hour, Whole: whole}, func(p RollupPart) error {
			r, err := rollup.Decode(p.Data)
			if err != nil {
				return err
			}
			sign := int64(1)
			if p.Gone {
				sign = -1
			}
			n += sign * int64(r.Total())
			return nil
		})
		if err != nil && !errors.Is(err, ErrPartial) {
			t.Errorf("rollups: %v", err)
		}
		if sound && (err != nil || n != int64(len(rows))) {
			t.Errorf("%d are summed of %d: %v", n, len(rows), err)
		}
	}
}

func (f *fuzzFile) lookParked(t *testing.T, ctx context.Context, path string, sound bool) {
	t.Helper()
	p, err := OpenParkedReadOnly(path)
	if err != nil {
		if sound || !typed(err, path) {
			t.Errorf("open: %v", err)
		}
		return
	}
	defer closeAll(t, p)
	var ids []string
	for _, oldest := range []bool{false, true} {
		ids = nil
		if err := p.Scan(ctx, nil, oldest, func(v *task.Invocation) (bool, error) {
			ids = append(ids, v.TaskID)
			return len(ids) < 10_000, nil
		}); err != nil && (sound || !typed(err, path)) {
			t.Errorf("scan: %v", err)
		}
	}
	for i := range f.rows {
		ids = append(ids, f.rows[i].TaskID)
	}
	found, err := p.Find(ctx, ids)
	if err != nil && (sound || !typed(err, path)) {
		t.Errorf("find: %v", err)
	}
	if sound && int64(len(found)) != p.Rows() {
		t.Errorf("%d are found of %d", len(found), p.Rows())
	}
	if _, err := p.Older(ctx, testDay.End(), 5); err != nil && (sound || !typed(err, path)) {
		t.Errorf("older: %v", err)
	}
}
