package blocks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// A look-up of many ids finds in several transactions what one by one finds; for a cut
// without details, by the connection of the writer, also while a request has the other.
func TestFindAll(t *testing.T) {
	t.Parallel()
	l := createLive(t, liveDir(t), 1)
	defer closeAll(t, l)
	ctx := context.Background()
	g := newLoad(8, testDay, 100_000)
	want := map[string]task.Invocation{}
	var ids []string
	for cut := uint64(1); cut <= 20; cut++ {
		b := g.batch(cut, 3*findBatch)
		if err := l.Apply(ctx, b); err != nil {
			t.Fatal(err)
		}
		for i, p := range b.Put {
			if want[p.Inv.TaskID] = *p.Inv; i%7 == 0 {
				ids = append(ids, p.Inv.TaskID, fmt.Sprint("nobody-", cut, "-", i))
			}
		}
	}
	find := func(forCut bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute) // so that one that waits for ever ends
		defer cancel()
		var found []string
		err := l.findAll(ctx, wantedOf(ids), forCut, func(v *task.Invocation) {
			if w := want[v.TaskID]; !forCut && !sameRow(*v, w) || forCut && !countsAs(v, &w) {
				t.Errorf("%s: %s", v.TaskID, task.AppendJSON(nil, v))
			}
			found = append(found, v.TaskID)
		})
		if forCut {
			slices.Sort(found)
		}
		if w := there(ids, forCut); err != nil || !slices.Equal(found, w) {
			t.Errorf("for a cut %v: found %d of %d, or in another order; %v", forCut, len(found), len(w), err)
		}
	}
	find(false)
	find(true)
	if err := l.withReader(ctx, func(*liveReader) error { find(true); return nil }); err != nil {
		t.Error(err)
	}
	v := (&shelf{t: t}).catalog(PoolOptions{}, DayFiles{Day: testDay, Live: l}).View()
	defer v.Release()
	if err := l.withReader(ctx, func(*liveReader) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		found, err := v.LookupForCut(ctx, ids)
		if err != nil || len(found) != len(ids)/2 {
			t.Errorf("a view found %d of %d: %v", len(found), len(ids)/2, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// there are those of ids that there are, in order. Rows that were asked for in the
// order in which they are stored come in that: each chunk of their details is read once.
func there(ids []string, sorted bool) []string {
	out := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return strings.HasPrefix(id, "nobody") })
	if sorted {
		slices.Sort(out)
	}
	return out
}

// countsAs reports whether a row without details, of which there are none, is counted
// by rollups as one with them is.
func countsAs(v, whole *task.Invocation) bool {
	var got, want rollup.Rollup
	got.Add(v)
	want.Add(whole)
	return v.Args+v.Kwargs+v.Outcome.Result+v.Outcome.ExceptionMessage+v.Outcome.Traceback == "" &&
		v.TaskName == whole.TaskName && v.Key() == whole.Key() && got.Equal(&want)
}
