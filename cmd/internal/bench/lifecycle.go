package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"daybook/tsdb/task"
)

// retention measures what ingest notices of days being deleted, and how long
// deleting takes.
func (r *run) retention(ctx context.Context) (err error) {
	t, _, err := r.ancestorTable(ctx)
	if err != nil {
		return err
	}
	dir, err := r.makeDir("retention")
	if err != nil {
		return err
	}
	days := r.deletions()
	first := task.DayOf(time.Now().UnixMicro()) - task.Day(days) - 2
	for i := range days {
		if err := r.sealedDay(ctx, dir, first+task.Day(i), r.Rows, nil); err != nil {
			return err
		}
	}
	r.progress("yardstick: DELETE of a day's rows")
	end := (r.firstDay() + task.Day(r.Days)).Start() // the rows of all its days
	began := time.Now()
	if err := errors.Join(t.DeleteBefore(ctx, end), t.Checkpoint()); err != nil {
		return err
	}
	deleted := time.Since(began)
	// What comes in soon exceeds this, and the oldest day goes; the next one
	// when what has come in since exceeds what that freed.
	limit := size(dir) + 32<<20
	// Not by the maximum rate: a day that went as soon as sending at half of it began
	// had nothing undisturbed before it.
	if err := r.maximumAlone(ctx); err != nil {
		return err
	}
	d, err := r.start(ctx, dir, fmt.Sprintf("--retention.size=%d", limit))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	return r.retentionBeside(ctx, d, deleted)
}

// deletions is how many days are made to be deleted: a daemon looks once a
// minute, and more of them are worth their time only where days are large.
func (r *run) deletions() int { return min(3, 1+r.Rows/1_000_000) }

// heldUp is how long after a deletion acknowledgements count as held up by it.
const heldUp = time.Second

// retentionBeside compares what was acknowledged while days were deleted with
// equally long stretches before each: of so few a p99 is nearly the longest.
func (r *run) retentionBeside(ctx context.Context, d *daemon, deleted time.Duration) error {
	r.progress("retention: ingest at half the rate until %d days are deleted", r.deletions())
	half := sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2, length: 10 * time.Minute}
	out, ws, err := r.sendUntil(ctx, d, half, `msg="deleted day"`, r.deletions(), heldUp)
	if err != nil {
		return err
	}
	with, took, unlinking := pooled(&out, ws, 0), time.Duration(0), time.Duration(0)
	for _, w := range ws {
		unlinked, ok := durationField(w.line, "unlinking")
		if !ok {
			return fmt.Errorf("the daemon does not log how long unlinking took: %s", w.line)
		}
		took, unlinking = max(took, w.took), max(unlinking, unlinked)
	}
	var p99, longest []float64
	for before := 3 * time.Second; before <= 15*time.Second; before += 3 * time.Second {
		if acks := pooled(&out, ws, before); len(acks) >= len(with)/2 { // else it had not begun
			p99, longest = append(p99, percentile(acks, 0.99)), append(longest, percentile(acks, 1))
		}
	}
	const bench, undisturbed = "retention", "undisturbed, as long"
	r.report.less(bench, "deleting a day: unlinking its files", "ms", unlinking.Seconds()*1e3).target(50).against(deleted.Seconds()*1e3, "DELETE, "+theAncestor)
	r.report.less(bench, "  all of it, from its leaving the catalog on", "ms", took.Seconds()*1e3) // requests and a checkpoint are waited for
	r.report.more(bench, "acknowledgements meanwhile and within 1 s after", "requests", float64(len(with)))
	compare := func(name string, p, yard float64) *Figure {
		f := r.report.less(bench, name, "ms", p)
		r.against(f, yard, undisturbed)
		return f
	}
	compare("  p99", percentile(with, 0.99), median(p99)).target(2 * median(p99))
	compare("  longest", percentile(with, 1), median(longest))
	r.lost(bench, &out)
	return nil
}

// median is 0 of nothing.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// pooled is what was acknowledged in windows, which may overlap, or in ones as
// long some time before them.
func pooled(s *sent, ws []window, before time.Duration) (acks []time.Duration) {
	for _, a := range s.done {
		if slices.ContainsFunc(ws, func(w window) bool { return a.within(w.from.Add(-before), w.to.Add(-before)) }) {
			acks = append(acks, a.took)
		}
	}
	slices.Sort(acks)
	return acks
}

// durationField reads a duration of a log line.
func durationField(line, key string) (time.Duration, bool) {
	_, rest, ok := strings.Cut(line, " "+key+"=")
	if !ok {
		return 0, false
	}
	text, _, _ := strings.Cut(rest, " ")
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// headRecords is the default cap on the records of the head.
const headRecords = 200_000

// uncut are caps at which nothing of so many rows is cut or parked.
func uncut(rows int64) []string {
	return []string{fmt.Sprintf("--head.max-records=%d", 3*rows), "--head.max-bytes=1GiB", "--head.settle=1h", "--head.cut-interval=1h"}
}

// restart fills the head, kills the daemon and starts it again.
func (r *run) restart(ctx context.Context) error {
	dir, err := r.subdir("restart")
	if err != nil {
		return err
	}
	rows := min(int64(r.Rows), headRecords)
	flags := uncut(rows)
	d, err := r.start(ctx, dir, flags...)
	if err != nil {
		return err
	}
	var n atomic.Int64
	stop := r.watch("restart: filling the head", &n)
	_, err = r.send(ctx, d, sending{clients: r.Clients, batch: min(r.Batch, int(rows)), rows: rows, live: &n})
	stop()
	if err := errors.Join(err, d.kill()); err != nil {
		return err
	}
	log := size(dir + "/wal")
	plain, err := r.plain(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"killed with " + number(float64(rows)) + " in the head: ready in", flags},
		{"the same, ended at default caps (128 MiB): cuts as it replays", nil},
	} {
		r.progress("restart: starting again")
		began := time.Now()
		if d, err = r.start(ctx, dir, c.flags...); err != nil {
			return err
		}
		r.report.less("restart", c.name, "s", time.Since(began).Seconds()).target(2).against(float64(rows)/plain.rate, thePlain)
		if err := d.kill(); err != nil {
			return err
		}
	}
	r.report.less("restart", "the log of it", "B/inv", float64(log)/float64(rows))
	return nil
}

// overload sends from many clients as fast as they are answered, and looks at
// the memory.
func (r *run) overload(ctx context.Context) (err error) {
	dir, err := r.subdir("overload")
	if err != nil {
		return err
	}
	d, err := r.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	const clients, batch = 64, 2000
	var n atomic.Int64
	stop, rss := r.watch("overload", &n), watchRSS(d.pid)
	s, err := r.send(ctx, d, sending{clients: clients, batch: batch, length: 2 * r.Length, live: &n, stubborn: true})
	stop()
	samples := rss()
	if err != nil {
		return err
	}
	const bench = "overload"
	r.report.more(bench, "64 clients at once, batches of 2 000, what stayed", "inv/s", s.rate())
	half := len(samples) / 2
	first, second := highest(samples[:half]), highest(samples[half:])
	r.report.used(bench, "resident memory, highest", "MiB", mib(max(first, second))).target(450)
	r.report.used(bench, "  second half of the time", "MiB", mib(second)).against(mib(first), "first half")
	r.lost(bench, &s)
	r.report.less(bench, "acknowledged, p99", "ms", s.ack(0.99))
	return nil
}
