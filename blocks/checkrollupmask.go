package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// hide computes the rollups of the sealed rows that an overlay hides. The
// sealed file is the newest generation of the day in days/, beside live/.
func (k *rollupCheck) hide(ctx context.Context, mask *MaskSet) (err error) {
	if mask.Len() == 0 {
		return nil
	}
	s := k.underneath()
	if k.unknown = s == nil; k.unknown {
		return nil
	}
	c, err := openFile(s.path, modeImmutable)
	if err != nil {
		return openError(s.path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	k.masked = map[rollupKey]*rollup.Rollup{}
	ids := map[string]int64{"": 0}
	mask.Each(func(id string) bool {
		w := wantedID{id: id, hash: task.HashID(id)}
		err = s.ids.each(ctx, c, "main", w, columnCount, rowsByID, func(vals []driver.Value) error {
			var v task.Invocation
			if _, _, _, err := decodeRow(vals, k.day, &v); err != nil {
				return err
			}
			name, known := ids[v.TaskName]
			if !known {
				var vals [1]driver.Value
				if _, err := k.c.queryRow(ctx, vals[:], "SELECT id FROM task_name WHERE name = ?", v.TaskName); err != nil {
					return err
				}
				name, _ = vals[0].(int64)
				ids[v.TaskName] = name
			}
			for _, width := range liveWidths {
				of(k.masked).at(rollupKey{width: width, name: rollupName(name), start: width.Start(v.RowTime())}).Add(Counted(&v, k.firstWaits))
			}
			return nil
		})
		return err == nil
	})
	if err != nil {
		k.unknown = true // the sealed file has findings of its own
		return ctx.Err()
	}
	return nil
}

// underneath is the sealed file that a live one lies over; nil if there is
// none, or it has taken the live file in already.
func (k *rollupCheck) underneath() *Sealed {
	dir := filepath.Join(filepath.Dir(k.r.path), "..", "days")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a live file that was copied somewhere
	}
	newest, path := 0, ""
	for _, e := range entries {
		if day, generation, ok := ParseSealedName(e.Name()); ok && day == k.day && generation > newest {
			newest, path = generation, filepath.Join(dir, e.Name())
		}
	}
	if path == "" {
		return nil
	}
	s, err := OpenSealed(path)
	if err != nil {
		return nil // that is reported where it is checked
	}
	if _, absorbed := s.Absorbed()[filepath.Base(k.r.path)]; absorbed {
		return nil
	}
	return s // only its filter would have to be closed
}
