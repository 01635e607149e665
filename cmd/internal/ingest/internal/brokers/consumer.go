package brokers

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"daybook/cmd/internal/ingest"
	"daybook/tsdb/task"
)

// Consumer is what the packages below ingest make.
type Consumer interface {
	Run(ctx context.Context) error
	Status() ingest.Status
}

// Running is a consumer at work, and what it told.
type Running struct {
	Consumer
	// Stop ends it and waits; the end of the test does, too.
	Stop func()

	mu   sync.Mutex // guards text and gaps
	text bytes.Buffer
	gaps []task.Gap

	told func(task.Gap) // as well; may be nil
}

// Start runs what create makes of options that lack a logger; Gap, if there is one, is
// told as well.
func Start(t testing.TB, o ingest.Options, create func(ingest.Options) (Consumer, error)) *Running {
	t.Helper()
	r := &Running{told: o.Gap}
	o.Logger, o.Gap = log.NewLogfmtLogger(r), r.gap
	c, err := create(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Consumer = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r.Stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(r.Stop)
	return r
}

// Write takes what it logs.
func (r *Running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *Running) gap(g task.Gap) {
	r.mu.Lock()
	r.gaps = append(r.gaps, g)
	r.mu.Unlock()
	if r.told != nil {
		r.told(g)
	}
}

// Log is what it has logged.
func (r *Running) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// Gaps are those it has told, in order.
func (r *Running) Gaps() []task.Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// Connects waits until it is connected, for so many times at least.
func (r *Running) Connects(t testing.TB, times int64) {
	t.Helper()
	Until(t, 20*time.Second, "the consumer connects", func() bool {
		st := r.Status()
		return st.Connected && st.Connects >= times
	})
}
