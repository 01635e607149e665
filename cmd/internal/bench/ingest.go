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
	d := remote(r.URL)
	if r.URL == "" {
		dir, err := r.subdir("ingest")
		if err != nil {
			return err
		}
		if d, err = r.start(ctx, dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
	}
	if err := r.ingestFull(ctx, d); err != nil {
		return err
	}
	if r.Rate > 0 {
		return nil
	}
	if err := r.ingestHalf(ctx, d); err != nil {
		return err
	}
	return r.ingestSingles(ctx, d)
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
	var err error
	if d.pid != 0 {
		if _, ancestor, err = r.ancestorTable(ctx); err != nil {
			return err
		}
		if plain, err = r.plain(ctx); err != nil {
			return err
		}
	}
	profiled := r.profile(ctx, d, "ingest")
	before, own := usageOf(d.pid), cpuTime()
	var n atomic.Int64
	stop, rss := r.watch("ingest", &n), watchRSS(d.pid)
	s, err := r.send(ctx, d, sending{clients: r.Clients, batch: r.Batch, rate: r.Rate, length: r.Length, live: &n})
	stop()
	samples := rss()
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	after := usageOf(d.pid)
	r.maxRate = s.rate()
	rows := max(float64(s.Accepted), 1)
	const bench = "ingest"
	full := r.report.more(bench, "sustained, batches of "+number(float64(r.Batch))+", "+number(float64(r.Clients))+" clients", "inv/s", s.rate())
	if r.Rate == 0 {
		full.target(70_000)
	}
	r.against(full, ancestor.rate, theAncestor)
	if d.pid != 0 {
		r.report.less(bench, "CPU of the daemon", "µs/inv", (after.cpu-before.cpu).Seconds()*1e6/rows).against(plain.cpu, thePlain)
		r.report.less(bench, "CPU of the generator", "µs/inv", (cpuTime()-own).Seconds()*1e6/rows)
	}
	if err := r.acks(ctx, bench, &s, r.Batch, 0); err != nil {
		return err
	}
	r.lost(bench, &s)
	if d.pid == 0 {
		return nil
	}
	r.report.less(bench, "resident memory, highest", "MiB", mib(highest(samples))).target(450)
	if err := d.cutAll(ctx, false); err != nil {
		return err
	}
	end := usageOf(d.pid)
	r.written = float64(end.written-before.written) / rows
	stored := float64(size(filepath.Join(d.dir, "live")) + size(filepath.Join(d.dir, "days")))
	r.report.less(bench, "written to the disk, log and cuts", "B/inv", float64(end.written-before.written)/rows).against(ancestor.written, theAncestor)
	r.report.less(bench, "stored, not sealed yet", "B/inv", stored/rows).against(ancestor.bytes, theAncestor)
	r.report.less(bench, "written per byte stored", "×", float64(end.written-before.written)/max(stored, 1)).against(ancestor.written/max(ancestor.bytes, 1), theAncestor)
	return nil
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
	r.report.less(bench, "dropped", "inv", float64(s.Dropped))
	if s.Rejected > 0 {
		r.report.less(bench, "refused", "inv", float64(s.Rejected))
	}
	if s.busy > 0 {
		r.report.less(bench, "answered 503", "requests", float64(s.busy))
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
		r.report.less(bench, "CPU of the daemon", "µs/inv", (usageOf(d.pid).cpu-before.cpu).Seconds()*1e6/max(float64(s.Accepted), 1))
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
