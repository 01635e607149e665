package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// damage changes a published file in place, without its checksum.
func damage(t *testing.T, path, statement string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := openFile(path, modeWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	if err := c.script(statement); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + checksumSuffix); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func closing(t *testing.T, c *conn) {
	t.Helper()
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// problems are the findings about a file, notes aside.
func problems(t *testing.T, path string) []Finding {
	t.Helper()
	all, err := CheckFile(context.Background(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	var out []Finding
	for _, f := range all {
		if !f.Note {
			out = append(out, f)
		}
	}
	return out
}

// loadRows are generated rows, as values.
func loadRows(seed uint64, n int) []task.Invocation {
	g := newLoad(seed, testDay, 2*n)
	rows := make([]task.Invocation, n)
	for i := range rows {
		rows[i] = *g.next()
	}
	return rows
}

// Every kind of damage to a stored rollup is a finding that names the task,
// the hour and what to do, and nothing else is.
func TestCheckFindsWrongRollups(t *testing.T) {
	t.Parallel()
	rows := loadRows(3, 2000)
	hour := "width = 3600 AND (name, start) = (SELECT name, start FROM rollup WHERE width = 3600 ORDER BY length(data) DESC, name, start LIMIT 1)"
	// The greatest rollup of an hour, and a row. The last byte of a rollup is of
	// a name's count.
	for what, c := range map[string]struct{ statement, want string }{
		"a count":     {"UPDATE rollup SET data = (SELECT data FROM rollup WHERE width = 3600 ORDER BY length(data) LIMIT 1) WHERE " + hour, "it counts "},
		"a byte":      {"UPDATE rollup SET data = CAST(substr(data, 1, length(data) - 1) || x'7f' AS BLOB) WHERE " + hour, "is "},
		"the version": {"UPDATE rollup SET data = CAST(x'09' || substr(data, 2) AS BLOB) WHERE " + hour, "is damaged"},
		"no entry":    {"DELETE FROM rollup WHERE " + hour, ""},
		"a new name":  {"INSERT INTO rollup SELECT width, 9000, start, gone, data FROM rollup WHERE " + hour, "task_name 9000"},
		"a bucket":    {"INSERT INTO rollup SELECT width, name, start + 1, gone, data FROM rollup WHERE " + hour, "of no bucket"},
		"a width":     {"INSERT INTO rollup SELECT 61, name, start, gone, data FROM rollup WHERE " + hour, "of no bucket"},
		"the row":     {"UPDATE invocation SET retries = 7 WHERE key = (SELECT max(key) FROM invocation)", "retries"},
	} {
		for _, kind := range []string{"live", "sealed"} {
			t.Run(what+"/"+kind, func(t *testing.T) {
				t.Parallel()
				sh := newShelf(t)
				l := sh.live(testDay, rows, nil, nil)
				path := l.Path()
				if kind == "sealed" {
					path = sh.seal(l, 1).Path()
				}
				closeAll(t, l)
				requireSound(t, path)
				damage(t, path, c.statement)
				found := problems(t, path)
				if len(found) == 0 || len(found) > 4 {
					t.Fatalf("findings: %+v", found)
				}
				for _, f := range found {
					if f.Path != path || f.Remedy == "" || !strings.Contains(f.Problem, "rollup") {
						t.Errorf("%+v", f)
					}
				}
				if !strings.Contains(found[0].Problem, c.want) {
					t.Errorf("%+v does not speak of %q", found[0], c.want)
				}
			})
		}
	}
}

// Replaced, deleted and masked rows, overlays and new generations leave
// rollups that are those of the rows.
func TestRollupsStaySound(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sh, r := newShelf(t), rand.New(rand.NewPCG(seed, 21))
			now := map[string]task.Invocation{} // the day as it should be
			row := func() *task.Invocation {
				v := randomRow(r, fmt.Sprint("id-", r.IntN(400)), testDay.Start()+r.Int64N(86_400_000_000))
				return &v
			}
			var s *Sealed
			inSealed := map[string]task.Invocation{}
			for generation, cut := 1, uint64(0); generation <= 3; generation++ {
				l, err := CreateLive(filepath.Join(sh.dir, "live"), testDay, generation)
				if err != nil {
					t.Fatal(err)
				}
				here := map[string]bool{}
				for range 6 {
					cut++
					b, used := Batch{Cut: cut, Masked: map[string]*task.Invocation{}}, map[string]bool{}
					for range 60 {
						v := row()
						if used[v.TaskID] {
							continue
						}
						used[v.TaskID] = true
						if old, ok := inSealed[v.TaskID]; ok {
							b.Mask, b.Masked[v.TaskID] = append(b.Mask, v.TaskID), &old
						}
						if r.IntN(5) == 0 {
							b.Delete = append(b.Delete, v.TaskID)
							delete(here, v.TaskID)
							delete(now, v.TaskID)
							continue
						}
						b.Put = append(b.Put, Put{Inv: v, Replace: here[v.TaskID] || r.IntN(4) == 0})
						here[v.TaskID], now[v.TaskID] = true, *v
					}
					if err := l.Apply(context.Background(), b); err != nil {
						t.Fatal(err)
					}
					requireSound(t, l.Path())
				}
				s = seal(t, filepath.Join(sh.dir, "days"), SealInput{Generation: generation, Live: l, Sealed: s})
				requireSound(t, l.Path()) // taken in, and not yet deleted
				closeAll(t, l)
				clear(inSealed)
				for id, v := range now {
					inSealed[id] = v
				}
				if s.Rows() != int64(len(now)) {
					t.Fatalf("%d rows, want %d", s.Rows(), len(now))
				}
			}
			// An overlay whose gone part lost a masked row.
			sh.seq = 3
			l := sh.live(testDay, nil, nil, nil)
			var id string
			for id = range inSealed {
				break
			}
			old := inSealed[id]
			if err := l.Apply(context.Background(), Batch{Cut: 99, Mask: []string{id}, Masked: map[string]*task.Invocation{id: &old}}); err != nil {
				t.Fatal(err)
			}
			path := l.Path()
			closeAll(t, l)
			requireSound(t, path)
			damage(t, path, "DELETE FROM rollup WHERE width = 60")
			if found := problems(t, path); len(found) != 2 { // the minute, and the hour it is pending for
				t.Errorf("findings: %+v", found)
			}
		})
	}
}

// Names beyond the bound are counted together, in both kinds of file.
func TestRollupsOfManyNames(t *testing.T) {
	t.Parallel()
	sh := newShelf(t)
	rows := make([]task.Invocation, maxRollupNames+2000)
	for i := range rows {
		rows[i] = rowAt(fmt.Sprint("id-", i), fmt.Sprint("invented.name_", i), testDay.Start()+int64(i)*5_000_000, task.StateSuccess)
	}
	l, err := CreateLive(filepath.Join(sh.dir, "live"), testDay, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, l)
	b := Batch{Cut: 1}
	for i := range rows {
		b.Put = append(b.Put, Put{Inv: &rows[i]})
	}
	late := Batch{Cut: 2, Delete: []string{"id-1", "id-11000"}}
	for _, b := range []Batch{b, late} {
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	requireSound(t, l.Path())
	path := sh.seal(l, 1).Path()
	requireSound(t, path)

	c, err := openFile(path, modeImmutable)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	var vals [2]driver.Value
	if _, err := c.queryRow(context.Background(), vals[:], "SELECT count(*), (SELECT data FROM rollup WHERE width = 86400 AND name = 0) FROM rollup WHERE width = 86400"); err != nil {
		t.Fatal(err)
	}
	data, _ := vals[1].([]byte)
	rest, err := rollup.Decode(data)
	// A deleted row's name is not in the sealed file's dictionary.
	if err != nil || vals[0] != int64(maxRollupNames+1) || rest.Total() != 2000-2 {
		t.Errorf("%v rollups of the day, the last of %d invocations: %v", vals[0], rest.Total(), err)
	}
}

// Rollups are those of the rows after cuts that failed anywhere and were done then,
// after late rows, and when the file was opened again.
func TestRollupsAfterBrokenOffCuts(t *testing.T) {
	ctx := context.Background()
	l, err := CreateLive(t.TempDir(), testDay, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closeAll(t, l) }()
	r := rand.New(rand.NewPCG(3, 4))
	all := map[string]*task.Invocation{}
	brokenOff := 0
	for cut := uint64(1); cut <= 60; cut++ {
		b := Batch{Cut: cut}
		hour := int64(cut/6) - r.Int64N(2)*r.Int64N(3) // now and then an earlier one
		for i := range 1 + r.IntN(20) {
			e := task.Event{TaskID: fmt.Sprintf("%d-%d", cut, i), TaskName: fmt.Sprint("n", r.IntN(4)), State: task.StateSuccess,
				At: testDay.Start() + max(hour, 0)*3_600_000_000 + r.Int64N(3_600_000_000), Worker: fmt.Sprintf("w%d@h%d", i, r.IntN(300)), Retries: task.RetriesUnknown}
			v := e.Invocation()
			b.Put = append(b.Put, Put{Inv: &v})
		}
		// Broken off at every place that looks at the context, and then done.
		for n := 0; ; n++ {
			if err := l.Apply(&endingContext{ctx, n}, b); err == nil {
				break
			} else if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			brokenOff++
		}
		for _, p := range b.Put {
			all[p.Inv.TaskID] = p.Inv
		}
		if r.IntN(8) == 0 {
			path := l.Path()
			closeAll(t, l)
			if l, err = OpenLive(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := CheckFile(ctx, l.Path(), true)
	if err != nil || len(found) > 0 {
		t.Errorf("%+v %v", found, err)
	}
	if l.Rows() != int64(len(all)) || brokenOff < 60 {
		t.Errorf("%d rows, want %d; broken off %d times", l.Rows(), len(all), brokenOff)
	}
}

// endingContext ends when it has been asked left times whether it has.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}
