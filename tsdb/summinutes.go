package tsdb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// minuteSums are the rollups of an hour's minutes, encoded: of 120 tasks with
// 400 000 rows that takes 4 MiB, and as a rollup.Set five times as much, which
// is more than may be remembered of one hour.
type minuteSums struct {
	parts []minutePart // by minute; of one minute and task there may be several
	names []string
	index map[string]uint32
	data  []byte
	text  int // bytes of names
}

// minutePart is where the rollup of a task and minute ends in data; it begins
// where the one before ends.
type minutePart struct {
	at   int64
	name uint32
	end  uint32
}

// Bytes is the memory that the sums hold.
func (m *minuteSums) Bytes() int64 {
	return int64(cap(m.data) + 16*cap(m.parts) + 64*len(m.names) + m.text)
}

// take appends what a set has, and empties it.
func (m *minuteSums) take(set *rollup.Set) {
	for k, r := range set.All() {
		i, ok := m.index[k.Name]
		if !ok {
			i = uint32(len(m.names))
			m.names = append(m.names, k.Name)
			m.index[k.Name] = i
			m.text += len(k.Name)
		}
		m.data = r.AppendBinary(m.data)
		m.parts = append(m.parts, minutePart{k.Bucket, i, uint32(len(m.data))})
	}
	set.Reset()
}

// addTo adds the minutes of a stretch to a set, of one task or of all.
func (m *minuteSums) addTo(set *rollup.Set, r stretch, name string) error {
	only, known := m.index[name]
	if name != "" && !known {
		return nil
	}
	from := uint32(0)
	for _, p := range m.parts {
		if r.has(p.at) && (name == "" || p.name == only) {
			if err := set.MergeBinary(m.names[p.name], p.at, m.data[from:p.end]); err != nil {
				return err
			}
		}
		from = p.end
	}
	return nil
}

// fine counts a stretch in which hours do not go. Minutes of a sealed day are
// remembered by a daemon only: among copies some rows of a file are not shown.
func (s *summation) fine(ctx context.Context, view *blocks.View, r stretch) (ok bool, err error) {
	at := r.from
	rolled := func(minutes stretch) {
		s.rolled = append(s.rolled, minutes)
		if at < minutes.from {
			s.rows = append(s.rows, stretch{at, minutes.from})
		}
		at = minutes.to
	}
	for _, d := range slices.Backward(view.Days()) {
		minutes := stretch{ceil(max(at, d.Day.Start()), rollup.Minute), rollup.Minute.Start(min(r.to, d.Day.End()))}
		if minutes.from >= minutes.to {
			continue
		}
		if d.Sealed == nil {
			if ok, err := s.read(ctx, view, blocks.RollupQuery{From: minutes.from, To: minutes.to, Width: rollup.Minute, Name: s.name}); !ok || err != nil {
				return false, err
			}
			rolled(minutes)
			continue
		}
		// Two hours at most, the same of yesterday: a series by minute over days
		// would drive out all else that is remembered. Of one task an overlay may
		// have none of its own rollups.
		middle := min(ceil(minutes.from+1, rollup.Hour), minutes.to)
		if s.db.readOnly || minutes.to > middle+rollup.Hour.Micros() || d.Live != nil && s.name != "" {
			continue
		}
		for _, part := range []stretch{{minutes.from, middle}, {middle, minutes.to}} {
			if part.from == part.to {
				continue
			}
			used, err := s.sealedMinutes(ctx, view, d, part)
			if err != nil {
				return false, err
			}
			if used && d.Live != nil {
				// What lies over it has minutes: of its own rows, and of those it hides.
				if ok, err := s.read(ctx, view, blocks.RollupQuery{From: part.from, To: part.to, Width: rollup.Minute}); !ok || err != nil {
					return false, err
				}
			}
			if used {
				rolled(part)
			}
		}
	}
	if at < r.to {
		s.rows = append(s.rows, stretch{at, r.to})
	}
	return true, nil
}

// sealedMinutes counts whole minutes within one hour of a sealed file, which
// stores none: from the rows of the hour, which are remembered by minute, as
// the next question will begin a minute later, whatever lies over the file by then.
// Of an hour with more rows than the time is enough for, the next question reads
// on. A question about one task reads that task's rows, unless the hour is remembered
// already. used is false if it does, or if the hour has too many names.
func (s *summation) sealedMinutes(ctx context.Context, view *blocks.View, d blocks.DayFiles, r stretch) (used bool, err error) {
	if view.LeavesSealed(d) {
		return true, nil
	}
	hour := rollup.Hour.Start(r.from)
	key := fmt.Sprint(d.Sealed.Path(), "\n", hour)
	known := s.db.sums.get(key)
	m, ok := known.(*minuteSums)
	if !ok {
		if _, many := known.(tooMany); many {
			return false, nil
		}
		if s.name != "" {
			return false, nil
		}
		if s.limits != largeSum { // it takes long, and others will want to find it remembered
			return false, errLarge
		}
		m = &minuteSums{index: map[string]uint32{}}
		before, upTo := s.db.sums.resume(key)
		if before != nil {
			m = before.(*minuteSums)
		}
		if used, err := s.readMinutes(ctx, view, d, hour, m, upTo, key); !used || err != nil {
			return false, err
		}
	}
	return true, m.addTo(s.added, r, s.name)
}

// readMinutes counts what comes behind a row of an hour of a sealed day, minute
// by minute. What an ending context leaves is remembered, too.
func (s *summation) readMinutes(ctx context.Context, view *blocks.View, d blocks.DayFiles, hour int64, m *minuteSums, upTo *task.Key, key string) (used bool, err error) {
	minute := rollup.NewSet(rollup.Minute, s.partLimits())
	batch := minute.Batch()
	at := int64(0) // whose rows are in the batch
	flush := func() (fits bool) {
		batch.Flush()
		fits = minute.Folded() == 0 && minute.Rest().Empty() && m.Bytes() <= maxSumBytes/2
		m.take(minute)
		return fits
	}
	fits := true
	f := task.Filter{From: hour, To: hour + rollup.Hour.Micros()}
	err = view.Select(ctx, blocks.Select{Filter: &f, Oldest: true, After: upTo, Sealed: true}, func(v *task.Invocation) (bool, error) {
		if now := rollup.Minute.Start(v.RowTime()); now != at {
			if fits = flush(); !fits {
				return false, nil
			}
			at = now
		}
		batch.Add(blocks.Counted(v, d.FirstWaitRule()))
		last := v.Key()
		upTo = &last
		return true, nil
	})
	fits = fits && flush()
	switch {
	case !fits:
		s.keep(view, key, tooMany{}, nil)
		return false, err
	case err == nil:
		s.keep(view, key, m, nil)
	case upTo != nil && ctx.Err() != nil:
		upTo.ID = strings.Clone(upTo.ID) // not the whole row
		s.keep(view, key, m, upTo)
	}
	return err == nil, err
}
