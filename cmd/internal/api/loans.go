package api

import (
	"errors"
	"fmt"
	"time"

	"daybook/tsdb"
)

// Memory is borrowed in steps between these two, so that a short request does
// not hold much and a long one does not ask often.
const minBorrow, maxBorrow = 8 << 10, 256 << 10

// errMemory marks errors of borrowing.
var errMemory = errors.New("memory for the request")

// loans is the memory that one request has borrowed from the store's budget.
type loans struct {
	store    Store
	turn     *tsdb.Turn // rests while the store lets it wait
	held     []loan
	borrowed int64
	spare    int64 // borrowed and not used yet
	// patience is how long the store may let it wait: in sum, if whole.
	patience time.Duration
	whole    bool
}

type loan struct {
	bytes    int64
	giveBack func()
}

// borrow makes sure that so many more bytes may be used.
func (l *loans) borrow(bytes int64) error {
	if bytes <= l.spare {
		l.spare -= bytes
		return nil
	}
	step := max(bytes-l.spare, min(max(l.borrowed, minBorrow), maxBorrow))
	began := time.Now()
	l.turn.Rest()
	giveBack, err := l.store.Reserve(step, l.patience)
	if l.whole {
		l.patience = max(l.patience-time.Since(began), 0)
	}
	l.turn.Take()
	if err != nil {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	l.held = append(l.held, loan{step, giveBack})
	l.borrowed += step
	l.spare += step - bytes
	return nil
}

// giveBack returns at least so many bytes, if there are as many.
func (l *loans) giveBack(bytes int64) {
	for n := len(l.held); n > 0 && bytes > 0; n-- {
		last := l.held[n-1]
		l.held = l.held[:n-1]
		l.borrowed -= last.bytes
		bytes -= last.bytes
		last.giveBack()
	}
}
