package tsdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// Dump calls fn for every invocation of days (YYYY-MM-DD) or files (a path), in the
// order of their days and ascending within each, each id once: what a target holds is
// left out of those behind it. Files of the same day come one after the other, as they
// are given, and legacy files last. What is not cut yet belongs to the day of its row time.
func (db *DB) Dump(ctx context.Context, targets []string, q Query, fn func(*task.Invocation) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	return dumpAll(ctx, db, targets, q, fn)
}

// DumpFiles is Dump of files, which needs no data directory.
func DumpFiles(ctx context.Context, paths []string, q Query, fn func(*task.Invocation) error) error {
	return dumpAll(ctx, nil, paths, q, fn)
}

func dumpAll(ctx context.Context, db *DB, targets []string, q Query, fn func(*task.Invocation) error) (err error) {
	q.Oldest = true
	d := dumper{db: db, q: q, pool: blocks.NewPool(blocks.PoolOptions{Conns: 2}), fn: func(v *task.Invocation) (bool, error) { return true, fn(v) }}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, target := range inOrderOfDays(targets) {
		day, notDay := task.ParseDay(target)
		if notDay != nil || db == nil {
			err = d.file(ctx, target)
		} else {
			err = d.day(ctx, day)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrderOfDays sorts targets by their days. What has none that is known comes last.
func inOrderOfDays(targets []string) []string {
	days := map[string]task.Day{}
	for _, target := range targets {
		d, err := task.ParseDay(target)
		if err != nil {
			d = dayOfFile(target)
		}
		days[target] = d
	}
	targets = slices.Clone(targets)
	slices.SortStableFunc(targets, func(a, b string) int { return cmp.Compare(days[a], days[b]) })
	return targets
}

// dayOfFile is the day of a file, wherever it is, by its name, which it must have;
// math.MaxInt32 for others.
func dayOfFile(path string) task.Day {
	if d, _, ok := blocks.ParseSealedName(filepath.Base(path)); ok {
		return d
	}
	if d, _, ok := blocks.ParseLiveName(filepath.Base(path)); ok {
		return d
	}
	return math.MaxInt32
}

// dumper goes through the targets of a dump. It remembers no ids: it looks them
// up in the targets that it is through with.
type dumper struct {
	db    *DB // nil if there are only files
	q     Query
	pool  *blocks.Pool
	fn    func(*task.Invocation) (bool, error)
	days  []task.Day // done
	files []dumped   // done, and the one that is being read
}

// dumped is an open file.
type dumped struct {
	has   func(ctx context.Context, id string) (bool, error)
	close func() error
}

func (d *dumper) close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.close())
	}
	d.pool.Close()
	return errors.Join(errs...)
}

func (d *dumper) day(ctx context.Context, day task.Day) error {
	if !d.db.hasDay(ctx, day) {
		return fmt.Errorf("there is no day %s here: daybook ls shows the days", day)
	}
	q := d.q
	q.From, q.To = max(q.From, day.Start()), day.End()
	unreadable, err := d.db.walk(ctx, q, 0, func(v *task.Invocation) (bool, error) {
		known, err := inFiles(ctx, d.files, v.TaskID)
		if known || err != nil {
			return err == nil, err
		}
		return d.fn(v)
	})
	if err == nil && len(unreadable) > 0 {
		err = fmt.Errorf("%s could not be read: daybook verify says more", strings.Join(unreadable, ", "))
	}
	d.days = append(d.days, day)
	return err
}

// file dumps one day or legacy file, wherever it is.
func (d *dumper) file(ctx context.Context, path string) error {
	if err := oneFile(path); err != nil {
		return err
	}
	before := d.files
	var failed error
	sel := blocks.Select{Filter: &d.q.Filter, Oldest: true, Details: d.q.Details}
	if len(before)+len(d.days) > 0 {
		sel.Skip = func(id string, _ uint64) bool {
			known, err := d.known(ctx, before, id)
			failed = errors.Join(failed, err)
			return known
		}
	}
	fn := func(v *task.Invocation) (bool, error) {
		if failed != nil {
			return false, failed
		}
		return d.fn(v)
	}
	if !blocks.IsOurs(path) {
		l, err := blocks.OpenLegacy(path)
		var le *blocks.LegacyError
		if errors.Is(err, blocks.ErrForeign) && errors.As(err, &le) { // nobody said that it is a legacy file
			return fmt.Errorf("%s is neither a file of Daybook nor a database of Phlower's: %s", path, le.Reason)
		}
		if err != nil {
			return err
		}
		d.files = append(d.files, dumped{close: l.Close, has: l.Knows})
		return errors.Join(l.Select(ctx, sel, fn), failed)
	}
	files, closeFile, err := openDayFile(path)
	if err != nil {
		return err
	}
	catalog := blocks.NewCatalog(d.pool)
	catalog.Edit(func(days map[task.Day]blocks.DayFiles) { days[files.Day] = files })
	view := catalog.View()
	whole := func(err error) error {
		if un := view.Unreadable(); err == nil && len(un) > 0 {
			err = fmt.Errorf("%s could not be read: daybook verify %s says more", path, path)
		}
		return err
	}
	d.files = append(d.files, dumped{close: func() error { view.Release(); return closeFile() }, has: func(ctx context.Context, id string) (bool, error) {
		rows, err := view.Lookup(ctx, []string{id})
		return len(rows) > 0, whole(err)
	}})
	return errors.Join(whole(view.Select(ctx, sel, fn)), failed)
}

// openDayFile opens a sealed file or a live one: of what lies over a sealed day
// the rows that are in the file itself.
func openDayFile(path string) (files blocks.DayFiles, closeFile func() error, err error) {
	if blocks.IsLive(path) {
		l, err := blocks.OpenLiveReadOnly(path)
		if err != nil {
			return files, nil, err
		}
		return blocks.DayFiles{Day: l.Day(), Live: l}, l.Close, nil
	}
	s, err := blocks.OpenSealed(path)
	if err != nil {
		return files, nil, err
	}
	return blocks.DayFiles{Day: s.Day(), Sealed: s}, s.Close, nil
}

// known reports whether an id is in a day that is done, or in one of files.
func (d *dumper) known(ctx context.Context, files []dumped, id string) (bool, error) {
	if len(d.days) > 0 {
		v, err := d.db.Get(ctx, id)
		if err == nil && slices.Contains(d.days, v.Day()) {
			return true, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	return inFiles(ctx, files, id)
}

func inFiles(ctx context.Context, files []dumped, id string) (bool, error) {
	for _, f := range files {
		if has, err := f.has(ctx, id); has || err != nil {
			return has, err
		}
	}
	return false, nil
}
