package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type sinkFunc func(ctx context.Context, events []task.Event) error

func (f sinkFunc) Append(ctx context.Context, events []task.Event) error { return f(ctx, events) }

type recorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func newTestFeed(t *testing.T, sink Sink) (*Feed, *clock, *[]task.Gap, *recorder) {
	t.Helper()
	u, err := url.Parse("redis://user:s3cret@h:6379/0")
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.UnixMicro(1_000_000_000)}
	gaps, out := &[]task.Gap{}, &recorder{}
	f, err := NewFeed(u, Options{Logger: log.NewLogfmtLogger(out), Sink: sink, Now: c.Now, Gap: func(g task.Gap) { *gaps = append(*gaps, g) }, MinBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f, c, gaps, out
}

func TestGapOfALostBroker(t *testing.T) {
	f, c, gaps, out := newTestFeed(t, sinkFunc(nil))
	f.Connected()
	if len(*gaps) != 0 {
		t.Fatalf("a broker that is there at once is no gap: %v", *gaps)
	}
	c.add(time.Second)
	f.Alive()
	c.add(5 * time.Second)
	f.Lost(errors.New("dial u:s3cret@h: refused"), false)
	st := f.Status()
	if st.Connected || strings.Contains(fmt.Sprint(st, st.Reasons()), "s3cret") || len(st.Reasons()) != 1 {
		t.Fatalf("%+v %q", st, st.Reasons())
	}
	for range 7 {
		c.add(10 * time.Second)
		f.Lost(errors.New("refused"), false)
	}
	f.Connected()
	// It begins with the last sign of life, and is told at once and while it goes on.
	start := int64(1_001_000_000)
	want := []task.Gap{
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: start, To: start + 5_000_000},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: start, To: start + 35_000_000},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: start, To: start + 65_000_000},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: start, To: start + 75_000_000},
	}
	if fmt.Sprint(*gaps) != fmt.Sprint(want) {
		t.Fatalf("gaps\n%v, want\n%v", *gaps, want)
	}
	if st := f.Status(); !st.Connected || st.Connects != 2 || st.FirstAt != 1_000_000_000 || len(st.Reasons()) != 0 {
		t.Fatalf("%+v", st)
	}
	if text := out.text.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "broker lost") {
		t.Fatal(text)
	}
}

func TestGapOfABrokerThatKeeps(t *testing.T) {
	f, c, gaps, _ := newTestFeed(t, sinkFunc(nil))
	f.Lost(errors.New("x"), true)
	c.add(time.Minute)
	f.Connected()
	if len(*gaps) != 0 {
		t.Fatal(*gaps)
	}
	c.add(time.Minute)
	f.Lost(errors.New("x"), true)
	c.add(time.Minute)
	f.Missed()
	f.Connected()
	if len(*gaps) != 1 || (*gaps)[0].To-(*gaps)[0].From != 2*60_000_000 {
		t.Fatal(*gaps)
	}
}

func TestGapAtTheStartAndAtTheEnd(t *testing.T) {
	f, c, gaps, _ := newTestFeed(t, sinkFunc(nil))
	c.add(time.Second)
	f.Lost(errors.New("wrong password"), false)
	c.add(time.Second)
	f.Overflow(3)
	f.Overflow(4)
	c.add(time.Second)
	f.End(CauseOverflow)
	want := []task.Gap{
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: 1_000_000_000, To: 1_001_000_000},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseOverflow, From: 1_002_000_000, To: 1_002_000_001, Count: 3},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseBrokerLost, From: 1_000_000_000, To: 1_003_000_000},
		{Source: "redis://user:xxxxx@h:6379/0", Cause: CauseOverflow, From: 1_002_000_000, To: 1_003_000_000, Count: 7},
	}
	if fmt.Sprint(*gaps) != fmt.Sprint(want) {
		t.Fatalf("gaps\n%v, want\n%v", *gaps, want)
	}
}

func TestSinkIsTriedAgain(t *testing.T) {
	var stored []task.Event
	fail := 3
	var f *Feed
	f, _, _, out := newTestFeed(t, sinkFunc(func(_ context.Context, events []task.Event) error {
		if fail--; fail >= 0 {
			return errors.New("disk full")
		}
		stored = append(stored, events...)
		return nil
	}))
	items, err := new(celery.Decoder).Events([]byte(`[{"type":"task-started","uuid":"a","timestamp":5},{"type":"task-x"},{"type":"task-sent","uuid":"a","timestamp":"x"}]`))
	f.Received(1, 100)
	f.Add(items, err)
	f.Add(nil, &celery.SerializerError{ContentType: "application/x-python-serialize"})
	if err := f.Flush(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	st := f.Status()
	if len(stored) != 1 || stored[0].TaskID != "a" || st.Events != 1 || st.Ignored != 1 || st.Refused != 1 || st.Undecoded != 1 || st.Pending != 0 || st.SinkError != "" || st.LastEventAt != 5_000_000 {
		t.Fatalf("%+v %+v", stored, st)
	}
	// Many errors, few lines: the clock stands still.
	for range 100 {
		f.Add(nil, errors.New("nonsense"))
	}
	if n := strings.Count(out.text.String(), "not decoded"); n != 1 {
		t.Fatalf("%d lines:\n%s", n, out.text.String())
	}
}

func TestStoringOutlivesTheContext(t *testing.T) {
	f, _, _, _ := newTestFeed(t, sinkFunc(func(ctx context.Context, _ []task.Event) error { return ctx.Err() }))
	f.DrainFor = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	storing, stop := f.Storing(ctx)
	cancel()
	items, _ := new(celery.Decoder).Events([]byte(`{"type":"task-started","uuid":"a","timestamp":5}`))
	f.Add(items, nil)
	if err := f.Flush(storing, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	f.Add(items, nil)
	if err := f.Flush(storing, 0); err == nil {
		t.Fatal("stored after the end")
	}
	f.Discard(0)
	f.DrainFor = time.Millisecond
	storing, stop = f.Storing(ctx)
	defer stop()
	select {
	case <-storing.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("draining has no end")
	}
}

func TestOptions(t *testing.T) {
	sink, logger := sinkFunc(nil), log.NewNopLogger()
	for _, o := range []Options{
		{}, {Logger: logger}, {Sink: sink},
		{Logger: logger, Sink: sink, Prefetch: 70_000}, {Logger: logger, Sink: sink, BatchEvents: -1},
		{Logger: logger, Sink: sink, MinBackoff: time.Minute, MaxBackoff: time.Second},
	} {
		if err := o.validate(); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{Min: time.Microsecond, Max: 50 * time.Microsecond}
	for range 10 {
		if !b.Wait(t.Context()) {
			t.Fatal("ended")
		}
	}
	if b.next != b.Max {
		t.Fatal(b.next)
	}
	b = Backoff{Min: time.Hour, Max: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b.Wait(ctx) {
		t.Fatal("waited for an hour")
	}
}

// TestShownBroker wants the broker of this machine, which net/url prints in
// another way, shown as it was given.
func TestShownBroker(t *testing.T) {
	for _, raw := range []string{"redis://", "amqp://", "redis://:s3cret@h/0"} {
		u, err := ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		f, err := NewFeed(u, Options{Logger: log.NewNopLogger(), Sink: sinkFunc(func(context.Context, []task.Event) error { return nil })})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Status().URL; got != Redact(raw) || strings.Contains(got, "unknown") {
			t.Errorf("%s is shown as %s", raw, got)
		}
	}
}
