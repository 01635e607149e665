package blocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

func TestParkedAgainstModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 8))
	dir := liveDir(t)
	p, err := CreateParked(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	rows := map[string]task.Invocation{}
	ids := make([]string, 700)
	for i := range ids {
		ids[i] = fmt.Sprintf("p%d", i)
	}
	var last uint64
	for cut := uint64(1); cut < 40; cut++ {
		var invs []*task.Invocation
		for range r.IntN(60) {
			id := ids[r.IntN(len(ids))]
			e := task.Event{TaskID: id, At: 1_000_000 + r.Int64N(30), State: task.StateReceived, Retries: 0, Args: "(1,)"}
			v := e.Invocation()
			invs = append(invs, &v)
			rows[id] = v
		}
		for range 2 { // the second is known already
			if err := p.Put(ctx, cut, invs); err != nil {
				t.Fatal(err)
			}
			invs = append(invs[:len(invs):len(invs)], &task.Invocation{})
		}
		last = cut
		var gone []string
		for range r.IntN(30) {
			id := ids[r.IntN(len(ids))]
			gone = append(gone, id)
			delete(rows, id)
		}
		if err := p.Delete(ctx, gone); err != nil {
			t.Fatal(err)
		}
		if r.IntN(8) == 0 {
			closeAll(t, p)
			if p, err = OpenParked(filepath.Join(dir, "parked.3.db")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.Rows() != int64(len(rows)) || !p.Knows(last) || p.Knows(last+1) {
		t.Fatalf("%d rows, want %d", p.Rows(), len(rows))
	}
	found, err := p.Find(ctx, ids)
	if err != nil || len(found) != len(rows) {
		t.Fatalf("%d found, want %d: %v", len(found), len(rows), err)
	}
	for id, want := range rows {
		if !sameRow(found[id], want) || !p.MayContain(task.HashID(id)) {
			t.Fatalf("%s: %+v, want %+v", id, found[id], want)
		}
	}
	want := (&model{rows: rows}).sorted()
	var after *task.Key
	for _, oldest := range []bool{true, false} {
		for _, from := range []int{-1, 0, len(want) / 2, len(want) - 1} {
			rest := want
			after = nil
			if from >= 0 {
				k := want[from].Key()
				after = &k
				rest = want[from+1:]
				if !oldest {
					rest = want[:from]
				}
			}
			var got []task.Invocation
			err := p.Scan(ctx, after, oldest, func(v *task.Invocation) (bool, error) { got = append(got, *v); return true, nil })
			if err != nil {
				t.Fatal(err)
			}
			if !oldest {
				slices.Reverse(got)
			}
			requireRows(t, got, rest)
		}
	}
	older, err := p.Older(ctx, want[5].UpdatedAt, 3)
	if err != nil || len(older) > 3 || len(older) > 0 && !sameRow(older[0], want[0]) {
		t.Errorf("%+v %v", older, err)
	}
	requireSound(t, p.Path())
	if err := p.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	closeAll(t, p)
	requireSound(t, p.Path())
	if err := p.Put(ctx, 99, nil); !errors.Is(err, ErrFileClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	if err := p.Remove(); err != nil {
		t.Fatal(err)
	}
}
