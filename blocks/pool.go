package blocks

import (
	"context"
	"errors"
	"sync"
	"time"
)

// PoolOptions configure NewPool.
type PoolOptions struct {
	Conns int // connections at most, and so queries that read at once; 0 is 8
	Limit int // files attached to one connection at most, no fewer than 2; 0 is what SQLite was compiled for
}

// Pool is a set of SQLite connections to which day files are attached. A file
// stays attached after use, and the next reader of the day is given that
// connection again: between them the connections hold more days than one of
// them can attach.
type Pool struct {
	conns, limit int
	turns        chan struct{} // one place for every session in use
	done         chan struct{} // closed by Close
	closing      sync.Once
	mu           struct { // no I/O under it
		sync.Mutex
		idle     []*session
		open     int             // sessions, idle or in use
		attaches int64           // so far
		waited   time.Duration   // by readers for a session
		held     map[string]int  // path: sessions that have it attached or are about to
		retired  map[string]bool // paths to detach when their session comes back
		changed  chan struct{}   // closed and replaced when a path is let go
	}
}

// errPoolClosed is returned to readers after Close.
var errPoolClosed = errors.New("the attach pool is closed")

// NewPool returns a pool; connections are opened when they are needed.
func NewPool(o PoolOptions) *Pool {
	if o.Conns < 1 {
		o.Conns = 8
	}
	if o.Limit < 0 || o.Limit == 1 {
		o.Limit = 2 // a day with an overlay takes two
	}
	p := &Pool{conns: o.Conns, limit: o.Limit, turns: make(chan struct{}, o.Conns), done: make(chan struct{})}
	p.mu.held = map[string]int{}
	p.mu.retired = map[string]bool{}
	p.mu.changed = make(chan struct{})
	return p
}

// Close waits for the sessions in use and closes all connections. Readers that
// come later get an error.
func (p *Pool) Close() {
	p.closing.Do(func() {
		close(p.done)
		for range p.conns {
			p.turns <- struct{}{}
		}
		p.mu.Lock()
		idle := p.mu.idle
		p.mu.idle = nil
		p.mu.Unlock()
		for _, s := range idle {
			p.discard(s)
		}
	})
}

// PoolStats are a pool's figures.
type PoolStats struct {
	Conns, Open, Busy int           // connections: at most, open, in use
	Attached          int           // files, once for each connection that has them
	Attaches          int64         // so far
	Waited            time.Duration // by readers for a connection, in sum
}

// Stats counts.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStats{Conns: p.conns, Open: p.mu.open, Busy: p.mu.open - len(p.mu.idle), Attaches: p.mu.attaches, Waited: p.mu.waited}
	for _, n := range p.mu.held {
		s.Attached += n
	}
	return s
}

// Busy reports whether anybody reads.
func (p *Pool) Busy() bool { return len(p.turns) > 0 }

// turn waits for one of the places.
func (p *Pool) turn(ctx context.Context) error {
	select {
	case p.turns <- struct{}{}:
		return nil
	default:
	}
	began := time.Now()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.waited += time.Since(began)
	}()
	select {
	case p.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return errPoolClosed
	}
}

// acquire returns a session with the files attached, waiting for one if all
// are in use. The error is a *fileError if a file could not be attached.
func (p *Pool) acquire(ctx context.Context, files ...attachment) (*session, error) {
	select {
	case <-p.done:
		return nil, errPoolClosed
	default:
	}
	if err := p.turn(ctx); err != nil {
		return nil, err
	}
	s := p.pick(files)
	if s == nil {
		var err error
		if s, err = p.openSession(); err != nil {
			<-p.turns
			return nil, err
		}
	}
	if err := s.ensure(files); err != nil {
		p.release(s, err)
		return nil, err
	}
	return s, nil
}

// release gives a session back. After an error its connection is closed: what
// the error left behind in it is not for the next reader.
func (p *Pool) release(s *session, failed error) {
	defer func() { <-p.turns }()
	if failed != nil || s.end() != nil {
		p.discard(s)
		return
	}
	p.put(s)
}

// pick takes the idle session that suits the files best: the one that has
// most of them, then the one with the most room. It returns nil if a new one
// is to be opened.
func (p *Pool) pick(files []attachment) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, bestMissing, bestRoom := -1, 0, 0
	for i, s := range p.mu.idle {
		missing, room := s.missing(files), s.room()
		if best < 0 || missing < bestMissing || missing == bestMissing && room > bestRoom {
			best, bestMissing, bestRoom = i, missing, room
		}
	}
	if best < 0 || bestMissing > bestRoom && p.mu.open < p.conns {
		return nil
	}
	s := p.mu.idle[best]
	p.mu.idle = append(p.mu.idle[:best], p.mu.idle[best+1:]...)
	return s
}

// put makes a session idle, without the paths that were retired meanwhile.
func (p *Pool) put(s *session) {
	for {
		p.mu.Lock()
		path := s.retired(p.mu.retired)
		keep := path == "" && p.mu.open <= p.conns
		if keep {
			p.mu.idle = append(p.mu.idle, s)
		}
		p.mu.Unlock()
		switch {
		case keep:
			return
		case path == "", s.detach(path) != nil:
			// One too many, opened while another was detaching; or it does
			// not let go of the file otherwise.
			p.discard(s)
			return
		}
	}
}

// discard closes a session's connection, which lets go of its files. What it
// was used for is over, so that there is nobody to tell an error to.
func (p *Pool) discard(s *session) {
	s.c.close()
	for path := range s.at {
		p.unhold(path)
	}
	p.mu.Lock()
	p.mu.open--
	p.mu.Unlock()
}

// retire detaches paths everywhere: idle sessions at once, others when they
// come back.
func (p *Pool) retire(paths []string) {
	p.mu.Lock()
	for _, path := range paths {
		if p.mu.held[path] > 0 {
			p.mu.retired[path] = true
		}
	}
	var take, keep []*session
	for _, s := range p.mu.idle {
		if s.retired(p.mu.retired) != "" {
			take = append(take, s)
		} else {
			keep = append(keep, s)
		}
	}
	p.mu.idle = keep
	p.mu.Unlock()
	for _, s := range take {
		p.put(s)
	}
}

// drained waits until no session has the path attached.
func (p *Pool) drained(ctx context.Context, path string) error {
	for {
		p.mu.Lock()
		held, changed := p.mu.held[path], p.mu.changed
		p.mu.Unlock()
		if held == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pool) hold(path string) {
	p.mu.Lock()
	p.mu.held[path]++
	p.mu.attaches++
	p.mu.Unlock()
}

func (p *Pool) unhold(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.held[path]--; p.mu.held[path] > 0 {
		return
	}
	delete(p.mu.held, path)
	delete(p.mu.retired, path)
	close(p.mu.changed)
	p.mu.changed = make(chan struct{})
}
