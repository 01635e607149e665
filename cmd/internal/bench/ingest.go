package bench

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"time"
)

// ingest sends as fast as lines are taken, then at half of that, then single
// lines from many clients.
func (r *run) ingest(ctx context.Context) (err error) {
	if err := r.ingestYards(ctx); err != nil {
		return err
	}
	dir := ""
	if r.URL == "" {
		if dir, err = r.subdir("ingest"); err != nil {
			return err
		}
	}
	d, err := r.ingester(ctx, dir)
	if err != nil {
		return err
	}
	if err := r.ingestFull(ctx, d); err != nil {
		return errors.Join(err, d.stop())
	}
	if r.Rate > 0 {
		return d.stop()
	}
	// The daemon was ended to see all that it writes: here is another one.
	if d, err = r.ingester(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := r.ingestHalf(ctx, d); err != nil {
		return err
	}
	return r.ingestSingles(ctx, d)
}

// ingester is a daemon of our own on a directory, or the one of --url.
func (r *run) ingester(ctx context.Context, dir string) (*daemon, error) {
	if r.URL != "" {
		return remote(r.URL, r.TLS), nil
	}
	return r.start(ctx, dir)
}

// ingestYards measures the yardsticks while no daemon has anything to do.
func (r *run) ingestYards(ctx context.Context) error {
	if r.URL == "" {
		if _, _, err := r.yardSpeeds(ctx); err != nil {
			return err
		}
	}
	for _, lines := range []int{r.Batch, 1} {
		if _, err := r.fsyncs(ctx, lines); err != nil {
			return err
		}
	}
	return nil
}

// watch reports how far sending has come until stop is called.
func (r *run) watch(what string, n *atomic.Int64) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				sent := n.Load()
				r.progress("%s: %s invocations, %s/s", what, number(float64(sent)), number(float64(sent)/time.Since(began).Seconds()))
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (r *run) ingestFull(ctx context.Context, d *daemon) error {
	ancestor, plain := speed{}, speed{}
	if d.pid != 0 {
		ancestor, plain = r.yard.ancestorSpeed, *r.yard.plainSpeed
	}
	profiled := r.profile(ctx, d, "ingest")
	before, own := usageOf(d.pid), cpuTime()
	var n atomic.Int64
	full := sending{clients: r.Clients, batch: r.Batch, rate: r.Rate, length: r.Length, live: &n}
	if r.Invocations > 0 {
		full.length, full.rows = 0, int64(r.Invocations)
	}
	stop, rss := r.watch("ingest", &n), watchRSS(d.pid)
	s, err := r.send(ctx, d, full)
	stop()
	samples := rss()
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	after, own := usageOf(d.pid), cpuTime()-own
	r.maxRate = s.rate()
	if r.Rate > 0 {
		r.maxRate = r.Rate
	}
	rows := max(float64(s.stayed()), 1)
	const bench = "ingest"
	f := r.report.more(bench, "sustained, batches of "+number(float64(r.Batch))+", "+number(float64(r.Clients))+" clients", "inv/s", s.rate())
	if r.Rate == 0 {
		f.target(70_000)
	}
	r.against(f, ancestor.rate, theAncestor)
	r.report.more(bench, "  of so many that stayed", "inv", rows)
	if d.pid != 0 {
		r.report.used(bench, "CPU of the daemon", "µs/inv", (after.cpu-before.cpu).Seconds()*1e6/rows).against(plain.cpu, thePlain)
		r.report.less(bench, "CPU of the generator", "µs/inv", own.Seconds()*1e6/rows)
	}
	if err := r.acks(ctx, bench, &s, r.Batch, 0); err != nil {
		return err
	}
	r.lost(bench, &s)
	if d.pid == 0 {
		return nil
	}
	r.report.used(bench, "resident memory, highest", "MiB", mib(highest(samples))).target(450)
	// All that is still to be written: what is not cut, and, when the daemon
	// ends, what is in the live files' own logs.
	r.progress("ingest: cutting what is left")
	if err := errors.Join(d.cutAll(ctx, false), d.stop()); err != nil {
		return err
	}
	r.written = float64(d.wrote()-before.written) / rows
	stored := float64(size(filepath.Join(d.dir, "live")) + size(filepath.Join(d.dir, "days")))
	r.report.used(bench, "written to the disk, log and cuts", "B/inv", r.written).against(ancestor.written, theAncestor)
	r.report.less(bench, "stored, not sealed yet", "B/inv", stored/rows).against(ancestor.bytes, theAncestor)
	r.report.used(bench, "written per byte stored", "×", r.written*rows/max(stored, 1)).against(ancestor.written/max(ancestor.bytes, 1), theAncestor)
	return nil
}

// logWritten is what a daemon writes to the disk for each invocation that it
// only logs.
func (r *run) logWritten(ctx context.Context) (float64, error) {
	dir, err := r.subdir("log")
	if err != nil {
		return 0, err
	}
	rows := min(int64(r.Rows), headRecords)
	d, err := r.start(ctx, dir, uncut(rows)...)
	if err != nil {
		return 0, err
	}
	r.progress("filling a log")
	before := usageOf(d.pid).written
	s, err := r.send(ctx, d, sending{clients: r.Clients, batch: min(r.Batch, int(rows)), rows: rows})
	written := usageOf(d.pid).written - before
	if err := errors.Join(err, d.kill()); err != nil {
		return 0, err
	}
	return float64(written) / max(float64(s.stayed()), 1), nil
}

// against compares unless the yardstick was not measured.
func (r *run) against(f *Figure, yardstick float64, name string) {
	if yardstick != 0 {
		f.against(yardstick, name)
	}
}

// acks reports how long acknowledgements took.
func (r *run) acks(ctx context.Context, bench string, s *sent, lines int, target float64) error {
	fsyncs, err := r.fsyncs(ctx, lines)
	if err != nil {
		return err
	}
	r.report.less(bench, "  acknowledged, p50", "ms", s.ack(0.5)).against(percentile(fsyncs, 0.5), theFsync)
	r.report.less(bench, "  p99", "ms", s.ack(0.99)).target(target).against(percentile(fsyncs, 0.99), theFsync)
	r.report.less(bench, "  longest", "ms", s.ack(1)).against(percentile(fsyncs, 1), theFsync)
	return nil
}

// lost reports what was not stored, if anything.
func (r *run) lost(bench string, s *sent) {
	r.report.less(bench, "dropped", "inv", float64(s.lost))
	if s.Rejected > 0 {
		r.report.less(bench, "refused", "inv", float64(s.Rejected))
	}
	if s.busy > 0 {
		r.report.less(bench, "answered: come again", "requests", float64(s.busy))
	}
	if s.cut > 0 {
		r.report.less(bench, "connections closed on a request", "requests", float64(s.cut))
	}
}

func (r *run) ingestHalf(ctx context.Context, d *daemon) error {
	var n atomic.Int64
	stop := r.watch("ingest at half the rate", &n)
	s, err := r.send(ctx, d, sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2, length: r.Length, live: &n})
	stop()
	if err != nil {
		return err
	}
	const bench = "ingest, half"
	r.report.more(bench, "at half of that rate", "inv/s", s.rate())
	r.lost(bench, &s)
	return r.acks(ctx, bench, &s, r.Batch, 50)
}

func (r *run) ingestSingles(ctx context.Context, d *daemon) error {
	fsyncs, err := r.fsyncs(ctx, 1)
	if err != nil {
		return err
	}
	profiled := r.profile(ctx, d, "singles")
	before := usageOf(d.pid)
	var n atomic.Int64
	stop := r.watch("single requests", &n)
	s, err := r.send(ctx, d, sending{clients: r.Singles, batch: 1, length: r.Length, live: &n})
	stop()
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	const bench = "ingest, single"
	r.report.more(bench, "one a request, "+number(float64(r.Singles))+" clients", "inv/s", s.rate()).target(8000).
		against(float64(len(fsyncs))/sum(fsyncs).Seconds(), theFsync)
	if d.pid != 0 {
		r.report.used(bench, "CPU of the daemon", "µs/inv", (usageOf(d.pid).cpu-before.cpu).Seconds()*1e6/max(float64(s.stayed()), 1))
	}
	r.lost(bench, &s)
	return r.acks(ctx, bench, &s, 1, 0)
}

func highest(samples []int64) (most int64) {
	for _, n := range samples {
		most = max(most, n)
	}
	return most
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
