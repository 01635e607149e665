package tsdb

import (
	"context"
	"sync/atomic"
	"time"
)

// gate tells when everybody has come out who went in before. Nobody waits at
// it.
type gate struct {
	draining atomic.Bool // by one at a time
	epoch    atomic.Int64
	inside   [2]atomic.Int64
}

// pass goes in; call what it returns to come out.
func (g *gate) pass() func() {
	for {
		e := g.epoch.Load()
		n := &g.inside[e&1]
		n.Add(1)
		if g.epoch.Load() == e {
			return func() { n.Add(-1) }
		}
		n.Add(-1)
	}
}

// drain waits for those who are in.
func (g *gate) drain(ctx context.Context) error {
	if err := waitUntil(ctx, func() bool { return g.draining.CompareAndSwap(false, true) }); err != nil {
		return err
	}
	defer g.draining.Store(false)
	// Those for whom an earlier one has not waited to the end.
	if err := g.leave(ctx, g.epoch.Load()+1); err != nil {
		return err
	}
	return g.leave(ctx, g.epoch.Add(1)-1)
}

// leave waits for those of an epoch that is not the present one.
func (g *gate) leave(ctx context.Context, epoch int64) error {
	n := &g.inside[epoch&1]
	return waitUntil(ctx, func() bool { return n.Load() == 0 })
}

func waitUntil(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
