package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	r.report.more(bench, "ingest meanwhile, as fast as it is taken", "inv/s", float64(len(w.acks)*r.Batch)/w.took.Seconds()).target(50_000)
	r.report.more(bench, "  the seal", "rows/s", float64(r.Rows)/w.took.Seconds())
	r.lost(bench, &s)
	if err := errors.Join(r.findMaximum(ctx, d), d.stop()); err != nil {
		return err
	}
	half := sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2}
	if _, w, d, err = r.sendUntilSealed(ctx, dirs[1], half); err != nil {
		return err
	}
	r.report.more(bench, "the seal, at half of the maximum rate", "rows/s", float64(r.Rows)/w.took.Seconds()).target(100_000)
	r.progress("ingest at half the rate, undisturbed")
	half.length = r.Length
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
	took time.Duration
	acks []time.Duration // ascending
}

// sendUntilSealed starts a daemon, which seals the day that it finds, and sends
// until it has. Stop the daemon.
func (r *run) sendUntilSealed(ctx context.Context, dir string, s sending) (out sent, w window, d *daemon, err error) {
	r.progress("ingest while a day of %s is sealed", number(float64(r.Rows)))
	if d, err = r.start(ctx, dir); err != nil {
		return out, w, nil, err
	}
	s.length = 10 * time.Minute
	if out, w, err = r.sendUntil(ctx, d, s, `msg="sealed day"`, 0); err != nil {
		return out, w, nil, errors.Join(err, d.stop())
	}
	return out, w, d, nil
}

// sendUntil sends until the daemon has logged a line with a text and how long
// that took, and for a time after that. What is acknowledged within that time,
// too, counts as held up by it.
func (r *run) sendUntil(ctx context.Context, d *daemon, s sending, text string, longer time.Duration) (out sent, w window, err error) {
	sendCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	type logged struct {
		line string
		at   time.Time
	}
	found := make(chan logged, 1)
	go func() {
		for sendCtx.Err() == nil {
			for _, line := range d.logged() {
				if strings.Contains(line, text) {
					found <- logged{line, time.Now()}
					time.Sleep(longer)
					cancel()
					return
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if out, err = r.send(sendCtx, d, s); err != nil {
		return out, w, err
	}
	select {
	case l := <-found:
		var ok bool
		if w.took, ok = tookField(l.line); !ok {
			return out, w, fmt.Errorf("the daemon logs no time: %s", l.line)
		}
		w.acks = out.between(l.at.Add(-w.took), l.at.Add(longer))
		return out, w, nil
	default:
		return out, w, errors.Join(ctx.Err(), fmt.Errorf("the daemon did not log %s in time", text))
	}
}

// findMaximum measures the rate that ingest reaches, unless that is known.
func (r *run) findMaximum(ctx context.Context, d *daemon) error {
	if r.maxRate > 0 {
		return nil
	}
	r.progress("the maximum rate")
	s, err := r.send(ctx, d, sending{clients: r.Clients, batch: r.Batch, length: 2 * time.Second})
	r.maxRate = s.rate()
	return err
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
