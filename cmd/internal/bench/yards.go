package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"daybook/blocks/yardstick"
	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// cutRows is the size of the cuts that are measured.
const cutRows = 10_000

// cuts is how many are measured: with two rounds of merged runs among them, as
// in the long run, if there are rows enough to make it worth the time.
func (r *run) cuts() int { return min(max(r.Rows/cutRows, 4), 32) }

// The names that yardsticks have in the table.
const (
	theAncestor = "ancestor's layout"
	thePlain    = "plain append"
	theFsync    = "write + fsync"
	theIdle     = "without ingest"
)

// speed is how fast rows are written into something that holds some already.
type speed struct {
	rate    float64 // rows a second by the clock
	cpu     float64 // µs a row
	written float64 // bytes to the disk, a row
	bytes   float64 // of the file, a row
}

// yards are the yardsticks of a run, each measured when it is first needed.
type yards struct {
	ancestor      *yardstick.Table
	ancestorSpeed speed
	ancestorIDs   []string // of some of its rows
	plainSpeed    *speed
	fsyncs        map[int][]time.Duration
}

func (y *yards) close() error {
	if y.ancestor == nil {
		return nil
	}
	return y.ancestor.Close()
}

const ancestorDir = "ancestor"

// firstDay is the first of the days that are generated: the last one is three
// days ago, so that none is being written. Daemons keep days for ever here.
func (r *run) firstDay() task.Day {
	return task.DayOf(time.Now().UnixMicro()) - task.Day(r.Days) - 2
}

// ancestorTable has Rows rows over Days days, and the speed of cuts into them.
func (r *run) ancestorTable(ctx context.Context) (*yardstick.Table, speed, error) {
	y := &r.yard
	if y.ancestor != nil {
		return y.ancestor, y.ancestorSpeed, nil
	}
	dir, err := r.subdir(ancestorDir)
	if err != nil {
		return nil, speed{}, err
	}
	if y.ancestor, err = yardstick.Ancestor(filepath.Join(dir, "ancestor.db")); err != nil {
		return nil, speed{}, err
	}
	for i := range r.Days {
		rows := r.Rows / r.Days
		g := load.New(r.Seed+uint64(i), r.firstDay()+task.Day(i), rows)
		for n := rows; n > 0; n -= 100_000 {
			r.progress("yardstick: filling the ancestor's layout with %d rows: day %d of %d", r.Rows, i+1, r.Days)
			invs := take(g, min(n, 100_000))
			for j := 0; j < len(invs); j += 97 {
				y.ancestorIDs = append(y.ancestorIDs, invs[j].TaskID)
			}
			if err := errors.Join(y.ancestor.Write(invs), ctx.Err()); err != nil {
				return nil, speed{}, err
			}
		}
	}
	g := load.New(r.Seed+1000, r.firstDay()+task.Day(r.Days), (r.cuts()+1)*cutRows)
	y.ancestorSpeed, err = r.measureTable(ctx, y.ancestor, g, int64(r.Rows/r.Days*r.Days))
	return y.ancestor, y.ancestorSpeed, err
}

// plain is the speed of the plainest append.
func (r *run) plain(ctx context.Context) (speed, error) {
	if r.yard.plainSpeed != nil {
		return *r.yard.plainSpeed, nil
	}
	r.progress("yardstick: the plainest append")
	dir, err := r.subdir("plain")
	if err != nil {
		return speed{}, err
	}
	t, err := yardstick.Plain(filepath.Join(dir, "plain.db"))
	if err != nil {
		return speed{}, err
	}
	g := load.New(r.Seed, r.firstDay(), (r.cuts()+2)*cutRows)
	if err := t.Write(take(g, cutRows)); err != nil {
		return speed{}, errors.Join(err, t.Close())
	}
	s, err := r.measureTable(ctx, t, g, cutRows)
	r.yard.plainSpeed = &s
	return s, errors.Join(err, t.Close())
}

// yardSpeeds are the speeds of both tables that rows are written to.
func (r *run) yardSpeeds(ctx context.Context) (ancestor, plain speed, err error) {
	if _, ancestor, err = r.ancestorTable(ctx); err == nil {
		plain, err = r.plain(ctx)
	}
	return ancestor, plain, err
}

// measureTable times cuts into a table that holds some rows.
func (r *run) measureTable(ctx context.Context, t *yardstick.Table, g *load.Load, held int64) (speed, error) {
	if err := t.Checkpoint(); err != nil { // what came before is not theirs
		return speed{}, err
	}
	m := meter{}
	for range r.cuts() {
		invs := take(g, cutRows)
		if err := errors.Join(m.time(cutRows, func() error { return t.Write(invs) }), ctx.Err()); err != nil {
			return speed{}, err
		}
	}
	if err := m.time(0, t.Checkpoint); err != nil {
		return speed{}, err
	}
	return m.speed(t.Bytes(), held), nil
}

func take(g *load.Load, n int) []*task.Invocation {
	invs := make([]*task.Invocation, n)
	for i := range invs {
		invs[i] = g.Next()
	}
	return invs
}

// meter adds up what writing rows takes.
type meter struct {
	rows      int64
	took, cpu time.Duration
	written   int64
}

func (m *meter) time(rows int64, fn func() error) error {
	runtime.GC() // what generating the rows has left is not theirs
	before, cpu, began := usageOf(0), cpuTime(), time.Now()
	err := fn()
	m.took += time.Since(began)
	m.cpu += cpuTime() - cpu
	m.written += usageOf(0).written - before.written
	m.rows += rows
	return err
}

// speed is that of the rows written; the file had some before.
func (m *meter) speed(fileBytes, before int64) speed {
	n := float64(m.rows)
	return speed{rate: n / m.took.Seconds(), cpu: m.cpu.Seconds() * 1e6 / n, written: float64(m.written) / n,
		bytes: float64(fileBytes) / float64(before+m.rows)}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fsyncs is how long it takes to append lines to a file and fsync it.
func (r *run) fsyncs(ctx context.Context, lines int) (took []time.Duration, err error) {
	if took := r.yard.fsyncs[lines]; took != nil {
		return took, nil
	}
	r.progress("yardstick: write and fsync")
	f, err := os.CreateTemp(r.dir, "fsync-")
	if err != nil {
		return nil, fmt.Errorf("making a file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	body := r.lines().Append(nil, lines, time.Now().UnixMicro())
	for range 300 {
		began := time.Now()
		_, writeErr := f.Write(body)
		if err := errors.Join(writeErr, f.Sync(), ctx.Err()); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if r.yard.fsyncs == nil {
		r.yard.fsyncs = map[int][]time.Duration{}
	}
	r.yard.fsyncs[lines] = took
	return took, nil
}

func sum(ds []time.Duration) (s time.Duration) {
	for _, d := range ds {
		s += d
	}
	return s
}
