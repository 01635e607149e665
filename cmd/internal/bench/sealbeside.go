package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sealBeside measures ingest while a daemon seals a day of Rows: at full rate,
// and at half of the maximum. live is the file of the day, which nobody has
// open; it is used up.
func (r *run) sealBeside(ctx context.Context, live string) error {
	var dirs [2]string
	for i := range dirs {
		var err error
		if dirs[i], err = r.makeDir("sealing"); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(dirs[i], "live", filepath.Base(live)), live); err != nil {
			return fmt.Errorf("copying the day: %w", err)
		}
	}
	const bench = "seal, beside"
	s, w, d, err := r.sendUntilSealed(ctx, dirs[0], sending{clients: r.Clients, batch: r.Batch})
	if err != nil {
		return err
	}
	r.report.more(bench, "ingest meanwhile, as fast as it is taken", "inv/s", max(0, float64(int64(w.answered*r.Batch)-s.lost))/w.took.Seconds()).target(50_000)
	r.report.more(bench, "  the seal", "rows/s", float64(r.Rows)/w.took.Seconds())
	r.lost(bench, &s)
	if err := errors.Join(r.findMaximum(ctx, d), d.stop()); err != nil {
		return err
	}
	half := sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2}
	if s, w, d, err = r.sendUntilSealed(ctx, dirs[1], half); err != nil {
		return err
	}
	// No target: a seal rests while requests are under way.
	r.report.more(bench, "the seal, at half of the maximum rate", "rows/s", float64(r.Rows)/w.took.Seconds())
	r.lost(bench, &s)
	r.progress("ingest at half the rate, undisturbed")
	half.length = max(r.Length, w.took) // as many acknowledgements have as rare ones among them
	after, err := r.send(ctx, d, half)
	if err := errors.Join(err, d.stop()); err != nil {
		return err
	}
	undisturbed := after.ack(0.99)
	r.report.less(bench, "  acknowledged meanwhile, p99", "ms", percentile(w.acks, 0.99)).target(2*undisturbed).against(undisturbed, "undisturbed")
	r.report.less(bench, "  longest", "ms", percentile(w.acks, 1)).against(after.ack(1), "undisturbed")
	return nil
}

// window is what was acknowledged while something went on.
type window struct {
	from, to time.Time
	took     time.Duration
	line     string          // of the log, that says so
	acks     []time.Duration // ascending
	answered int             // of them, not after it
}

// sendUntilSealed starts a daemon, which seals the day that it finds, and sends
// until it has. Stop the daemon.
func (r *run) sendUntilSealed(ctx context.Context, dir string, s sending) (out sent, w window, d *daemon, err error) {
	r.progress("ingest while a day of %s is sealed", number(float64(r.Rows)))
	if d, err = r.start(ctx, dir); err != nil {
		return out, w, nil, err
	}
	s.length = 10 * time.Minute
	out, ws, err := r.sendUntil(ctx, d, s, `msg="sealed day"`, 1, 0)
	if err != nil {
		return out, w, nil, errors.Join(err, d.stop())
	}
	return out, ws[0], d, nil
}

// sendUntil sends until the daemon has logged so many lines with a text and how
// long that took, and for a time after the last. What is acknowledged, or
// begins to wait, from its beginning until that time after it counts as held up
// by it.
func (r *run) sendUntil(ctx context.Context, d *daemon, s sending, text string, times int, longer time.Duration) (out sent, ws []window, err error) {
	sendCtx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	s.stop = make(chan struct{})
	wg.Go(func() {
		defer close(s.stop)
		for look := time.NewTicker(20 * time.Millisecond); ; {
			if found := d.did(text); len(found) >= times && time.Since(found[times-1].at) > longer {
				return
			}
			select {
			case <-look.C:
			case <-sendCtx.Done():
				return
			}
		}
	})
	if out, err = r.send(ctx, d, s); err != nil {
		return out, nil, err
	}
	found := d.did(text)
	if len(found) < times {
		return out, nil, fmt.Errorf("the daemon did not log %s %d times within %s, but %d times", text, times, s.length, len(found))
	}
	for _, e := range found[:times] {
		took, ok := durationField(e.line, "took")
		if !ok {
			return out, nil, fmt.Errorf("the daemon logs no time: %s", e.line)
		}
		w := window{from: e.at.Add(-took), to: e.at.Add(longer), took: took, line: e.line}
		w.acks = out.between(w.from, w.to)
		for _, a := range out.done {
			if a.at.After(w.from) && a.at.Before(w.to) {
				w.answered++
			}
		}
		ws = append(ws, w)
	}
	return out, ws, nil
}

// What goes before the maximum rate is measured, and how long that takes at
// least: a burst goes into an empty head.
const (
	warmUp     = 5 * time.Second
	maximumFor = 10 * time.Second
)

// findMaximum measures the rate that ingest reaches, unless that is known or
// was given.
func (r *run) findMaximum(ctx context.Context, d *daemon) error {
	if r.Rate > 0 {
		r.maxRate = r.Rate
	}
	if r.maxRate > 0 {
		return nil
	}
	r.progress("the maximum rate")
	s := sending{clients: r.Clients, batch: r.Batch, length: warmUp}
	if _, err := r.send(ctx, d, s); err != nil {
		return err
	}
	s.length = max(maximumFor, r.Length)
	out, err := r.send(ctx, d, s)
	r.maxRate = out.rate()
	return err
}

// maximumAlone is findMaximum with a daemon of its own.
func (r *run) maximumAlone(ctx context.Context) error {
	dir, err := r.makeDir("maximum")
	if err != nil {
		return err
	}
	d, err := r.start(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(r.findMaximum(ctx, d), d.stop())
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	// A day that was written just now would not be sealed yet.
	old := time.Now().Add(-time.Hour)
	return errors.Join(err, out.Close(), os.Chtimes(to, old, old))
}
