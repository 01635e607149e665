package compact

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A seal rests when it has worked for its slice and somebody waits: as long as
// they do, and no longer than twice its work.
func TestPace(t *testing.T) {
	t.Parallel()
	const always = time.Hour
	for _, c := range []struct {
		name             string
		work, busy, rest time.Duration
	}{
		{"busy", 3 * time.Millisecond, always, 6 * time.Millisecond},
		{"idle", 3 * time.Millisecond, 0, 0},
		{"answered soon", 3 * time.Millisecond, 2 * restStep, 2 * restStep},
		{"less than a slice", workSlice - 1, always, 0},
		{"a long statement", time.Minute, always, maxRest},
	} {
		synctest.Test(t, func(t *testing.T) {
			answered := time.Now()
			p := pace{busy: func() bool { return time.Now().Before(answered) }}
			p.rest(t.Context()) // begins
			for range 3 {
				p.resumed = time.Now() // of pieces that are too short for a rest
				<-time.After(c.work)
				answered = time.Now().Add(c.busy)
				began := time.Now()
				p.rest(t.Context())
				if got := time.Since(began); got != c.rest {
					t.Errorf("%s: rested for %s after %s of work, want %s", c.name, got, c.work, c.rest)
				}
			}
		})
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pace{busy: func() bool { return true }}
		p.rest(t.Context())
		<-time.After(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if p.rest(ctx); time.Since(began) != 0 {
			t.Errorf("rested for %s though the context had ended", time.Since(began))
		}
	})
}

// However long requests go on, a seal ends.
func TestPaceRestsForALimitedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pace{busy: func() bool { return true }}
		began, worked := time.Now(), time.Duration(0)
		for p.rest(t.Context()); worked < 6*time.Hour; worked += time.Second {
			<-time.After(time.Second)
			p.rest(t.Context())
		}
		if rested := time.Since(began) - worked; rested < maxRested-maxRest || rested > maxRested+maxRest {
			t.Errorf("rested for %s", rested)
		}
	})
}
