package compact

import (
	"context"
	"sync"
	"time"
)

// turn is a mutex that one can stop waiting for. Who waits longest is next.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// lockIn is Lock until ctx ends.
func (t turn) lockIn(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause waits for the cut that is under way, and keeps the next one, and
// publications, from beginning until resume is called, or for a while: a disk
// that is slow to answer a reader must not fill the head. Of all readers one
// pauses the cutter at a time, so that it waits for one of them at most.
func (c *Compactor) Pause(ctx context.Context, while time.Duration) (resume func(), err error) {
	if err := c.pausing.lockIn(ctx); err != nil {
		return nil, err
	}
	if err := c.act.lockIn(ctx); err != nil {
		c.pausing.Unlock()
		return nil, err
	}
	over := sync.OnceFunc(func() {
		c.act.Unlock()
		c.pausing.Unlock()
	})
	timer := time.AfterFunc(while, over)
	return func() { timer.Stop(); over() }, nil
}

// moves is what readers and cuts agree about rows that are stored already, or
// parked, and go to another place. The zero value is ready.
type moves struct {
	mu      sync.Mutex // no I/O under it
	readers int        // that want all rows to stay where they are
	refused time.Time  // since when cuts have been refused for their sake; zero if none was
	ended   chan struct{}
}

// maxRefused is how long one reader after the other may keep rows in the head.
const maxRefused = time.Minute

// HoldMoves waits for the cut under way, if it moves rows, and makes the next
// ones leave in the head what they would have to move, until release is called:
// who reads meanwhile meets every row, and once. Rows that are in no file yet are
// cut as ever. A cut of everything, one for a log that is full, and one that has been
// refused for maxRefused does not heed readers: it counts a move (see blocks.Catalog.Moves). When ctx ends rows are
// released, too, as a disk may keep the reader for ever.
func (c *Compactor) HoldMoves(ctx context.Context) (release func(), err error) {
	m := &c.moves
	for {
		m.mu.Lock()
		ended := m.ended
		if ended == nil {
			m.readers++
			m.mu.Unlock()
			over := sync.OnceFunc(func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.readers--
			})
			stop := context.AfterFunc(ctx, over)
			return func() { stop(); over() }, nil
		}
		m.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin says that a cut is about to move rows; false that it must not, as
// readers want them to stay.
func (m *moves) begin(regardless bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readers > 0 && !regardless {
		if m.refused.IsZero() {
			m.refused = time.Now()
		}
		if time.Since(m.refused) < maxRefused {
			return false
		}
	}
	m.refused, m.ended = time.Time{}, make(chan struct{})
	return true
}

func (m *moves) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.ended)
	m.ended = nil
}
