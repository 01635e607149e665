package tsdb

import (
	"runtime"
	"sync/atomic"
	"time"
)

// courtesyWait bounds one wait for a turn, courtesyWaits all of one Turn's: nothing
// that is taken in fails for the sake of a question.
const (
	courtesyWait  = 100 * time.Millisecond
	courtesyWaits = time.Second
)

// Courtesy leaves a core to questions. While one is being answered, what decodes
// and stores invocations does so in turns, one fewer than there are cores. On two
// cores at full ingest the newest failures take 12 ms instead of 21 and an id 1 ms
// instead of 5. The nil pointer asks for none.
type Courtesy struct {
	asked    atomic.Int64
	turns    chan struct{}
	patience time.Duration // of one wait
}

// NewCourtesy is for so many cores.
func NewCourtesy(cores int) *Courtesy {
	return &Courtesy{turns: make(chan struct{}, max(1, cores-1)), patience: courtesyWait}
}

// Courtesy is that of the DB's own Append.
func (db *DB) Courtesy() *Courtesy { return db.courtesy }

// Ask says that a question is being answered, until answered is called.
func (c *Courtesy) Ask() (answered func()) {
	if c == nil {
		return func() {}
	}
	c.asked.Add(1)
	return func() { c.asked.Add(-1) }
}

// Turn is one goroutine's part in it. The zero value asks for none.
type Turn struct {
	c      *Courtesy
	held   bool
	waited time.Duration // so far
}

// Turn returns one that is not taken.
func (c *Courtesy) Turn() Turn { return Turn{c: c} }

// Take waits for its turn if a question is being answered, not for long. Whoever
// takes one had better not wait for anything but a processor before Rest.
func (t *Turn) Take() {
	if t.c == nil || t.held || t.c.asked.Load() == 0 {
		return
	}
	select {
	case t.c.turns <- struct{}{}:
		t.held = true
		return
	default:
	}
	if t.waited >= courtesyWaits {
		return
	}
	began := time.Now()
	defer func() { t.waited += time.Since(began) }()
	end := time.NewTimer(t.c.patience)
	defer end.Stop()
	select {
	case t.c.turns <- struct{}{}:
		t.held = true
	case <-end.C:
	}
}

// Taken is how many turns are taken.
func (c *Courtesy) Taken() int {
	if c == nil {
		return 0
	}
	return len(c.turns)
}

// Held reports whether others may have to wait.
func (t *Turn) Held() bool { return t.held }

// Rest lets the next one go on.
func (t *Turn) Rest() {
	if t.held {
		t.held = false
		<-t.c.turns
	}
}

// cores is how many processors there are for Go code.
func (o *Options) cores() int {
	if o.Cores > 0 {
		return o.Cores
	}
	return runtime.GOMAXPROCS(0)
}
