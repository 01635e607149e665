package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
)

// nameCheck looks at how the rows of a name are found.
type nameCheck struct {
	r      *report
	c      *conn
	remedy string
	runs   bool // there are runs, and not an index
	bad    bool // they are damaged: to read by them tells nothing new
}

// checkNames reads the runs of names of an open file: pages that are missing,
// damaged or out of order. That every row is found by its name is seen when
// the rollups are computed, name by name.
func (r *report) checkNames(ctx context.Context, c *conn, live bool) (*nameCheck, error) {
	k := &nameCheck{r: r, c: c, remedy: remedyRestore}
	if live {
		k.remedy = "nothing; the runs are written again when the day is sealed, until then queries by task leave the file out"
	}
	version, err := pragmaInt(c, "user_version")
	if err != nil {
		return k, err
	}
	if k.runs, err = hasTable(ctx, c, "main", "name_run"); err != nil {
		return k, err
	}
	if k.runs != (version >= 3) {
		return k, k.add("it is of version %d, and finds the rows of a task as another one", version)
	}
	if !k.runs {
		return k, nil
	}
	err = k.pages(ctx)
	if errors.Is(err, errNamePage) || errors.Is(err, errNameRun) {
		err = k.add("%v", err)
	}
	return k, err
}

func (k *nameCheck) add(problem string, args ...any) error {
	k.bad = true
	return k.r.add(k.remedy, problem, args...)
}

func (k *nameCheck) pages(ctx context.Context) error {
	runs, err := loadNameRuns(ctx, k.c, "main", 0, dayTicks)
	if err != nil {
		return err
	}
	pages := int64(0)
	for _, run := range runs {
		pages += run.pages
		low, high := int64(dayTicks), int64(0)
		if err := mergeNames(ctx, k.c, []nameRun{run}, func(e nameEntry) error {
			low, high = min(low, e.tick()), max(high, e.tick()+1)
			return nil
		}); err != nil {
			return err
		}
		if low < run.low || high > run.high {
			if err := k.add("run %d of the names has times from %d to %d, and says %d to %d", run.run, low, high, run.low, run.high); err != nil {
				return err
			}
		}
	}
	var vals [2]driver.Value
	if _, err := k.c.queryRow(ctx, vals[:], "SELECT (SELECT count(*) FROM name_page), (SELECT count(*) FROM (SELECT 1 FROM invocation LIMIT 1))"); err != nil {
		return err
	}
	if vals[0] != pages || vals[1] != int64(0) && len(runs) == 0 {
		return k.add("it has %v pages of names; its %d runs have %d", vals[0], len(runs), pages)
	}
	return nil
}

// byName calls fn with readColumns and the name id of every row, name by name.
func (k *rollupCheck) byName(ctx context.Context, fn func([]driver.Value) error) error {
	if !k.names.runs {
		return k.c.each(ctx, columnCount+1, fn, "SELECT "+readColumns+", i.name FROM invocation AS i INDEXED BY invocation_name"+joins("main")+" ORDER BY i.name")
	}
	var vals [2]driver.Value
	if _, err := k.c.queryRow(ctx, vals[:], "SELECT ifnull(max(id), 0), (SELECT count(*) FROM invocation) FROM task_name"); err != nil {
		return err
	}
	names, _ := vals[0].(int64)
	rows := int64(0)
	row := make([]driver.Value, columnCount+1)
	for name := range names + 1 {
		f := &fileRows{c: k.c, day: k.day, schema: "main", oldest: true}
		a := armOf(name)
		named, err := f.openName(ctx, &a, conds{}, span{0, dayMicros << slotBits}, "", 0)
		for err == nil {
			var ok bool
			if ok, err = named.next(ctx, row); !ok || err != nil {
				break
			}
			rows++
			row[columnCount] = name
			err = fn(row)
		}
		if err = errors.Join(err, named.close()); err != nil {
			return err
		}
	}
	if vals[1] != rows {
		return k.names.add("of %v rows, %d are found by their name", vals[1], rows)
	}
	return nil
}
