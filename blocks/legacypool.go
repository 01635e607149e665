package blocks

import (
	"context"
	"errors"
	"sync"
)

const (
	legacyConns = 6
	// legacyScans is how many of them may read for long at a time: look-ups by id,
	// of which one that stores waits for, find one that scans cannot have.
	legacyScans = 4
	// legacyCache is the page cache of one connection, in KiB.
	legacyCache = 4 << 10
)

// legacyPool is a few read-only connections to one legacy file.
type legacyPool struct {
	path  string
	mode  legacyMode
	turns chan struct{} // one place for every connection in use
	scans chan struct{} // the same of those that scan
	done  chan struct{} // closed by close
	mu    struct {      // no I/O under it
		sync.Mutex
		idle []*conn
	}
}

var errLegacyClosed = errors.New("the legacy file is closed")

func newLegacyPool(path string, mode legacyMode) *legacyPool {
	return &legacyPool{path: path, mode: mode, turns: make(chan struct{}, legacyConns), scans: make(chan struct{}, legacyScans), done: make(chan struct{})}
}

// with runs fn, which may take long, with a connection. After an error the
// connection is closed.
func (p *legacyPool) with(ctx context.Context, fn func(*conn) error) error {
	if err := p.enter(ctx, p.scans); err != nil {
		return err
	}
	defer func() { <-p.scans }()
	return p.lookUp(ctx, fn)
}

// lookUp is with for what takes no longer than looking up ids does: it does not
// wait for scans.
func (p *legacyPool) lookUp(ctx context.Context, fn func(*conn) error) error {
	if err := p.enter(ctx, p.turns); err != nil {
		return err
	}
	defer func() { <-p.turns }()
	c, err := p.take()
	if err != nil {
		return err
	}
	if err := fn(c); err != nil {
		return errors.Join(err, c.close())
	}
	p.mu.Lock()
	p.mu.idle = append(p.mu.idle, c)
	p.mu.Unlock()
	return nil
}

// enter takes a place.
func (p *legacyPool) enter(ctx context.Context, places chan<- struct{}) error {
	select {
	case <-p.done:
		return errLegacyClosed
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return errLegacyClosed
	}
}

func (p *legacyPool) take() (*conn, error) {
	p.mu.Lock()
	if n := len(p.mu.idle); n > 0 {
		c := p.mu.idle[n-1]
		p.mu.idle = p.mu.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return openLegacyConn(p.path, p.mode)
}

// close waits for the connections in use and closes all.
func (p *legacyPool) close() error {
	close(p.done)
	for range legacyConns {
		p.turns <- struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.mu.idle {
		errs = append(errs, c.close())
	}
	p.mu.idle = nil
	return errors.Join(errs...)
}
