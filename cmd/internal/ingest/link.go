package ingest

import (
	"time"

	"github.com/go-kit/log/level"

	"daybook/tsdb/task"
)

// Alive notes a sign of life from the broker that is no message.
func (f *Feed) Alive() {
	now := f.Now()
	f.mu.Lock()
	f.alive = now
	f.mu.Unlock()
}

// Away is called first by a consumer of a broker that keeps nothing: what came
// since somebody listened last is lost. The first Connected ends that gap.
func (f *Feed) Away() {
	now := f.Now()
	f.mu.Lock()
	away := f.away
	if away {
		f.lost = span{from: f.alive, told: now}
	}
	g := f.lost
	f.mu.Unlock()
	if away {
		f.tell(CauseBrokerLost, g)
	}
}

// Queued is called at the beginning by a consumer that takes from a queue, which
// says how late it is by CaughtUp.
func (f *Feed) Queued() {
	f.mu.Lock()
	f.caughtUp = f.alive
	f.mu.Unlock()
}

// CaughtUp notes that at a time nothing waited in the broker's queue or here.
func (f *Feed) CaughtUp(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.st.Pending <= 0 {
		f.caughtUp = at
	}
}

// Leave is called when a consumer stops whose queue goes with it: what has not
// been stored by now is lost. since is when it began to stop, zero if it was cut
// off: what came later belongs to the gap that the next start tells.
func (f *Feed) Leave(since time.Time) {
	now := f.Now()
	f.mu.Lock()
	late := since.IsZero() || f.caughtUp.Before(since)
	if late && f.lost.from.IsZero() && f.st.Connects > 0 {
		f.lost = span{from: f.edge(), told: now}
	}
	f.mu.Unlock()
}

// edge is the time up to which all is stored or was seen to be there: where
// there is a queue, the broker being alive says nothing of how late we are. The
// caller holds mu.
func (f *Feed) edge() time.Time {
	e := f.caughtUp
	if e.IsZero() {
		return f.alive
	}
	if f.stored.After(e) {
		e = f.stored
	}
	if e.After(f.alive) {
		return f.alive
	}
	return e
}

// Connected is called when the broker delivers (again).
func (f *Feed) Connected() {
	now := f.Now()
	f.mu.Lock()
	f.away = false
	f.st.Connected, f.st.Since, f.alive = true, now, now
	if f.st.Connects++; f.st.FirstAt == 0 {
		f.st.FirstAt = now.UnixMicro()
	}
	g, ok := f.lost.end(now)
	f.mu.Unlock()
	if ok {
		f.tell(CauseBrokerLost, g)
	}
	_ = level.Info(f.Logger).Log("msg", "broker connected")
}

// Lost is called when the connection broke or could not be made. Events may
// have been missed from the last sign of life on, unless the broker keeps them.
func (f *Feed) Lost(err error, kept bool) {
	now := f.Now()
	f.mu.Lock()
	was := f.st.Connected
	if was {
		f.st.Since = now
		f.tracker.missed()
	}
	f.st.Connected, f.st.LastError = false, scrub(err.Error(), f.url)
	var g span
	ok := false
	if !kept {
		if f.lost.from.IsZero() {
			f.lost = span{from: f.edge(), told: now.Add(-gapEvery)} // told at once
		}
		g, ok = f.lost.progress(now)
	}
	f.mu.Unlock()
	if ok {
		f.tell(CauseBrokerLost, g)
	}
	if was {
		_ = level.Warn(f.Logger).Log("msg", "broker lost", "err", scrub(err.Error(), f.url))
		return
	}
	f.warn("connect", "broker not connected, trying again", err)
}

// Missed opens a gap as of the last sign of life: what was believed to be kept
// was not. The next Connected ends it. Before the first one it is only a gap if
// somebody has listened before.
func (f *Feed) Missed() {
	f.mu.Lock()
	if f.lost.from.IsZero() && (f.away || f.st.Connects > 0) {
		f.lost = span{from: f.edge(), told: f.Now()}
	}
	f.mu.Unlock()
}

// Overflow counts messages that were dropped here.
func (f *Feed) Overflow(messages int64) { f.grow(messages, CauseOverflow, true) }

// BrokerOverflow notes that the broker's queue is full and drops messages: the
// oldest, which are those after the last that was stored when it was not full.
func (f *Feed) BrokerOverflow() { f.grow(0, CauseBrokerOverflow, false) }

func (f *Feed) grow(messages int64, cause string, ours bool) {
	now := f.Now()
	f.mu.Lock()
	if ours {
		f.st.Messages += messages
		f.st.Dropped += messages
	}
	fresh := f.overflow.from.IsZero()
	if fresh {
		f.overflow = span{from: now, told: now.Add(-gapEvery)}
		if !ours && f.fine.Before(now) {
			f.overflow.from = f.fine
		}
		f.tracker.missed()
	}
	f.overflow.count += messages
	g, ok := f.overflow.progress(now)
	f.mu.Unlock()
	if ok {
		f.tell(cause, g)
	}
	if fresh {
		_ = level.Warn(f.Logger).Log("msg", "storing does not keep up with the broker, messages are lost", "cause", cause)
	}
}

// Relieved ends an overflow, if there is one.
func (f *Feed) Relieved(cause string) {
	f.mu.Lock()
	f.fine = f.edge()
	g, ok := f.overflow.end(f.Now())
	if ok {
		f.tracker.missed()
	}
	f.mu.Unlock()
	if ok {
		f.tell(cause, g)
		_ = level.Info(f.Logger).Log("msg", "storing keeps up again", "dropped", g.count)
	}
}

// Unstored is called at the end, with the number of messages that were received
// and not stored, and that no broker sends again. It forgets them.
func (f *Feed) Unstored(messages int, err error) {
	now := f.Now()
	f.mu.Lock()
	// Events of a wrong clock do not make it begin years ago.
	least, from := f.stored, now
	if least.IsZero() {
		least = f.began
	}
	f.mu.Unlock()
	least = least.Add(-time.Minute)
	for i := range f.events {
		if at := time.UnixMicro(f.events[i].At); at.Before(from) && at.After(least) {
			from = at
		}
	}
	f.Discard(messages)
	f.tell(CauseUnstored, span{from: from, told: now, count: int64(messages)})
	_ = level.Error(f.Logger).Log("msg", "messages that were received are lost: they could not be stored before the end", "messages", messages, "err", scrub(err.Error(), f.url))
}

// End tells the gaps that go on once more, when the consumer stops.
func (f *Feed) End(cause string) {
	now := f.Now()
	f.mu.Lock()
	lost, isLost := f.lost.end(now)
	over, isOver := f.overflow.end(now)
	f.st.Connected, f.st.Since = false, now
	f.mu.Unlock()
	if isLost {
		f.tell(CauseBrokerLost, lost)
	}
	if isOver {
		f.tell(cause, over)
	}
}

// progress returns the span up to now if it is time to tell it again.
func (s *span) progress(now time.Time) (span, bool) {
	if now.Sub(s.told) < gapEvery {
		return span{}, false
	}
	s.told = now
	return *s, true
}

// end returns the span up to now and closes it.
func (s *span) end(now time.Time) (span, bool) {
	if s.from.IsZero() {
		return span{}, false
	}
	g := *s
	g.told = now
	*s = span{}
	return g, true
}

// tell reports a span that reaches to g.told.
func (f *Feed) tell(cause string, g span) {
	f.Gap(task.Gap{Source: f.st.URL, Cause: cause, From: g.from.UnixMicro(), To: max(g.told.UnixMicro(), g.from.UnixMicro()+1), Count: g.count})
}
