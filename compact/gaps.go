package compact

import (
	"context"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// cutGaps stores the gaps that have ended in the days in which they end, and
// lets the head forget them. They need no cut id: storing one again, or a
// longer statement of it, merges. Days being sealed are left for the next
// time. The caller holds act.
func (c *Compactor) cutGaps(ctx context.Context, h Head, all bool) error {
	byDay := map[task.Day][]task.Gap{}
	for _, g := range h.EndedGaps(all) {
		if d := g.Day(); c.mayCut(d, nil) {
			byDay[d] = append(byDay[d], g)
		}
	}
	var errs []error
	for d, gaps := range byDay {
		live, err := c.live(d)
		if err == nil {
			err = live.PutGaps(ctx, gaps)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("storing %d gaps of %s: %w", len(gaps), d, err))
			continue
		}
		c.mu.Lock()
		c.days[d].lastCut = c.opts.Now()
		c.mu.Unlock()
		h.GapsStored(gaps)
	}
	return errors.Join(errs...)
}
