package blocks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// A look-up of many ids finds in several transactions what one by one finds, by
// either connection; by that of the writer also while a request has the other.
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
	find := func(byWriter bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute) // so that one that waits for ever ends
		defer cancel()
		found := map[string]bool{}
		err := l.findAll(ctx, wantedOf(ids), byWriter, func(v *task.Invocation) {
			if w := want[v.TaskID]; !sameRow(*v, w) || found[v.TaskID] {
				t.Errorf("%s: %s, twice %v", v.TaskID, task.AppendJSON(nil, v), found[v.TaskID])
			}
			found[v.TaskID] = true
		})
		if err != nil || len(found) != len(ids)/2 {
			t.Errorf("by the writer %v: found %d of %d, %v", byWriter, len(found), len(ids)/2, err)
		}
	}
	find(false)
	find(true)
	if err := l.withReader(ctx, func(*liveReader) error { find(true); return nil }); err != nil {
		t.Error(err)
	}
	v := (&shelf{t: t}).catalog(PoolOptions{}, DayFiles{Day: testDay, Live: l}).View()
	defer v.Release()
	v.ByWriter()
	if err := l.withReader(ctx, func(*liveReader) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		found, err := v.Lookup(ctx, ids)
		if err != nil || len(found) != len(ids)/2 {
			t.Errorf("a view found %d of %d: %v", len(found), len(ids)/2, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
