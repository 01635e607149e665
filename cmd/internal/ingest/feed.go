package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// gapEvery is how often a gap that goes on is told again.
const gapEvery = 30 * time.Second

// Feed takes what one consumer receives to the Sink and keeps its account. One
// goroutine calls Add and Flush; the other methods are safe for concurrent use.
type Feed struct {
	Options
	url    *url.URL
	events []task.Event
	bytes  int64 // of these, about
	began  time.Time

	mu       sync.Mutex // guards all below; no I/O under it
	st       Status
	tracker  *tracker
	alive    time.Time // last sign of life from the broker
	away     bool      // since alive nobody listened; until the first Connected
	stored   time.Time // newest event that was stored, of those with a time that has been
	caughtUp time.Time // when nothing waited in the broker or here; zero if it has no queue
	fine     time.Time // edge when the broker's queue was not full
	lost     span
	overflow span
	samples  map[string]*sampler
}

// span is a gap that goes on.
type span struct {
	from  time.Time // zero if there is none
	told  time.Time
	count int64
}

// NewFeed checks the options. It starts nothing.
func NewFeed(u *url.URL, o Options) (*Feed, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	shown := Shown(u)
	o.Logger = log.With(o.Logger, "component", "ingest", "broker", shown)
	now := o.Now()
	f := &Feed{Options: o, url: u, st: Status{URL: shown, Since: now}, tracker: newTracker(), began: now, alive: now, samples: make(map[string]*sampler)}
	if f.away = !o.LastSeen.IsZero() && o.LastSeen.Before(now); f.away {
		f.alive = o.LastSeen
	}
	f.fine = f.alive
	return f, nil
}

// Status is a snapshot.
func (f *Feed) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.st
	st.Pending = max(st.Pending, 0) // a message may be done before it is counted
	st.Groups = f.tracker.snapshot(f.Now())
	return st
}

// Received counts messages that arrived, before anything is done with them.
// Every one of them must come to Done, sooner or later.
func (f *Feed) Received(messages int, bytes int64) {
	now := f.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = now
	f.st.Messages += int64(messages)
	f.st.Bytes += bytes
	f.st.Pending += int64(messages)
}

// Add takes what became of one message.
func (f *Feed) Add(items []celery.Item, err error) {
	now := f.Now()
	latest := now.Add(f.MaxFuture).UnixMicro()
	f.mu.Lock()
	if err != nil {
		f.st.Undecoded++
	}
	var refused error
	for i := range items {
		it := &items[i]
		switch {
		case it.Err != nil:
			f.st.Refused++
			refused = it.Err
			continue
		case it.Kind == celery.Task:
			f.event(it.Event.At, latest)
			if it.Event.State == task.StateStarted {
				f.tracker.startedAt(&it.Event, it.PID)
			}
			f.events = append(f.events, it.Event)
			f.bytes += size(&it.Event)
			continue
		case it.Kind == celery.WorkerEvent:
			f.event(it.Worker.At, latest)
			f.tracker.heard(it.Worker, it.PID, now, latest)
		}
		f.st.Ignored++
	}
	f.mu.Unlock()
	if err != nil {
		f.warn("undecoded", "message not decoded", err)
	}
	if refused != nil {
		f.warn("refused", "event refused", refused)
	}
}

// event notes the time of an event, unless its clock is wrong. The caller holds mu.
func (f *Feed) event(at, latest int64) {
	if at <= latest {
		f.st.LastEventAt = max(f.st.LastEventAt, at)
	}
}

// size is about what an event takes in memory.
func size(e *task.Event) int64 {
	const fixed = 400
	return int64(fixed + len(e.Args) + len(e.Kwargs) + len(e.Result) + len(e.ExceptionMessage) + len(e.Traceback))
}

// Full reports whether it is time to Flush.
func (f *Feed) Full() bool { return len(f.events) >= f.BatchEvents || f.bytes >= f.BatchBytes }

// Flush stores what was added, trying again until that works or ctx ends, and
// then counts messages as done. What cannot be stored together is stored in
// parts: it may be more than there can ever be room for. After an error, what
// is left is still there, for Unstored or Discard.
func (f *Feed) Flush(ctx context.Context, messages int) error {
	pause := Backoff{Min: f.MinBackoff, Max: f.MaxBackoff}
	done, part, tries := 0, len(f.events), 0
	defer func() {
		left := copy(f.events, f.events[done:])
		clear(f.events[left:])
		f.events = f.events[:left]
	}()
	for done < len(f.events) {
		part = min(part, len(f.events)-done)
		err := f.Sink.Append(ctx, f.events[done:done+part])
		f.appended(f.events[done:done+part], err)
		switch {
		case err == nil:
			done, part, tries = done+part, 2*part, 0
			pause.Reset()
			continue
		case ctx.Err() != nil:
			return fmt.Errorf("store %d events: %w", len(f.events)-done, err)
		case errors.Is(err, ErrTooLarge) && part > 1:
			part /= 2
			continue
		case errors.Is(err, ErrTooLarge):
			f.refuse(err)
			done++
			continue
		}
		if tries++; tries > 2 && part > 1 {
			part /= 2
			pause.Reset()
		}
		f.warn("sink", "events not stored, trying again", err)
		if !pause.Wait(ctx) {
			return fmt.Errorf("store %d events: %w", len(f.events)-done, err)
		}
	}
	f.bytes = 0
	f.mu.Lock()
	f.st.Pending -= int64(messages)
	f.mu.Unlock()
	return nil
}

// appended notes what the Sink said of events.
func (f *Feed) appended(events []task.Event, err error) {
	now := f.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.st.SinkError = ""; err != nil {
		f.st.SinkError = err.Error()
		return
	}
	f.st.Events += int64(len(events))
	for i := range events {
		if at := time.UnixMicro(events[i].At); at.After(f.stored) && !at.After(now) {
			f.stored = at
		}
	}
}

// refuse counts an event that can never be stored.
func (f *Feed) refuse(err error) {
	f.mu.Lock()
	f.st.Refused++
	f.st.SinkError = ""
	f.mu.Unlock()
	f.warn("refused", "event refused", err)
}

// Storing is the context to Flush with: it ends DrainFor after ctx, so that what
// was received before ctx ended is stored.
func (f *Feed) Storing(ctx context.Context) (context.Context, context.CancelFunc) {
	storing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	drain := f.DrainFor
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(drain, cancel)
		context.AfterFunc(storing, func() { t.Stop() })
	})
	return storing, func() { stop(); cancel() }
}

// Discard drops what was added and not stored; the broker will send it again.
func (f *Feed) Discard(messages int) {
	clear(f.events)
	f.events, f.bytes = f.events[:0], 0
	f.mu.Lock()
	f.st.Pending -= int64(messages)
	f.mu.Unlock()
}

// warn logs, about one thing at most once in ten seconds.
func (f *Feed) warn(about, msg string, err error) {
	now := f.Now()
	f.mu.Lock()
	s := f.samples[about]
	if s == nil {
		s = &sampler{every: 10 * time.Second}
		f.samples[about] = s
	}
	skipped, ok := s.allow(now)
	f.mu.Unlock()
	if ok {
		_ = level.Warn(f.Logger).Log("msg", msg, "err", scrub(err.Error(), f.url), "skipped", skipped)
	}
}
