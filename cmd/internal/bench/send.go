package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"daybook/tsdb/load"
)

// sending is a way of sending lines.
type sending struct {
	clients int
	batch   int
	rate    float64       // lines a second, over all clients; 0 is as many as are taken
	length  time.Duration // 0 is until rows or stop ends it
	rows    int64         // 0 is no limit
	stop    chan struct{} // closed: no more requests, those under way are waited for; may be nil
	live    *atomic.Int64 // accepted so far; may be nil

	stubborn bool // comes again at once when it is told to wait
}

// sent is what became of it.
type sent struct {
	answer
	lost int64 // acknowledged rows that the daemon dropped meanwhile, whoever sent them
	busy int64 // answers that asked to come again
	cut  int64 // requests whose connection was closed on them
	took time.Duration
	acks []time.Duration // how long each request took, ascending
	done []ackAt         // the same, in the order in which they were answered
}

// ackAt is an answered request.
type ackAt struct {
	at   time.Time
	took time.Duration
}

// within reports whether it was answered, or began to wait, in a stretch of time.
func (a *ackAt) within(from, to time.Time) bool {
	return a.at.After(from) && a.at.Add(-a.took).Before(to)
}

// between is what was answered, or began to wait, in a stretch of time.
func (s *sent) between(from, to time.Time) (out []time.Duration) {
	for _, a := range s.done {
		if a.within(from, to) {
			out = append(out, a.took)
		}
	}
	slices.Sort(out)
	return out
}

// stayed is how many rows were acknowledged and not dropped later: an answer
// knows only what was dropped of its own request, which it does not count as
// accepted.
func (s *sent) stayed() int64 { return max(0, s.Accepted-max(0, s.lost-s.Dropped)) }

func (s *sent) rate() float64 { return float64(s.stayed()) / s.took.Seconds() }

// ack is a percentile of the acknowledgements in milliseconds.
func (s *sent) ack(p float64) float64 { return percentile(s.acks, p) }

// percentile of ascending durations, in milliseconds.
func percentile(d []time.Duration, p float64) float64 {
	if len(d) == 0 {
		return 0
	}
	return d[min(int(p*float64(len(d))), len(d)-1)].Seconds() * 1e3
}

// send sends lines from several clients at once. At a given rate a request's
// time counts from when it was due, not from when a client was free: a stall
// then shows in all requests that it held up. What is under way in the end is
// waited for: the last ones may be those that waited longest.
func (r *run) send(ctx context.Context, d *daemon, s sending) (out sent, err error) {
	before, err := d.dropped(ctx)
	if err != nil {
		return out, err
	}
	if out, err = r.sendAll(ctx, d, s); err != nil || ctx.Err() != nil {
		return out, errors.Join(err, ctx.Err())
	}
	after, err := d.dropped(ctx)
	out.lost = after - before
	return out, err
}

func (r *run) sendAll(ctx context.Context, d *daemon, s sending) (sent, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	var out sent
	var mu sync.Mutex
	var turn, rows atomic.Int64
	var wg sync.WaitGroup
	var errs []error
	for range s.clients {
		lines := r.lines()
		wg.Go(func() {
			c := sender{sending: s, d: d, lines: lines, began: began, turn: &turn, total: &rows}
			err := c.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			out.add(&c.sent)
			if err != nil {
				errs = append(errs, err)
				cancel() // for all
			}
		})
	}
	wg.Wait()
	out.took = time.Since(began)
	slices.SortFunc(out.done, func(a, b ackAt) int { return a.at.Compare(b.at) })
	for _, a := range out.done {
		out.acks = append(out.acks, a.took)
	}
	slices.Sort(out.acks)
	if len(errs) > 0 {
		return out, errors.Join(errs[0])
	}
	return out, nil
}

func (s *sent) add(o *sent) {
	s.Accepted += o.Accepted
	s.Rejected += o.Rejected
	s.Dropped += o.Dropped
	s.busy += o.busy
	s.cut += o.cut
	s.done = append(s.done, o.done...)
}

// sender is one client.
type sender struct {
	sending
	sent  sent
	d     *daemon
	lines *load.Lines
	began time.Time
	turn  *atomic.Int64 // requests begun, of all clients
	total *atomic.Int64 // lines of them
	buf   []byte
}

func (c *sender) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if c.rows > 0 && c.total.Add(int64(c.batch)) > c.rows {
			return nil
		}
		due, ok := c.due(ctx)
		if !ok {
			return nil
		}
		c.buf = c.lines.Append(c.buf[:0], c.batch, time.Now().UnixMicro())
		if c.rate == 0 {
			due = time.Now()
		}
		a, err := c.post(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errGaveUp):
			return nil
		case err != nil:
			return err
		}
		c.sent.done = append(c.sent.done, ackAt{time.Now(), time.Since(due)})
		c.sent.Accepted += a.Accepted
		c.sent.Rejected += a.Rejected
		c.sent.Dropped += a.Dropped
		if c.live != nil {
			c.live.Add(a.Accepted)
		}
	}
	return nil
}

// errGaveUp is returned when the time is over before a request was taken.
var errGaveUp = errors.New("the time is over")

// comeAgain is the wait before a request that was not taken is sent again,
// unless the daemon names one, which is then at most longestWait.
const (
	comeAgain   = 20 * time.Millisecond
	longestWait = 10 * time.Second
	patience    = 2 * time.Minute // with one request, where a count and not the time ends sending
)

// post sends what is in buf until it is taken. The wait counts as that of the
// request.
func (c *sender) post(ctx context.Context) (answer, error) {
	for began := time.Now(); ; {
		a, again, err := c.d.post(ctx, c.buf)
		switch {
		case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF):
			// A request that was refused before its body was read. A daemon
			// that is gone refuses connections, which ends this.
			c.sent.cut++
			again = comeAgain
		case err != nil || again == 0:
			return a, err
		default:
			c.sent.busy++
		}
		if c.stubborn {
			again = comeAgain
		}
		if !c.wait(ctx, min(again, longestWait)) || c.over(time.Now()) {
			return a, errGaveUp
		}
		if c.length == 0 && time.Since(began) > patience {
			return a, fmt.Errorf("the daemon has not taken a request for %s", patience)
		}
	}
}

// due waits for the next request's turn; false when the time is over.
func (c *sender) due(ctx context.Context) (time.Time, bool) {
	due := time.Now()
	if c.rate > 0 {
		due = c.began.Add(time.Duration(float64(c.turn.Add(1)) * float64(c.batch) / c.rate * float64(time.Second)))
	}
	return due, !c.over(due) && c.wait(ctx, time.Until(due))
}

func (c *sender) over(at time.Time) bool { return c.length > 0 && at.Sub(c.began) >= c.length }

// wait is false if the sending ended first.
func (c *sender) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-c.stop:
		return false
	default:
	}
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-c.stop:
	case <-ctx.Done():
	}
	return false
}

// watchRSS samples the resident memory of a daemon until stop is called, which
// returns the samples.
func watchRSS(pid int) (stop func() []int64) {
	end, ended := make(chan struct{}), make(chan struct{})
	var samples []int64
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			samples = append(samples, usageOf(pid).rss)
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() []int64 {
		close(end)
		<-ended
		return samples
	}
}
