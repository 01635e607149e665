package blocks

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// begin begins a copy that the test ends.
func begin(t *testing.T, path string) *LiveCopy {
	t.Helper()
	p, err := BeginCopy(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// copied writes the copy and opens it.
func copied(t *testing.T, p *LiveCopy) *Live {
	t.Helper()
	path := filepath.Join(liveDir(t), p.Name())
	var told int64
	if err := p.To(context.Background(), path, func(n int64) { told += n }); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != p.Bytes() || told != p.Bytes() {
		t.Errorf("the copy has %v bytes, %d were told, want %d: %v", fi.Size(), told, p.Bytes(), err)
	}
	requireSound(t, path)
	l, err := OpenLive(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, l) })
	return l
}

// A copy has what was there when it began, whatever is written, checkpointed
// and removed since, and it can be gone on with.
func TestLiveCopy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(3, 3))
	ids := slices.Clone(crowdedIDs())
	l := createLive(t, liveDir(t), 1)
	m := &model{rows: map[string]task.Invocation{}, mask: map[string]bool{}}
	for range 5 {
		if err := l.Apply(ctx, m.batch(r, ids)); err != nil {
			t.Fatal(err)
		}
	}
	first := begin(t, l.Path())
	if newest, err := first.Newest(ctx); err != nil || !newest {
		t.Error(newest, err)
	}
	then := &model{rows: map[string]task.Invocation{}, mask: map[string]bool{}, cut: m.cut}
	for id, v := range m.rows {
		then.rows[id] = v
	}
	for id := range m.mask {
		then.mask[id] = true
	}
	for range 5 {
		if err := l.Apply(ctx, m.batch(r, ids)); err != nil {
			t.Fatal(err)
		}
	}
	if newest, err := first.Newest(ctx); err != nil || newest {
		t.Error(newest, err)
	}
	if err := l.Checkpoint(ctx); err != nil && !errors.Is(err, ErrCheckpoint) {
		t.Fatal(err)
	}
	c := copied(t, first)
	requireModel(t, c, then, ids)
	if err := c.Apply(ctx, then.batch(r, ids)); err != nil {
		t.Fatal(err)
	}
	requireModel(t, c, then, ids)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	closeAll(t, l)

	// A file that nobody has open is read without anything appearing beside it.
	second := begin(t, l.Path())
	requireModel(t, copied(t, second), m, ids)
	if names, err := os.ReadDir(filepath.Dir(l.Path())); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
	again, err := OpenLive(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, again)
	to := filepath.Join(liveDir(t), second.Name())
	if err := second.To(ctx, to, nil); !errors.Is(err, ErrChanged) {
		t.Errorf("a writer came meanwhile: %v", err)
	}
	if newest, err := second.Newest(ctx); err != nil || newest {
		t.Error(newest, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := begin(t, l.Path()).To(canceled, to, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if names, err := os.ReadDir(filepath.Dir(to)); err != nil || len(names) != 0 {
		t.Errorf("a copy that failed leaves %v %v", names, err)
	}
}

func TestLiveCopyOfParked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, err := CreateParked(liveDir(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v := task.Event{TaskID: "p", State: task.StateStarted, At: testDay.Start(), Retries: task.RetriesUnknown}
	inv := v.Invocation()
	if err := p.Put(ctx, 1, []*task.Invocation{&inv}); err != nil {
		t.Fatal(err)
	}
	c := begin(t, p.Path())
	if err := p.Delete(ctx, []string{"p"}); err != nil { // changes no cut
		t.Fatal(err)
	}
	if newest, err := c.Newest(ctx); err != nil || newest {
		t.Error(newest, err)
	}
	path := filepath.Join(liveDir(t), c.Name())
	if err := c.To(ctx, path, nil); err != nil {
		t.Fatal(err)
	}
	q, err := OpenParked(path)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if q.Rows() != 1 || !q.Knows(1) {
		t.Errorf("%d rows", q.Rows())
	}
}
