package compact

import (
	"context"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// cutGaps stores the gaps that have ended in the days in which they end, and
// lets the head forget them. They need no cut id: storing one again, or a
// longer statement of it, merges. What a replayed log states again is in its day
// already: an overlay for it would have the whole day sealed again. Days being
// sealed are left for the next time. The caller holds act.
func (c *Compactor) cutGaps(ctx context.Context, h Head, all bool) error {
	byDay := map[task.Day][]task.Gap{}
	var known []task.Gap
	for _, g := range h.EndedGaps(all) {
		switch d := g.Day(); {
		case !c.mayCut(d, nil):
		case c.hasGap(d, g):
			known = append(known, g)
		default:
			byDay[d] = append(byDay[d], g)
		}
	}
	h.GapsStored(known)
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

// hasGap reports whether a file of a day says as much of a gap.
func (c *Compactor) hasGap(d task.Day, g task.Gap) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.days[d]
	return x != nil && (x.live != nil && x.live.HasGap(g) || x.sealed != nil && x.sealed.HasGap(g))
}
