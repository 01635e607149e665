package ingest

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the pause between attempts: it doubles from Min to Max, and half
// of it is drawn at random so that many clients do not come back at once.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Reset makes the next pause the first again.
func (b *Backoff) Reset() { b.next = 0 }

// Wait pauses, and reports false as soon as ctx ends.
func (b *Backoff) Wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, b.Min), b.Max)
	t := time.NewTimer(b.next/2 + rand.N(b.next/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sampler lets a log line through at most once in every.
type sampler struct {
	every   time.Duration
	next    time.Time
	skipped int64
}

// allow reports whether to log now, and how often it was not since the last time.
func (s *sampler) allow(now time.Time) (skipped int64, ok bool) {
	if now.Before(s.next) {
		s.skipped++
		return 0, false
	}
	skipped, s.skipped, s.next = s.skipped, 0, now.Add(s.every)
	return skipped, true
}
