package compact

import (
	"context"
	"time"
)

// While requests are under way a seal works for workSlice at a time and then
// rests until they are answered, at most restShare times as long as it has
// worked: it takes half a minute of a core for three million rows, and nobody
// waits for it. docs/performance.md has what that does to requests.
const (
	workSlice = 2 * time.Millisecond
	restShare = 2
	restStep  = workSlice / 4
	// maxRest bounds a rest after a statement that cannot be interrupted, such
	// as the making of an index.
	maxRest = 50 * time.Millisecond
	// maxRested is how long one seal rests in all: a day of hundreds of millions of
	// rows has to be sealed before the next one is over.
	maxRested = 10 * time.Minute
	// maxWaiting is how many rows of a day that is being sealed may wait in the
	// head: with more of them the seal hurries.
	maxWaiting = 4096
)

// pace holds background work back while requests are under way.
type pace struct {
	busy    func() bool
	resumed time.Time
	rested  time.Duration
}

// rest is called often between pieces of work, and sleeps when it is time to.
func (p *pace) rest(ctx context.Context) {
	now := time.Now()
	worked := now.Sub(p.resumed)
	switch {
	case p.resumed.IsZero():
	case worked < workSlice:
		return
	case p.rested < maxRested && p.busy():
		p.wait(ctx, min(restShare*worked, maxRest))
		began := now
		now = time.Now()
		p.rested += now.Sub(began)
	}
	p.resumed = now
}

// wait sleeps as long as requests are under way.
func (p *pace) wait(ctx context.Context, atMost time.Duration) {
	end := time.NewTimer(atMost)
	defer end.Stop()
	step := time.NewTicker(restStep)
	defer step.Stop()
	for p.busy() {
		select {
		case <-step.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
