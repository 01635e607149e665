package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"daybook/blocks"
	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// makeDir makes a data directory without a daemon, to put day files into.
func (r *run) makeDir(name string) (string, error) {
	dir, err := r.subdir(name)
	if err != nil {
		return "", err
	}
	for _, sub := range []string{"live", "days", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return "", fmt.Errorf("making a data directory: %w", err)
		}
	}
	return dir, nil
}

// batch is a cut of the next n rows.
func batch(g *load.Load, cut uint64, n int) blocks.Batch {
	b := blocks.Batch{Cut: cut, Put: make([]blocks.Put, n)}
	for i := range b.Put {
		b.Put[i].Inv = g.Next()
	}
	return b
}

// fill writes a live day of so many rows. Close it.
func (r *run) fill(ctx context.Context, dir string, day task.Day, rows int, ids *[]string) (l *blocks.Live, g *load.Load, err error) {
	if l, err = blocks.CreateLive(filepath.Join(dir, "live"), day, 1); err != nil {
		return nil, nil, err
	}
	g = load.New(r.Seed+uint64(day), day, rows+2*r.cuts()*cutRows)
	for cut, left := uint64(1), rows; left > 0; cut, left = cut+1, left-cutRows {
		r.progress("filling the day %s: %s of %s rows", day, number(float64(l.Rows())), number(float64(rows)))
		b := batch(g, cut, min(left, cutRows))
		for i := 0; i < len(b.Put) && ids != nil; i += 97 {
			*ids = append(*ids, b.Put[i].Inv.TaskID)
		}
		if err := errors.Join(l.Apply(ctx, b), ctx.Err()); err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
	}
	return l, g, nil
}

// seal makes a sealed day of a live one, which stays.
func seal(ctx context.Context, dir string, l *blocks.Live) (path string, info blocks.SealedInfo, err error) {
	tmp, info, err := blocks.BuildSealed(ctx, filepath.Join(dir, "tmp"), blocks.SealInput{Day: l.Day(), Generation: 1, Live: l, By: "bench", At: time.Now()})
	if err != nil {
		return "", info, err
	}
	path, err = blocks.PublishSealed(tmp, filepath.Join(dir, "days"), l.Day(), 1)
	return path, info, err
}

// sealedDay puts a sealed day of so many rows into a data directory.
func (r *run) sealedDay(ctx context.Context, dir string, day task.Day, rows int, ids *[]string) error {
	l, _, err := r.fill(ctx, dir, day, rows, ids)
	if err != nil {
		return err
	}
	r.progress("sealing the day %s", day)
	_, _, err = seal(ctx, dir, l)
	return errors.Join(err, l.Close(), l.Remove())
}

// cut measures cuts into a day that holds Rows.
func (r *run) cut(ctx context.Context) (err error) {
	dir, err := r.makeDir("cut")
	if err != nil {
		return err
	}
	l, g, err := r.fill(ctx, dir, r.firstDay(), r.Rows, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(), l.Remove()) }()
	ours, resolving, err := r.measureCuts(ctx, l, g)
	if err != nil {
		return err
	}
	r.cutWritten = ours.written
	ancestor, plain, err := r.yardSpeeds(ctx)
	if err != nil {
		return err
	}
	const bench = "cut"
	rate := func(cpu float64) float64 { return 1e6 / cpu }
	r.report.more(bench, "cuts of 10 000, by CPU time", "rows/s", rate(ours.cpu)).target(5*rate(ancestor.cpu)).against(rate(ancestor.cpu), theAncestor)
	r.report.more(bench, "cuts of 10 000, by CPU time", "rows/s", rate(ours.cpu)).target(0.45*rate(plain.cpu)).against(rate(plain.cpu), thePlain)
	// The ancestor finds the row that it replaces while it writes; ours was
	// looked up when the invocation came in.
	both := ours.cpu + resolving.cpu
	r.report.more(bench, "the same with looking up its ids before", "rows/s", rate(both)).target(5*rate(ancestor.cpu)).against(rate(ancestor.cpu), theAncestor)
	r.report.less(bench, "  looking up an id that is new", "µs", resolving.cpu)
	r.report.more(bench, "cuts of 10 000, by the clock", "rows/s", ours.rate).against(ancestor.rate, theAncestor)
	r.report.used(bench, "written to the disk", "B/row", ours.written).against(ancestor.written, theAncestor)
	r.report.used(bench, "written to the disk", "B/row", ours.written).against(plain.written, thePlain)
	r.report.less(bench, "the file", "B/row", ours.bytes).against(ancestor.bytes, theAncestor)
	r.report.less(bench, "the file", "B/row", ours.bytes).against(plain.bytes, thePlain)
	return nil
}

// measureCuts cuts into a day, as yardsticks are measured: with nothing left to
// be copied into the file before, nor after. What it takes to look the new ids
// up among those of the day is resolving.
func (r *run) measureCuts(ctx context.Context, l *blocks.Live, g *load.Load) (ours, resolving speed, err error) {
	pool := blocks.NewPool(blocks.PoolOptions{})
	defer pool.Close()
	catalog := blocks.NewCatalog(pool)
	catalog.Edit(func(days map[task.Day]blocks.DayFiles) { days[l.Day()] = blocks.DayFiles{Live: l} })
	if err := l.Checkpoint(ctx); err != nil {
		return ours, resolving, err
	}
	held := l.Rows()
	var write, look meter
	for i := range r.cuts() {
		r.progress("cutting %d rows into a day of %s", cutRows, number(float64(l.Rows())))
		b := batch(g, uint64(r.Rows+i), cutRows)
		if err := look.time(cutRows, func() error { return r.lookUp(ctx, catalog, b) }); err != nil {
			return ours, resolving, err
		}
		if err := write.time(cutRows, func() error { return l.Apply(ctx, b) }); err != nil {
			return ours, resolving, err
		}
	}
	if err := write.time(0, func() error { return l.Checkpoint(ctx) }); err != nil {
		return ours, resolving, err
	}
	return write.speed(l.Bytes(), held), look.speed(0, held), nil
}

// lookUp looks the ids of a cut up, a request's at a time.
func (r *run) lookUp(ctx context.Context, catalog *blocks.Catalog, b blocks.Batch) error {
	view := catalog.View()
	defer view.Release()
	for puts := range slices.Chunk(b.Put, r.Batch) {
		ids := make([]string, len(puts))
		for i, p := range puts {
			ids[i] = p.Inv.TaskID
		}
		found, err := view.Lookup(ctx, ids)
		if err == nil && len(found) > 0 {
			err = errors.New("a new id was found")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// idInCut is what the log's record of a cut takes for each id.
const idInCut = 17

// seal measures the seal of a day of Rows.
func (r *run) seal(ctx context.Context) (err error) {
	dir, err := r.makeDir("seal")
	if err != nil {
		return err
	}
	l, _, err := r.fill(ctx, dir, r.firstDay(), r.Rows, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(), l.Remove()) }()
	ancestor, plain, err := r.yardSpeeds(ctx)
	if err != nil {
		return err
	}
	r.progress("sealing %s rows", number(float64(l.Rows())))
	m := meter{}
	var path string
	if err := m.time(l.Rows(), func() (err error) { path, _, err = seal(ctx, dir, l); return err }); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("measuring the sealed file: %w", err)
	}
	ours := m.speed(info.Size(), 0)
	const bench = "seal"
	r.report.more(bench, "rows sealed, verified and published", "rows/s", ours.rate).against(plain.rate, thePlain)
	r.report.less(bench, "CPU", "µs/row", ours.cpu).target(10).against(plain.cpu, thePlain) // 3 million in 30 s of one core
	r.report.used(bench, "written to the disk", "B/row", ours.written).against(ancestor.written, theAncestor)
	r.report.less(bench, "the sealed file, indexes and filters included", "B/row", ours.bytes).target(140).against(ancestor.bytes, theAncestor)
	r.report.less(bench, "the sealed file, indexes and filters included", "B/row", ours.bytes).target(140).against(plain.bytes, thePlain)
	const perByte = "written per byte stored: "
	theirs := ancestor.written / max(ancestor.bytes, 1)
	if r.cutWritten > 0 {
		log, err := r.logWritten(ctx)
		if err != nil {
			return err
		}
		r.report.used(bench, perByte+"log, cuts of 10 000 (cut) and seal", "×", (log+idInCut+r.cutWritten+ours.written)/ours.bytes).target(6).against(theirs, theAncestor)
	}
	if r.written > 0 {
		r.report.used(bench, perByte+"log and cuts (ingest) and seal", "×", (r.written+ours.written)/ours.bytes).target(6).against(theirs, theAncestor)
	}
	if err := l.Close(); err != nil {
		return err
	}
	return r.sealBeside(ctx, l.Path())
}
