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
			f.lost = span{from: f.alive, told: now.Add(-gapEvery)} // told at once
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
		f.lost = span{from: f.alive, told: f.Now()}
	}
	f.mu.Unlock()
}

// Overflow counts messages that were dropped here.
func (f *Feed) Overflow(messages int64) { f.grow(messages, CauseOverflow, true) }

// BrokerOverflow notes that the broker's queue is full and drops messages.
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
