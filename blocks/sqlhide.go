package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"

	"daybook/tsdb/task"
)

// loadMemory notes the ids that memory tells of, and the rows of the range.
func (s *SQL) loadMemory(ctx context.Context) error {
	if err := s.c.script(memoryTable() + "; CREATE TEMP TABLE daybook_day (day TEXT PRIMARY KEY) WITHOUT ROWID"); err != nil {
		return err
	}
	for _, a := range s.arms {
		if err := s.c.exec("INSERT OR IGNORE INTO daybook_day VALUES (?)", a.d.Day.String()); err != nil {
			return err
		}
	}
	if s.o.Memory == nil {
		return nil
	}
	marks := ""
	for i := range sqlColumns {
		if i > 0 {
			marks += ", "
		}
		marks += "?"
	}
	return s.c.transactionOf("BEGIN", func() error {
		for v, err := range s.o.Memory {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			s.hashes[task.HashID(v.TaskID)] = struct{}{}
			s.ids[string(packMask(nil, v.TaskID))] = struct{}{}
			if at := v.RowTime(); at < s.o.From || s.o.To != 0 && at >= s.o.To {
				continue
			}
			row := sqlRow(v)
			args := make([]driver.Value, len(row))
			for i := range row {
				args[i] = row[i]
			}
			if err := s.c.exec("INSERT INTO daybook_memory VALUES ("+marks+")", args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// hide finds the rows of each file that do not stand for their id: because
// memory knows more of it, because the day's overlay does, or because another
// day has taken it over. They are few, so that their keys are looked up once
// and the view leaves them out by key.
func (s *SQL) hide(ctx context.Context) error {
	gone, err := s.v.supersededBy(func(d DayFiles) ([]Moved, error) {
		for _, a := range s.arms {
			if a.live && a.d.Day == d.Day {
				moved, err := loadMoved(ctx, s.c, a.schema)
				if d.Sealed != nil {
					moved = append(moved, d.Sealed.Moved()...)
				}
				return moved, blame(ctx, a.path, err)
			}
		}
		return s.v.movedInto(ctx, d)
	})
	if err != nil {
		return err
	}
	for _, a := range s.arms {
		if err := s.c.script(fmt.Sprintf("CREATE TEMP TABLE hidden_%d (key INTEGER PRIMARY KEY)", a.slot)); err != nil {
			return err
		}
		if a.live {
			err = s.hideLive(ctx, a, gone[a.d.Day])
		} else {
			err = s.hideSealed(ctx, a, gone[a.d.Day])
		}
		if err != nil {
			return blame(ctx, a.path, err)
		}
		var vals [1]driver.Value
		if _, err := s.c.queryRow(ctx, vals[:], fmt.Sprintf("SELECT count(*) FROM hidden_%d", a.slot)); err != nil {
			return err
		}
		n, _ := vals[0].(int64)
		a.hidden = int(n)
	}
	return nil
}

// hideSealed looks ids up in the index. The filter says of most that they are
// not there.
func (s *SQL) hideSealed(ctx context.Context, a *sqlArm, gone map[string]bool) error {
	hidden := fmt.Sprintf("INSERT OR IGNORE INTO hidden_%d (key) VALUES (?)", a.slot)
	probe := func(id string) error {
		w := wantedID{id: id, hash: task.HashID(id)}
		if maybe, known := a.d.Sealed.MayContain(w.hash); known && !maybe {
			return nil
		}
		return a.d.Sealed.ids.each(ctx, s.c, a.schema, w, 1, keysByID, func(vals []driver.Value) error {
			return s.c.exec(hidden, vals[0])
		})
	}
	for packed := range s.ids {
		if err := probe(unpackMask(packed)); err != nil {
			return err
		}
	}
	for id := range gone {
		if err := probe(id); err != nil {
			return err
		}
	}
	for _, over := range s.arms {
		if !over.live || over.d.Day != a.d.Day {
			continue
		}
		for _, table := range []string{"mask", "invocation"} {
			if err := s.c.each(ctx, 1, func(vals []driver.Value) error {
				id, err := scanID(vals[0])
				if err != nil {
					return err
				}
				return probe(id)
			}, "SELECT task_id FROM "+over.schema+"."+table); err != nil {
				return err
			}
		}
	}
	return nil
}

// hideLive goes once through the runs of ids: a live file has no index by id,
// and to follow each id through the runs would take longer.
func (s *SQL) hideLive(ctx context.Context, a *sqlArm, gone map[string]bool) error {
	hashes := s.hashes
	if len(gone) > 0 {
		hashes = map[uint64]struct{}{}
		for h := range s.hashes {
			hashes[h] = struct{}{}
		}
		for id := range gone {
			hashes[task.HashID(id)] = struct{}{}
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	var keys []int64
	err := s.c.each(ctx, 1, func(vals []driver.Value) error {
		data, _ := vals[0].([]byte)
		if !validIDPage(data) {
			return errRow
		}
		for i := range len(data) / entryBytes {
			if e := pageEntry(data, i); contains(hashes, e.of) {
				keys = append(keys, e.key)
			}
		}
		return nil
	}, "SELECT data FROM "+a.schema+".id_page")
	if err != nil {
		return err
	}
	// Entries outlive their rows: the row says whose it is.
	for _, key := range keys {
		var vals [1]driver.Value
		ok, err := s.c.queryRow(ctx, vals[:], "SELECT task_id FROM "+a.schema+".invocation WHERE key = ?", key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		id, err := scanID(vals[0])
		if err != nil {
			return err
		}
		if !s.inMemory(id) && !gone[id] {
			continue
		}
		if err := s.c.exec(fmt.Sprintf("INSERT OR IGNORE INTO hidden_%d VALUES (?)", a.slot), key); err != nil {
			return err
		}
	}
	return nil
}

func contains(set map[uint64]struct{}, h uint64) bool { _, ok := set[h]; return ok }

func (s *SQL) inMemory(id string) bool {
	_, ok := s.ids[string(packMask(nil, id))]
	return ok
}
