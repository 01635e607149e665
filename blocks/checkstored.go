package blocks

import (
	"bytes"
	"context"
	"database/sql/driver"
	"maps"
	"slices"

	"daybook/tsdb/rollup"
)

// heldRollupBytes is how many bytes of rollups a check reads at once. In a live file
// they lie by time: of each name alone, a scan of all, those of a million rows of
// 2 000 names were not through after 200 s, and take 40.
const heldRollupBytes = 32 << 20

// rollupsByName are the rollups of a file by name. They are to be asked for in the
// order of the names' ids, more or less.
type rollupsByName struct {
	c     *conn
	most  int64   // bytes that are held
	ids   []int64 // of the names that have any, in order
	sizes map[int64]int64
	held  map[int64][]namedRollup
}

type namedRollup struct {
	key  rollupKey // without gone
	gone bool
	data []byte
}

// loadSizes finds out which names have rollups.
func (s *rollupsByName) loadSizes(ctx context.Context) error {
	s.sizes = map[int64]int64{}
	err := s.c.each(ctx, 2, func(vals []driver.Value) error {
		name, _ := vals[0].(int64)
		s.sizes[name], _ = vals[1].(int64)
		return nil
	}, "SELECT name, sum(64 + length(data)) FROM rollup WHERE name BETWEEN 0 AND ? GROUP BY name", int64(maxRollupNames))
	s.ids = slices.Sorted(maps.Keys(s.sizes))
	return err
}

// of returns those of a name.
func (s *rollupsByName) of(ctx context.Context, name int64, widths [2]rollup.Width) ([]namedRollup, error) {
	if s.sizes[name] == 0 {
		return nil, nil
	}
	if _, ok := s.held[name]; !ok {
		if err := s.load(ctx, name, widths); err != nil {
			return nil, err
		}
	}
	rs := s.held[name]
	delete(s.held, name) // nobody asks again
	return rs, nil
}

// load reads the rollups of a name and of the next ones, as far as they fit.
func (s *rollupsByName) load(ctx context.Context, first int64, widths [2]rollup.Width) error {
	from, _ := slices.BinarySearch(s.ids, first)
	last, size := first, s.sizes[first]
	for _, id := range s.ids[from+1:] {
		if size += s.sizes[id]; size > s.most {
			break
		}
		last = id
	}
	s.held = map[int64][]namedRollup{}
	for _, width := range widths {
		err := s.c.each(ctx, 4, func(vals []driver.Value) error {
			name, _ := vals[0].(int64)
			start, _ := vals[1].(int64)
			data, _ := vals[3].([]byte)
			s.held[name] = append(s.held[name], namedRollup{rollupKey{width: width, name: name, start: start}, vals[2] != int64(0), bytes.Clone(data)})
			return nil
		}, "SELECT name, start, gone, data FROM rollup WHERE width = ? AND name BETWEEN ? AND ?", int64(width), first, last)
		if err != nil {
			return err
		}
	}
	return nil
}
