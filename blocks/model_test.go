package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// crowdedIDs are ids whose natural slots within a microsecond are equal or
// next to each other, in groups, so that they displace one another.
var crowdedIDs = sync.OnceValue(func() []string {
	type slot struct {
		at int64
		id string
	}
	slots := make([]slot, 1_000_000)
	for i := range slots {
		id := fmt.Sprintf("c%d", i)
		slots[i] = slot{naturalKey(0, task.Key{Hash: task.HashID(id)}), id}
	}
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	var out []string
	for i := 2; i < len(slots) && len(out) < 60; i++ {
		if slots[i].at-slots[i-2].at <= 1 {
			out = append(out, slots[i-2].id, slots[i-1].id, slots[i].id)
			i += 3
		}
	}
	return out
})

// anyRow is a row of the test day with everything a row can have, at one of
// few times.
func anyRow(r *rand.Rand, id string) task.Invocation {
	base := testDay.Start() + 3_600_000_000
	pick := func(xs ...string) string { return xs[r.IntN(len(xs))] }
	var v task.Invocation
	for range 1 + r.IntN(5)*r.IntN(8) {
		e := task.Event{
			TaskID: id, At: base + int64(r.IntN(4)), Worker: pick("", "a@h1", "b@app-worker-68c44cbdf6-2668h"), Retries: int32(r.IntN(4)) - 1,
			State: task.States[r.IntN(len(task.States))], TaskName: pick("", "t", "shop.mail"), Queue: pick("", "q1", "q2"),
			Args: pick("", "(1,)", "(2, 'é')", strings.Repeat("x", 9000)), Kwargs: pick("", "{}"), RootID: pick("", id, "root", "0b7fd1c4-9d9b-4a53-8e5c-000000000001"),
			ParentID: pick("", "parent", "0b7fd1c4-9d9b-4a53-8e5c-000000000002"), ETA: int64(r.IntN(2)) * (base + 77), Expires: int64(r.IntN(2)) * (base - 99),
			HasRuntime: r.IntN(2) == 0, Runtime: int64(r.IntN(3)), Result: pick("", "r", "a\x00b"), ExceptionType: pick("", "E", "F"),
			ExceptionMessage: pick("", "m"), Traceback: pick("", "tb", strings.Repeat("line\n", 500)),
		}
		v = task.Merge(v, e.Invocation())
	}
	if !v.State.Finished() && r.IntN(2) == 0 {
		v.GivenUpAt = base + 10 + int64(r.IntN(3))
	}
	return v
}

// model is what a day's files should say.
type model struct {
	rows map[string]task.Invocation
	mask map[string]bool
	cut  uint64
}

func (m *model) batch(r *rand.Rand, ids []string) Batch {
	m.cut += 1 + uint64(r.IntN(2))
	b := Batch{Cut: m.cut}
	for _, i := range r.Perm(len(ids))[:r.IntN(len(ids))] {
		id := ids[i]
		_, there := m.rows[id]
		switch r.IntN(5) {
		case 0:
			b.Delete = append(b.Delete, id)
			delete(m.rows, id)
		case 1:
			b.Mask = append(b.Mask, id)
			m.mask[id] = true
		default:
			v := anyRow(r, id)
			m.rows[id] = v
			b.Put = append(b.Put, Put{Inv: &v, Replace: there || r.IntN(2) == 0})
			if r.IntN(3) == 0 {
				b.Moved = append(b.Moved, Moved{ID: id, From: testDay - 1})
			}
		}
	}
	return b
}

// sorted are the rows in the order of everything.
func (m *model) sorted() []task.Invocation {
	out := make([]task.Invocation, 0, len(m.rows))
	for _, v := range m.rows {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
	return out
}

func sameRow(a, b task.Invocation) bool {
	if len(a.Transitions) == 0 && len(b.Transitions) == 0 {
		a.Transitions, b.Transitions = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func requireRows(t *testing.T, got, want []task.Invocation) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if !sameRow(got[i], want[i]) {
			t.Fatalf("row %d:\n%+v\nwant\n%+v", i, got[i], want[i])
		}
	}
}

// readRows reads the rows of a file in key order.
func readRows(t testing.TB, path string, mode fileMode, day task.Day) []task.Invocation {
	t.Helper()
	c, err := openFile(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	var out []task.Invocation
	chunks := newChunkReader(1 << 20)
	err = c.each(context.Background(), columnCount, func(vals []driver.Value) error {
		var v task.Invocation
		_, detail, residue, err := decodeRow(vals, day, &v)
		if err != nil {
			return err
		}
		if err := chunks.details(context.Background(), c, "main", detail, &v); err != nil {
			return err
		}
		out = append(out, v)
		return out[len(out)-1].Restore(residue)
	}, "SELECT "+readColumns+" FROM invocation AS i"+joins("main")+" ORDER BY i.key")
	if err := errors.Join(err, c.close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// requireSound runs what users run as daybook verify.
func requireSound(t testing.TB, path string) {
	t.Helper()
	findings, err := CheckFile(context.Background(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if !f.Note {
			t.Errorf("%s: %s", filepath.Base(f.Path), f.Problem)
		}
	}
}

// crashed copies a directory as kill -9 would leave it. A child process does
// it: this one must not open live files (doc.go).
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "live")
	if out, err := exec.Command("cp", "-r", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// liveDir is an empty directory for live files.
func liveDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "live")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func createLive(t testing.TB, dir string, seq int) *Live {
	t.Helper()
	l, err := CreateLive(dir, testDay, seq)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// build seals into a temporary file and publishes it.
func seal(t testing.TB, days string, in SealInput) *Sealed {
	t.Helper()
	in.Day, in.By, in.At = testDay, "a test", time.Unix(1_800_000_000, 0)
	tmp, info, err := BuildSealed(context.Background(), t.TempDir(), in)
	if err != nil {
		t.Fatal(err)
	}
	path, err := PublishSealed(tmp, days, testDay, in.Generation)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Info() != info {
		t.Fatalf("the file says %+v, building it said %+v", s.Info(), info)
	}
	requireSound(t, path)
	return s
}
