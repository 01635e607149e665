package tsdb

import (
	"context"
	"testing"
	"time"
)

// Whoever waits for a gate waits for all that are in, also those whom another one
// did not wait for to the end.
func TestGate(t *testing.T) {
	t.Parallel()
	var g gate
	first := g.pass()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.drain(ctx); err == nil {
		t.Fatal("it has not waited")
	}
	second := g.pass()
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- g.drain(context.Background()) }()
	}
	third := g.pass()
	second()
	third()
	select {
	case <-done:
		t.Fatal("it has not waited for the first")
	case <-time.After(50 * time.Millisecond): // a wrong one is found sooner or later
	}
	first()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
