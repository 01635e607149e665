package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log"

	"daybook/tsdb/task"
)

// Sink stores events. Append returns when they are durable: a broker is told
// only then that it may forget them. It is called by one goroutine of each
// consumer at a time. The slice is the caller's and is reused; the texts in it
// are not.
//
// An error means that none of it is known to be stored. The same events are
// offered again until that works, so storing some of them twice must be
// harmless.
type Sink interface {
	Append(ctx context.Context, events []task.Event) error
}

// ErrTooLarge is what a Sink returns, wrapped, if so many events can never be
// stored together. A single one is then refused.
var ErrTooLarge = errors.New("too many events at once")

// Causes of gaps.
const (
	// CauseBrokerLost is the time without a connection.
	CauseBrokerLost = "broker lost"
	// CauseOverflow is messages that were dropped because storing did not keep
	// up with the broker.
	CauseOverflow = "overflow"
	// CauseUnstored is what was received and could not be stored before the end.
	CauseUnstored = "not stored at the end"
	// CauseBrokerOverflow is a queue that was full in the broker, which then
	// forgets the oldest messages without a word.
	CauseBrokerOverflow = "broker queue full"
)

// Options are what every consumer needs. Zero values get the default in
// brackets.
type Options struct {
	Logger log.Logger       // required
	Sink   Sink             // required
	Now    func() time.Time // [time.Now]
	// Gap is told the time in which events may have been missed, and again with a
	// later end while that goes on; its source is the broker's URL without
	// password. It is called by the consumer's goroutines and must not block [dropped].
	Gap func(task.Gap)
	// LastSeen is when somebody listened before, for the same Sink: what a broker
	// did not keep since then is a gap. Zero if nobody did.
	LastSeen time.Time

	// MaxFuture is how far a timestamp may be ahead of the clock to say anything of
	// when events came or how late workers are [1h].
	MaxFuture time.Duration

	BatchEvents int           // most events in one Append [2000]
	BatchBytes  int64         // about the size of one Append, in memory [8 MiB]
	QueueBytes  int64         // received and not yet decoded, or, AMQP, not yet acknowledged [32 MiB]
	Prefetch    int           // received and not yet acknowledged messages, AMQP [2000]
	MinBackoff  time.Duration // first pause before connecting again [250ms]
	MaxBackoff  time.Duration // longest pause [30s]
	PingEvery   time.Duration // silence after which the connection is tried [10s]
	DrainFor    time.Duration // to store what was received when the context ends [5s]
}

// validate fills in defaults.
func (o *Options) validate() error {
	if o.Logger == nil || o.Sink == nil {
		return errors.New("ingest: a logger and a sink are required")
	}
	if o.Gap == nil {
		o.Gap = func(task.Gap) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	orDefault(&o.MaxFuture, time.Hour)
	orDefault(&o.BatchEvents, 2000)
	orDefault(&o.BatchBytes, 8<<20)
	orDefault(&o.QueueBytes, 32<<20)
	orDefault(&o.Prefetch, 2000)
	orDefault(&o.MinBackoff, 250*time.Millisecond)
	orDefault(&o.MaxBackoff, 30*time.Second)
	orDefault(&o.PingEvery, 10*time.Second)
	orDefault(&o.DrainFor, 5*time.Second)
	if o.MaxFuture < 0 || o.BatchEvents < 0 || o.BatchBytes < 0 || o.QueueBytes < 0 || o.Prefetch < 0 || o.Prefetch > 65535 || o.MinBackoff < 0 || o.MaxBackoff < o.MinBackoff || o.PingEvery < 0 || o.DrainFor < 0 {
		return errors.New("ingest: sizes and durations must be positive, prefetch at most 65535, and the longest pause no less than the first")
	}
	return nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
