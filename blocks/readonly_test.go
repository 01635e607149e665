package blocks

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

func TestReadOnlyBesideTheWriter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := createLive(t, liveDir(t), 1)
	g := newLoad(9, testDay, 10_000)
	first, second := g.batch(1, 300), g.batch(2, 300)
	if err := l.Apply(ctx, first); err != nil {
		t.Fatal(err)
	}
	r, err := OpenLiveReadOnly(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(ctx, second); err != nil {
		t.Fatal(err)
	}
	if r.Rows() != 300 || !r.Knows(1) {
		t.Errorf("%d rows", r.Rows())
	}
	for _, p := range append(first.Put, second.Put...) {
		if got, ok, err := r.Find(ctx, p.Inv.TaskID); !ok || err != nil || !sameRow(got, *p.Inv) {
			t.Fatalf("%v %v %+v", ok, err, got)
		}
	}
	if err := r.Apply(ctx, g.batch(3, 1)); !errors.Is(err, ErrFileReadOnly) {
		t.Errorf("Apply: %v", err)
	}
	if err := r.Checkpoint(ctx); !errors.Is(err, ErrFileReadOnly) {
		t.Errorf("Checkpoint: %v", err)
	}
	closeAll(t, r, l)
	if _, _, err := r.Find(ctx, "x"); !errors.Is(err, ErrFileClosed) {
		t.Errorf("Find after Close: %v", err)
	}
}

// TestReadOnlyChangesNothing opens what a daemon left: files without a WAL, and
// those of one that was killed.
func TestReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	p, err := CreateParked(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := newLoad(9, testDay, 10_000).batch(1, 300)
	if err := l.Apply(ctx, b); err != nil {
		t.Fatal(err)
	}
	open := task.Event{TaskID: "open", At: 5_000_000, State: task.StateReceived}
	v := open.Invocation()
	if err := p.Put(ctx, 2, []*task.Invocation{&v}); err != nil {
		t.Fatal(err)
	}
	killed := crashed(t, dir)
	closeAll(t, l, p)
	for what, dir := range map[string]string{"closed": dir, "killed": killed} {
		before := dirState(t, dir)
		r, err := OpenLiveReadOnly(filepath.Join(dir, l.Name()))
		if err != nil {
			t.Fatal(what, err)
		}
		if got, ok, err := r.Find(ctx, b.Put[7].Inv.TaskID); !ok || err != nil || !sameRow(got, *b.Put[7].Inv) {
			t.Errorf("%s: %v %v", what, ok, err)
		}
		q, err := OpenParkedReadOnly(filepath.Join(dir, p.Name()))
		if err != nil {
			t.Fatal(what, err)
		}
		if got, err := q.Find(ctx, []string{"open"}); err != nil || !sameRow(got["open"], v) || q.Rows() != 1 || q.LastCut() != 2 {
			t.Errorf("%s: %+v %v", what, got, err)
		}
		if err := q.Delete(ctx, []string{"open"}); !errors.Is(err, ErrFileReadOnly) {
			t.Errorf("%s: Delete: %v", what, err)
		}
		closeAll(t, r, q)
		// The index of a WAL (-shm) holds the readers' locks and is no data.
		if after := dirState(t, dir); withoutShm(after) != withoutShm(before) {
			t.Errorf("%s: was\n%sis\n%s", what, before, after)
		}
		if r, err = OpenLiveReadOnly(filepath.Join(dir, l.Name())); err != nil || r.Rows() != 300 {
			t.Errorf("%s: again: %v", what, err)
		}
		closeAll(t, r)
	}
}

func withoutShm(state string) string {
	var b strings.Builder
	for line := range strings.Lines(state) {
		if !strings.Contains(line, "-shm ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
