package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"

	"daybook/tsdb/task"
)

// stale returns the keys of rows that the batch replaces or deletes.
func (w *liveWriter) stale(ctx context.Context, b *Batch, rows []placed) ([]int64, error) {
	type want struct {
		hash uint64
		id   string
	}
	var wants []want
	add := func(hash uint64, id string) {
		if w.l.filter.has(hash) {
			wants = append(wants, want{hash, id})
		}
	}
	for i := range rows {
		if rows[i].replace {
			add(rows[i].at.Hash, rows[i].at.ID)
		}
	}
	for _, id := range b.Delete {
		add(task.HashID(id), id)
	}
	slices.SortFunc(wants, func(a, b want) int { return cmp.Compare(a.hash, b.hash) })
	// Neighbours in hash order share pages of the larger runs.
	page := cachedPages(ctx, w.c, keptPages)
	var keys []int64
	for _, x := range wants {
		err := w.ids.find(page, x.hash, func(key int64) (bool, error) {
			var vals [1]driver.Value
			found, err := w.c.queryRow(ctx, vals[:], "SELECT task_id FROM invocation WHERE key = ?", key)
			if !found || err != nil {
				return false, err
			}
			if id, err := scanID(vals[0]); id != x.id {
				return false, err
			}
			keys = append(keys, key)
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// deleteRows deletes rows by ascending keys, and moves displaced ones behind
// them back, so that every displaced row keeps standing in an unbroken run of
// keys behind its natural one. It returns the id entries of those that moved.
func (w *liveWriter) deleteRows(ctx context.Context, keys []int64) ([]entry, error) {
	for _, key := range keys {
		if err := w.c.exec("DELETE FROM invocation WHERE key = ?", key); err != nil {
			return nil, err
		}
	}
	var moved []entry
	for _, hole := range slices.Backward(keys) {
		for key := hole + 1; ; key++ {
			var vals [1]driver.Value
			found, err := w.c.queryRow(ctx, vals[:], "SELECT task_id FROM invocation WHERE key = ?", key)
			if err != nil {
				return nil, err
			}
			if !found {
				break
			}
			id, err := scanID(vals[0])
			if err != nil {
				return nil, err
			}
			hash := task.HashID(id)
			if naturalKey(w.l.day, task.Key{At: keyTime(w.l.day, key), Hash: hash}) > hole {
				continue
			}
			if err := w.c.exec("UPDATE invocation SET key = ? WHERE key = ?", hole, key); err != nil {
				return nil, err
			}
			moved = append(moved, entry{hash, hole})
			hole = key
		}
	}
	return moved, nil
}
