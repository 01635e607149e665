package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"slices"

	"daybook/tsdb/task"
)

// rowCheck reads every row of an open file and what belongs to it.
type rowCheck struct {
	r   *report
	c   *conn
	day task.Day
	// ordered: keys are in task.Key order, as in sealed files. In live ones a
	// displaced row may stand behind others of its run.
	ordered bool
	// known reports whether an id of that hash is found at that key.
	known  func(hash uint64, key int64) (bool, error)
	lookUp []idPlace  // not looked up yet
	words  *wordCheck // nil if there are none
}

// idPlace is where an id must be found.
type idPlace struct {
	hash uint64
	key  int64
}

// lookUpAt is how many ids are looked up together, in the order of their hashes: 16 MiB.
// One by one, in the order of rows, a day of 23 million rows reads its pages of ids a
// hundred times over.
const lookUpAt = 1 << 20

func (k *rowCheck) run(ctx context.Context) error {
	if err := k.dictionaries(ctx); err != nil {
		return err
	}
	if err := k.duplicates(ctx); err != nil {
		return err
	}
	chunks := newChunkReader(sealChunkCache)
	var prevKey int64 = -1
	var prev task.Key
	err := k.c.each(ctx, columnCount+4, func(vals []driver.Value) error {
		var v task.Invocation
		key, detail, residue, err := decodeRow(vals[:columnCount], k.day, &v)
		if err != nil {
			return k.r.add(remedyRestore, "%v", err)
		}
		bad := func(problem string, args ...any) error {
			return k.r.add(remedyRestore, "the row of %q (key %d) "+problem, append([]any{v.TaskID, key}, args...)...)
		}
		for i, name := range []driver.Value{vals[2], vals[9], vals[10], vals[11]} {
			if id := vals[columnCount+i]; id != nil && name == nil {
				if err := bad("names an entry %v that %s does not have", id, dictTables[i]); err != nil {
					return err
				}
			}
		}
		if err := chunks.details(ctx, k.c, "main", detail, &v); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := bad("has no readable details: %v", err); err != nil {
				return err
			}
		}
		state, finished := v.State, v.FinishedAt
		if err := v.Restore(residue); err != nil {
			if err := bad("is damaged: %v", err); err != nil {
				return err
			}
		} else if v.State != state || v.FinishedAt != finished {
			if err := bad("says %s, its transitions say %s", state, v.State); err != nil {
				return err
			}
		}
		if err := task.CheckID(v.TaskID); err != nil {
			if err := bad("has none that can be: %v", err); err != nil {
				return err
			}
		}
		at := task.Key{At: keyTime(k.day, key), Hash: task.HashID(v.TaskID), ID: v.TaskID}
		natural := naturalKey(k.day, at)
		switch {
		case at.At < k.day.Start() || at.At >= k.day.End() || key < natural:
			err = bad("is not in its place")
		case key > natural && key != prevKey+1:
			err = bad("is not behind its natural key %d", natural)
		case k.ordered && prevKey >= 0 && prev.Compare(at) >= 0:
			err = bad("is not in order")
		}
		if err != nil {
			return err
		}
		prevKey, prev = key, at
		if k.words != nil {
			found, err := k.words.has(ctx, &v, at.At, max(detail, 0)/chunkRows)
			if err != nil {
				return err
			}
			if !found {
				if err := bad("has words that the filters do not have"); err != nil {
					return err
				}
			}
		}
		k.lookUp = append(k.lookUp, idPlace{at.Hash, key})
		return k.lookUpIDs(ctx, lookUpAt)
	}, "SELECT "+readColumns+", i.name, i.worker, i.queue, i.exception FROM invocation AS i"+joins("main")+" ORDER BY i.key")
	if err != nil {
		return err
	}
	return k.lookUpIDs(ctx, 1)
}

// lookUpIDs looks up what has gathered, if it is as much as that.
func (k *rowCheck) lookUpIDs(ctx context.Context, least int) error {
	if len(k.lookUp) < least {
		return nil
	}
	slices.SortFunc(k.lookUp, func(a, b idPlace) int { return cmp.Compare(a.hash, b.hash) })
	for _, x := range k.lookUp {
		known, err := k.known(x.hash, x.key)
		if err == nil && !known {
			err = k.unknown(ctx, x.key)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	k.lookUp = k.lookUp[:0]
	return nil
}

// unknown tells of a row that its id does not lead to.
func (k *rowCheck) unknown(ctx context.Context, key int64) error {
	var vals [1]driver.Value
	if _, err := k.c.queryRow(ctx, vals[:], "SELECT task_id FROM invocation WHERE key = ?", key); err != nil {
		return err
	}
	id, err := scanID(vals[0])
	if err != nil {
		return err
	}
	return k.r.add(remedyRestore, "the row of %q (key %d) cannot be found by its id", id, key)
}

// dictionaries checks that ids are what a writer gives out.
func (k *rowCheck) dictionaries(ctx context.Context) error {
	for _, table := range dictTables {
		if _, err := loadNames(ctx, k.c, table); errors.Is(err, errRow) {
			if err := k.r.add(remedyRestore, "the dictionary %s is not of the format", table); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// duplicates looks for ids with more than one row.
func (k *rowCheck) duplicates(ctx context.Context) error {
	return k.c.each(ctx, 2, func(vals []driver.Value) error {
		id, err := scanID(vals[0])
		if err != nil {
			return k.r.add(remedyRestore, "%v", err)
		}
		return k.r.add(remedyRestore, "%q has %v rows", id, vals[1])
	}, "SELECT task_id, count(*) FROM invocation GROUP BY task_id HAVING count(*) > 1")
}

// parked checks a file of parked invocations.
func (r *report) parked(ctx context.Context, deep bool) (err error) {
	c, err := r.written(ctx, kindParked, 0, deep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if _, err := loadCuts(ctx, c, "main"); err != nil || !deep {
		return err
	}
	err = c.each(ctx, 2, func(vals []driver.Value) error {
		return r.add(remedyRestore, "%q is parked %v times", vals[0], vals[1])
	}, "SELECT id, count(*) FROM parked GROUP BY hash, id HAVING count(*) > 1")
	if err != nil {
		return err
	}
	return c.each(ctx, 4, func(vals []driver.Value) error {
		data, _ := vals[3].([]byte)
		v, err := task.DecodeBinary(data)
		if k := v.Key(); err != nil || vals[0] != k.At || vals[1] != flipHash(k.Hash) || vals[2] != k.ID {
			return r.add(remedyRestore, "%s: the invocation parked as %q is damaged", filepath.Base(r.path), vals[2])
		}
		return nil
	}, "SELECT at, hash, id, data FROM parked ORDER BY at, hash, id")
}
