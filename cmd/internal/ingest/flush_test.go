package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// events are so many, a microsecond apart.
func addEvents(t *testing.T, f *Feed, n int) {
	t.Helper()
	for i := range n {
		items, err := new(celery.Decoder).Events(fmt.Appendf(nil, `{"type":"task-started","uuid":"id-%d","timestamp":%d}`, i, 900+i))
		f.Received(1, 10)
		f.Add(items, err)
	}
}

// TestFlushSplits: a batch that can never be stored at once is stored in parts,
// in order, each event once.
func TestFlushSplits(t *testing.T) {
	const n, fits = 100, 7
	for name, refusal := range map[string]error{"at once": fmt.Errorf("%w: more than the head", ErrTooLarge), "in the end": errors.New("overloaded")} {
		var got []string
		calls := 0
		f, _, _, _ := newTestFeed(t, sinkFunc(func(_ context.Context, events []task.Event) error {
			if calls++; calls > 1000 {
				panic("no end")
			}
			if len(events) > fits {
				return refusal
			}
			for i := range events {
				got = append(got, events[i].TaskID)
			}
			return nil
		}))
		f.MaxBackoff = time.Millisecond
		addEvents(t, f, n)
		if err := f.Flush(t.Context(), n); err != nil {
			t.Fatal(name, err)
		}
		for i, id := range got {
			if id != fmt.Sprint("id-", i) {
				t.Fatal(name, i, id)
			}
		}
		if st := f.Status(); len(got) != n || st.Events != n || st.Pending != 0 || st.SinkError != "" || len(f.events) != 0 {
			t.Fatalf("%s: %d stored, %+v", name, len(got), st)
		}
	}
	// One that is too large alone is refused, and the others are stored.
	f, _, _, out := newTestFeed(t, sinkFunc(func(_ context.Context, events []task.Event) error {
		for i := range events {
			if events[i].TaskID == "id-3" {
				return ErrTooLarge
			}
		}
		return nil
	}))
	addEvents(t, f, 10)
	if err := f.Flush(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if st := f.Status(); st.Events != 9 || st.Refused != 1 || st.SinkError != "" || !strings.Contains(out.text.String(), "event refused") {
		t.Fatalf("%+v", st)
	}
}

func TestFullByBytes(t *testing.T) {
	f, _, _, _ := newTestFeed(t, sinkFunc(func(context.Context, []task.Event) error { return nil }))
	f.BatchBytes = 5000
	for i := 0; !f.Full(); i++ {
		addEvents(t, f, 1)
		if i > 20 {
			t.Fatal("never full")
		}
	}
	if err := f.Flush(t.Context(), len(f.events)); err != nil || f.Full() {
		t.Fatal(err)
	}
}

// TestUnstored: what could not be stored is told from its oldest event on, but
// not from one of a wrong clock.
func TestUnstored(t *testing.T) {
	f, _, gaps, out := newTestFeed(t, sinkFunc(func(context.Context, []task.Event) error { return errors.New("disk full") }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	addEvents(t, f, 100) // from second 900 on; it is second 1000
	items, _ := new(celery.Decoder).Events([]byte(`{"type":"task-started","uuid":"x","timestamp":5}`))
	f.Add(items, nil)
	f.began = time.Unix(980, 0)
	err := f.Flush(ctx, 100)
	if err == nil {
		t.Fatal("stored")
	}
	f.Unstored(100, err)
	want := task.Gap{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseUnstored, From: 921e6, To: 1000e6, Count: 100}
	if len(*gaps) != 1 || (*gaps)[0] != want || f.Status().Pending != 0 || !strings.Contains(out.text.String(), "messages=100") {
		t.Fatalf("%+v\n%s", *gaps, out.text.String())
	}
}
