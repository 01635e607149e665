package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
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
	return &Consumer{config: c, feed: feed}, nil
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
	c.feed.End(ingest.CauseBrokerOverflow)
	return nil
}

// kept reports whether the broker keeps events while the connection is gone:
// in a durable queue, unless the broker itself is down.
func (c *Consumer) kept(err error) bool {
	if c.config.queue == "" || errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	var e *amqp091.Error
	if errors.As(err, &e) && e.Code == amqp091.ConnectionForced {
		return strings.Contains(e.Reason, "management") // somebody closed the connection by hand
	}
	return true
}

// dial connects, and gives the socket beside the connection: what waits for an
// answer of a broker that is there and silent can only be freed by closing it.
func (c *Consumer) dial(ctx context.Context) (conn *amqp091.Connection, socket net.Conn, err error) {
	timeout := c.feed.PingEvery
	var stop func() bool
	conn, err = amqp091.DialConfig(c.config.dial, amqp091.Config{
		Heartbeat:  max(timeout, time.Second),
		Properties: amqp091.Table{"product": "Daybook", "connection_name": "daybook"},
		Dial: func(network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: timeout}
			if socket, err = d.DialContext(ctx, network, addr); err != nil {
				return nil, err
			}
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

// session connects and consumes until something breaks or ctx ends.
func (c *Consumer) session(ctx context.Context) (connected bool, err error) {
	conn, socket, err := c.dial(ctx)
	if err != nil {
		return false, err
	}
	storing, cancel := c.feed.Storing(ctx)
	defer cancel() // which closes the socket
	context.AfterFunc(storing, func() { _ = socket.Close() })
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	ch, queue, created, err := c.topology(conn)
	if err != nil {
		return false, err
	}
	broken := ch.NotifyClose(make(chan *amqp091.Error, 1))
	deliveries, err := ch.Consume(queue, consumerTag, false, true, false, false, nil)
	if err != nil {
		return false, fmt.Errorf("consume from queue %s: %w", queue, err)
	}
	if created {
		c.feed.Missed()
	}
	c.feed.Connected()
	if err := c.consume(ctx, storing, ch, queue, deliveries); err != nil {
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
