package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"daybook/tsdb/task"
)

// retention measures what ingest notices of a day being deleted, and how long
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
	day := r.firstDay()
	if err := r.sealedDay(ctx, dir, day, r.Rows, nil); err != nil {
		return err
	}
	r.progress("yardstick: DELETE of a day's rows")
	end := (day + task.Day(r.Days)).Start() // the rows of all its days
	began := time.Now()
	if err := errors.Join(t.DeleteBefore(end), t.Checkpoint()); err != nil {
		return err
	}
	deleted := time.Since(began)
	// What comes in soon exceeds this, and the old day goes.
	limit := size(dir) + 32<<20
	d, err := r.start(ctx, dir, "--retention.time=0", fmt.Sprintf("--retention.size=%d", limit))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := r.findMaximum(ctx, d); err != nil {
		return err
	}
	return r.retentionBeside(ctx, d, deleted)
}

func (r *run) retentionBeside(ctx context.Context, d *daemon, deleted time.Duration) error {
	half := sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2, length: r.Length}
	r.progress("retention: ingest at half the rate until the day is deleted")
	with := half
	with.length = 2 * time.Minute
	// What it holds up comes a little later.
	_, w, err := r.sendUntil(ctx, d, with, `msg="deleted day"`, time.Second)
	if err != nil {
		return err
	}
	r.progress("retention: ingest at half the rate, undisturbed")
	after, err := r.send(ctx, d, half)
	if err != nil {
		return err
	}
	const bench = "retention"
	r.report.less(bench, "deleting a day", "ms", w.took.Seconds()*1e3).target(50).against(deleted.Seconds()*1e3, "DELETE, "+theAncestor)
	undisturbed := after.ack(0.99)
	r.report.less(bench, "acknowledged meanwhile, p99", "ms", percentile(w.acks, 0.99)).target(2*undisturbed).against(undisturbed, "undisturbed")
	r.report.less(bench, "  longest", "ms", percentile(w.acks, 1)).against(after.ack(1), "undisturbed")
	return nil
}

// tookField reads took= of a log line.
func tookField(line string) (time.Duration, bool) {
	_, rest, ok := strings.Cut(line, " took=")
	if !ok {
		return 0, false
	}
	text, _, _ := strings.Cut(rest, " ")
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// headRecords is the default cap on the records of the head.
const headRecords = 200_000

// restart fills the head, kills the daemon and starts it again.
func (r *run) restart(ctx context.Context) error {
	dir, err := r.subdir("restart")
	if err != nil {
		return err
	}
	rows := min(int64(r.Rows), headRecords)
	// Caps at which nothing is cut or parked before the kill, nor after it.
	flags := []string{fmt.Sprintf("--head.max-records=%d", 3*rows), "--head.max-bytes=1GiB", "--head.settle=1h", "--head.cut-interval=1h"}
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
	s, err := r.send(ctx, d, sending{clients: clients, batch: batch, length: 2 * r.Length, live: &n})
	stop()
	samples := rss()
	if err != nil {
		return err
	}
	const bench = "overload"
	r.report.more(bench, "64 clients at once, batches of 2 000", "inv/s", s.rate())
	half := len(samples) / 2
	first, second := highest(samples[:half]), highest(samples[half:])
	r.report.less(bench, "resident memory, highest", "MiB", mib(max(first, second))).target(450)
	r.report.less(bench, "  second half of the time", "MiB", mib(second)).against(mib(first), "first half")
	r.lost(bench, &s)
	r.report.less(bench, "acknowledged, p99", "ms", s.ack(0.99))
	return nil
}
