package load

import (
	"encoding/hex"
	"math/rand/v2"

	"daybook/tsdb/task"
)

// Pool is NDJSON of the reference load that is used over and over, each time
// with new ids and times. A generator on the machine that it measures must not
// be what is measured: this way a line costs 0.2 µs. It is safe for concurrent
// use.
type Pool struct{ lines []template }

// template is a line with the places of what changes.
type template struct {
	text  []byte
	ids   []int // where task_id and root_id begin
	times []stamp
}

type stamp struct {
	at     int   // where it begins
	before int64 // the end of the invocation, microseconds
}

const (
	idWidth   = 36
	timeWidth = 17 // 1795435200.123456
)

// NewPool has n different lines: finished invocations, each told in one line.
// With open they are STARTED instead.
func NewPool(seed uint64, n int, open bool) *Pool {
	g := New(seed, 0, n)
	p := &Pool{lines: make([]template, n)}
	for i := range p.lines {
		p.lines[i] = newTemplate(g.at(dayMicros), open)
	}
	return p
}

func newTemplate(v *task.Invocation, open bool) template {
	var t template
	key := func(name string) { t.text = append(append(append(t.text, `,"`...), name...), '"', ':') }
	text := func(name, s string) {
		if s != "" {
			key(name)
			t.text = task.AppendJSONString(t.text, s)
		}
	}
	at := func(name string, us int64) {
		key(name)
		t.times = append(t.times, stamp{len(t.text), dayMicros - us})
		t.text = append(t.text, make([]byte, timeWidth)...)
	}
	id := func(name string) {
		key(name)
		t.ids = append(t.ids, len(t.text)+1)
		t.text = task.AppendJSONString(t.text, v.TaskID)
	}
	id("task_id")
	t.text[0] = '{'
	text("task_name", v.TaskName)
	state := v.State
	if open {
		state = task.StateStarted
	}
	text("state", state.String())
	at("sent_at", v.SentAt)
	at("received_at", v.ReceivedAt)
	at("started_at", v.StartedAt)
	text("worker", v.Worker)
	text("queue", v.Queue)
	text("args", v.Args)
	text("kwargs", v.Kwargs)
	if !open {
		at("finished_at", v.FinishedAt)
		key("runtime_ms")
		t.text = task.AppendMillis(t.text, v.Outcome.Runtime)
		text("result", v.Outcome.Result)
		text("exception_type", v.Outcome.ExceptionType)
		text("exception_message", v.Outcome.ExceptionMessage)
		text("traceback", v.Outcome.Traceback)
	}
	id("root_id")
	t.text = append(t.text, '}', '\n')
	return t
}

// Lines yields lines of a pool. It is not safe for concurrent use; those of
// different seeds never have an id in common.
type Lines struct {
	pool *Pool
	r    *rand.Rand
	next int
}

// Lines begins somewhere in the pool.
func (p *Pool) Lines(seed uint64) *Lines {
	r := rand.New(rand.NewPCG(seed, 11))
	return &Lines{pool: p, r: r, next: r.IntN(len(p.lines))}
}

// Append appends n lines of invocations that ended at a time, in microseconds,
// each one microsecond after the other.
func (l *Lines) Append(dst []byte, n int, at int64) []byte {
	for i := range n {
		t := &l.pool.lines[l.next]
		if l.next++; l.next == len(l.pool.lines) {
			l.next = 0
		}
		from := len(dst)
		dst = append(dst, t.text...)
		raw := id(l.r)
		for _, at := range t.ids {
			putUUID(dst[from+at:][:idWidth], &raw)
		}
		for _, s := range t.times {
			putSeconds(dst[from+s.at:][:timeWidth], at+int64(i)-s.before)
		}
	}
	return dst
}

func putUUID(dst []byte, raw *[16]byte) {
	hex.Encode(dst[0:8], raw[0:4])
	hex.Encode(dst[9:13], raw[4:6])
	hex.Encode(dst[14:18], raw[6:8])
	hex.Encode(dst[19:23], raw[8:10])
	hex.Encode(dst[24:36], raw[10:16])
}

// putSeconds prints microseconds as seconds with six decimals.
func putSeconds(dst []byte, us int64) {
	for i := timeWidth - 1; i >= 0; i-- {
		if i == timeWidth-7 {
			dst[i] = '.'
			continue
		}
		dst[i] = byte('0' + us%10)
		us /= 10
	}
}
