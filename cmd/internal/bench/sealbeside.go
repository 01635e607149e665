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
	s, took, d, err := r.sendUntilSealed(ctx, dirs[0], sending{clients: r.Clients, batch: r.Batch})
	if err != nil {
		return err
	}
	full := s.rate()
	r.report.more(bench, "ingest meanwhile, as fast as it is taken", "inv/s", full).target(50_000)
	r.report.more(bench, "  the seal", "rows/s", float64(r.Rows)/took.Seconds())
	r.lost(bench, &s)
	if err := errors.Join(r.findMaximum(ctx, d), d.stop()); err != nil {
		return err
	}
	half := sending{clients: 4 * r.Clients, batch: r.Batch, rate: r.maxRate / 2}
	if s, took, d, err = r.sendUntilSealed(ctx, dirs[1], half); err != nil {
		return err
	}
	r.report.more(bench, "the seal, at half of the maximum rate", "rows/s", float64(r.Rows)/took.Seconds()).target(100_000)
	r.progress("ingest at half the rate, undisturbed")
	half.length = r.Length
	after, err := r.send(ctx, d, half)
	if err := errors.Join(err, d.stop()); err != nil {
		return err
	}
	undisturbed := after.ack(0.99)
	r.report.less(bench, "  acknowledged meanwhile, p99", "ms", s.ack(0.99)).target(2*undisturbed).against(undisturbed, "undisturbed")
	r.report.less(bench, "  longest", "ms", s.ack(1)).against(after.ack(1), "undisturbed")
	return nil
}

// sendUntilSealed starts a daemon, which seals the day that it finds, and sends
// until it has. Stop the daemon.
func (r *run) sendUntilSealed(ctx context.Context, dir string, s sending) (out sent, took time.Duration, d *daemon, err error) {
	r.progress("ingest while a day of %s is sealed", number(float64(r.Rows)))
	if d, err = r.start(ctx, dir); err != nil {
		return out, 0, nil, err
	}
	s.length = 10 * time.Minute
	out, line, err := r.sendUntil(ctx, d, s, `msg="sealed day"`, 0)
	took, ok := tookField(line)
	if err == nil && !ok {
		err = errors.New("the day was not sealed in time")
	}
	if err != nil {
		return out, 0, nil, errors.Join(err, ctx.Err(), d.stop())
	}
	return out, took, d, nil
}

// sendUntil sends until the daemon has logged a line with a text, and for a
// time after that. The line is "" if there was none.
func (r *run) sendUntil(ctx context.Context, d *daemon, s sending, text string, longer time.Duration) (out sent, line string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan string, 1)
	go func() {
		for ctx.Err() == nil {
			for _, line := range d.logged() {
				if strings.Contains(line, text) {
					found <- line
					time.Sleep(longer)
					cancel()
					return
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	out, err = r.send(ctx, d, s)
	select {
	case line = <-found:
	default:
	}
	return out, line, err
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
	return errors.Join(err, out.Close())
}
