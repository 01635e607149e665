package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"daybook/cmd/internal/api"
	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/amqp"
	"daybook/cmd/internal/ingest/redis"
	"daybook/cmd/internal/redact"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// consumer takes events from one broker until its context ends.
type consumer interface {
	Run(ctx context.Context) error
	Status() ingest.Status
}

// newConsumers makes a consumer for every broker URL. Nothing connects yet.
func newConsumers(urls []string, maxFuture time.Duration, db *tsdb.DB, secrets *redact.Redactor, logger log.Logger) ([]consumer, error) {
	var out []consumer
	for _, raw := range urls {
		own := log.With(logger, "component", "ingest", "broker", ingest.Redact(raw))
		o := ingest.Options{Logger: logger, Sink: &sink{db: db, secrets: secrets, logger: own}, MaxFuture: max(maxFuture, 1)}
		if db != nil {
			o.Gap, o.LastSeen = db.AddGap, db.LastSeen()
		}
		kind, err := ingest.Kind(raw)
		if err != nil {
			return nil, err
		}
		var c consumer
		switch kind {
		case ingest.KindRedis:
			c, err = redis.New(raw, o)
		case ingest.KindAMQP:
			c, err = amqp.New(raw, o)
		default:
			err = fmt.Errorf("no consumer for %q", kind)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// sink stores a consumer's events. One consumer calls it from one goroutine.
type sink struct {
	db      *tsdb.DB
	secrets *redact.Redactor
	logger  log.Logger
	recs    []tsdb.Record
}

// Append returns when the events are logged. Events that are refused for their
// time are counted by the database and do not hold up the others.
func (s *sink) Append(ctx context.Context, events []task.Event) error {
	s.recs = s.recs[:0]
	for i := range events {
		rec := tsdb.Record{Invocation: events[i].Invocation()}
		s.secrets.Invocation(&rec.Invocation)
		s.recs = append(s.recs, rec)
	}
	out, err := s.db.Append(ctx, s.recs)
	clear(s.recs)
	if errors.Is(err, tsdb.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ingest.ErrTooLarge, err)
	}
	if err != nil {
		return err
	}
	if n := len(out.Refused); n > 0 {
		level.Debug(s.logger).Log("msg", "events refused", "count", n, "err", out.Refused[0].Err)
	}
	return nil
}

// brokerStates is what /healthz shows of the consumers.
func brokerStates(consumers []consumer) func() []api.Broker {
	return func() []api.Broker {
		out := make([]api.Broker, len(consumers))
		for i, c := range consumers {
			s := c.Status()
			out[i] = api.Broker{URL: s.URL, Connected: s.Connected, LastEventAt: s.LastEventAt, Reasons: s.Reasons()}
			for _, g := range s.Groups {
				out[i].Groups = append(out[i].Groups, api.WorkerGroup{Name: g.Name, Workers: g.Workers, LastEventAt: g.LastEventAt, Lost: g.Lost})
			}
		}
		return out
	}
}

// RedactURLs joins broker URLs for a status page, without their passwords.
func RedactURLs(urls []string) string {
	out := make([]string, len(urls))
	for i, u := range urls {
		out[i] = ingest.Redact(u)
	}
	return strings.Join(out, " ")
}
