package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/celery"
	"daybook/cmd/internal/ingest"
)

// Consumer listens to one broker.
type Consumer struct {
	config  *config
	feed    *ingest.Feed
	decoder celery.Decoder
	bounds  bounds    // of a temporary queue
	left    time.Time // when the last session began to end because it was told to
}

// New checks the URL and the options. It starts nothing.
func New(rawURL string, o ingest.Options) (*Consumer, error) {
	c, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	feed, err := ingest.NewFeed(c.url, o)
	if err != nil {
		return nil, err
	}
	feed.Queued()
	return &Consumer{config: c, feed: feed, bounds: bounds{temporaryMessages, temporaryBytes}}, nil
}

// Status is a snapshot.
func (c *Consumer) Status() ingest.Status { return c.feed.Status() }

// Run listens until ctx ends, stores what was received by then, and returns
// nil. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	pause := ingest.Backoff{Min: c.feed.MinBackoff, Max: c.feed.MaxBackoff}
	if c.config.queue == "" {
		c.feed.Away()
	}
	for ctx.Err() == nil {
		connected, err := c.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if connected {
			pause.Reset()
		}
		c.feed.Lost(err, c.kept(err))
		pause.Wait(ctx)
	}
	if c.config.queue == "" {
		c.feed.Leave(c.left)
	}
	c.feed.End(ingest.CauseBrokerOverflow)
	return nil
}

// kept reports whether the broker keeps events while the connection is gone: in
// a durable queue, if the broker itself said why. All else may be a crash, which
// no transient message outlives, behind whatever stands between us.
func (c *Consumer) kept(err error) bool {
	if c.config.queue == "" {
		return false
	}
	var e *amqp091.Error
	switch {
	case errors.Is(err, errCancelled), errors.Is(err, amqp091.ErrCredentials), errors.Is(err, amqp091.ErrVhost), errors.Is(err, amqp091.ErrSASL):
		return true
	case !errors.As(err, &e) || !e.Server:
		return false
	case e.Code == amqp091.ConnectionForced:
		return strings.Contains(e.Reason, "management") // somebody closed the connection by hand
	}
	return true
}

// dial connects, and gives the socket beside the connection: what waits for an
// answer of a broker that is there and silent can only be freed by closing it.
func (c *Consumer) dial(ctx context.Context, h *held) (conn *amqp091.Connection, socket net.Conn, err error) {
	timeout := c.feed.PingEvery
	var stop func() bool
	conn, err = amqp091.DialConfig(c.config.dial, amqp091.Config{
		Heartbeat:  max(timeout, time.Second),
		Properties: amqp091.Table{"product": "Daybook", "connection_name": "daybook"},
		Dial: func(network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: timeout}
			plain, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			socket = &heldConn{Conn: plain, held: h}
			stop = context.AfterFunc(ctx, func() { _ = socket.Close() })
			// For the handshake; the library takes it off afterwards.
			return socket, socket.SetDeadline(time.Now().Add(timeout))
		},
	})
	if stop != nil {
		stop()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	return conn, socket, nil
}

var errCancelled = errors.New("the broker cancelled the consumer: the queue was deleted")

// session is one connection at work.
type session struct {
	ch         *amqp091.Channel
	asking     sync.Mutex // on ch, which mixes up the answers to two at once
	queue      string
	created    bool // the queue was not there
	bounds     bounds
	deliveries <-chan amqp091.Delivery
	held       *held
	over       chan struct{} // closed at the end
	failed     chan error    // the watch ended
	others     sync.WaitGroup
}

// session connects and consumes until something breaks or ctx ends.
func (c *Consumer) session(ctx context.Context) (connected bool, err error) {
	s := &session{held: newHeld(c.feed.QueueBytes), over: make(chan struct{}), failed: make(chan error, 1)}
	conn, socket, err := c.dial(ctx, s.held)
	if err != nil {
		return false, err
	}
	defer s.others.Wait()
	storing, cancel := c.feed.Storing(ctx)
	defer cancel() // which closes the socket
	context.AfterFunc(storing, func() { _ = socket.Close() })
	defer func() {
		close(s.over)
		s.held.release() // so that the answer is read
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
	}()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	if err := c.topology(conn, s); err != nil {
		return false, err
	}
	broken := s.ch.NotifyClose(make(chan *amqp091.Error, 1))
	deliveries, err := s.ch.Consume(s.queue, consumerTag, false, true, false, false, nil)
	if err != nil {
		return false, fmt.Errorf("consume from queue %s: %w", s.queue, err)
	}
	s.deliveries = s.held.take(deliveries, c.feed.Prefetch)
	if s.created {
		c.feed.Missed()
	}
	c.feed.Connected()
	if c.config.queue == "" {
		c.feed.CaughtUp(c.feed.Now()) // it was made just now
	}
	s.others.Go(func() {
		if err := c.watch(conn, s); err != nil {
			s.failed <- err
		}
	})
	if err := c.consume(ctx, storing, s); err != nil {
		return true, because(err, closed, broken)
	}
	return true, ctx.Err()
}

// because prefers what the broker said at the end over its consequence.
func because(err error, reasons ...chan *amqp091.Error) error {
	for _, reason := range reasons {
		select {
		case e := <-reason:
			if e != nil {
				return e
			}
		case <-time.After(100 * time.Millisecond): // they are told side by side
		}
	}
	return err
}
