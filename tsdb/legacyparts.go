package tsdb

import (
	"context"
	"errors"

	"daybook/blocks"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// legacyPart is a stretch of a legacy file and what it is counted from.
type legacyPart struct {
	stretch
	width rollup.Width // Hour or Day; Minute are rows
}

// parts divides a range into days and hours that rollups tell and stretches of
// rows. It is asked after the head: an hour that is not shared then has no row
// that the head, or a day read later, knows too.
func (f *legacyFile) parts(r stretch, width rollup.Width) (s *blocks.LegacySums, out []legacyPart) {
	f.sums.mu.Lock()
	defer f.sums.mu.Unlock()
	r.from, r.to = max(r.from, rollup.Hour.Start(f.oldest)), min(r.to, f.newest+1)
	if r.from >= r.to {
		return nil, nil
	}
	s = f.sums.file
	if s == nil || width == rollup.Minute {
		return s, []legacyPart{{r, rollup.Minute}}
	}
	add := func(to int64, w rollup.Width) {
		if n := len(out) - 1; n >= 0 && out[n].width == w {
			out[n].to = to
		} else {
			out = append(out, legacyPart{stretch{r.from, to}, w})
		}
		r.from = to
	}
	// Rows end with the newest one; the hour it is in ends later.
	end := r.to
	if r.to == f.newest+1 {
		end = ceil(r.to, rollup.Hour)
	}
	for r.from < end {
		hour := rollup.Hour.Start(r.from)
		next := hour + rollup.Hour.Micros()
		day := task.DayOf(r.from)
		switch {
		case (width == rollup.Day || width == rollup.Forever) && r.from == day.Start() && day.End() <= end && f.sums.alone(day.Start(), day.End()):
			add(day.End(), rollup.Day)
		case r.from == hour && next <= end && f.sums.alone(hour, next):
			add(next, rollup.Hour)
		default:
			add(min(next, end), rollup.Minute)
		}
	}
	return s, out
}

// alone reports whether no hour of a range is shared.
func (s *legacySums) alone(from, to int64) bool {
	for h := from; h < to; h += rollup.Hour.Micros() {
		if s.shared[h] {
			return false
		}
	}
	return true
}

// legacySums counts what rollups tell of a legacy file; ok false is to be tried
// again, without them.
func (s *summation) legacySums(ctx context.Context, view *blocks.View, f *legacyFile, newer []*legacyFile, sums *blocks.LegacySums, p legacyPart) (ok bool, err error) {
	q := blocks.RollupQuery{From: p.from, To: p.to, Width: p.width, Name: s.name}
	err = sums.Rollups(ctx, s.db.pool, q, func(x blocks.RollupPart) error {
		return s.added.MergeBinary(x.Name, x.At, x.Data)
	})
	if errors.Is(err, blocks.ErrFolded) {
		s.legacyRows(ctx, view, f, newer, p.stretch)
		return true, nil
	}
	if err != nil && ctx.Err() == nil {
		f.sums.drop()
		return false, nil
	}
	return err == nil, err
}
