package amqp

import (
	"errors"
	"fmt"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// Bounds of the queues: the temporary one only has to hold what Daybook cannot
// take at once, the durable one what comes while Daybook is away.
const (
	temporaryMessages = 200_000
	temporaryBytes    = 128 << 20
	durableBytes      = 1 << 30
)

// topology makes sure of exchange, queue and bindings, and opens the channel
// to consume on.
func (c *Consumer) topology(conn *amqp091.Connection, s *session) error {
	exchange := c.config.exchange
	ch, _, err := ensure(conn,
		func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclarePassive(exchange, "topic", true, false, false, false, nil)
		},
		func(ch *amqp091.Channel) error {
			// As workers do; one that differs would keep them from their own.
			return ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil)
		})
	if err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	if s.queue = c.config.queue; s.queue != "" {
		_ = ch.Close()
		if ch, err = c.durable(conn, s); err != nil {
			return fmt.Errorf("declare queue %s: %w", s.queue, err)
		}
	} else {
		// Exclusive, so it goes with the connection; not auto-delete, so it is still
		// there to be looked at when its consumer has been cancelled.
		q, err := ch.QueueDeclare("", false, false, true, false, amqp091.Table{
			"x-max-length": c.bounds.messages, "x-max-length-bytes": c.bounds.bytes, "x-overflow": "drop-head"})
		if err != nil {
			return fmt.Errorf("declare a temporary queue: %w", err)
		}
		s.queue, s.created, s.bounds = q.Name, true, c.bounds
	}
	// Not "#": what else is published there is of no use here.
	for _, key := range []string{"task.#", "worker.#"} {
		if err := ch.QueueBind(s.queue, key, exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s to exchange %s: %w", s.queue, exchange, err)
		}
	}
	if err := ch.Qos(c.feed.Prefetch, 0, false); err != nil {
		return fmt.Errorf("set prefetch to %d: %w", c.feed.Prefetch, err)
	}
	s.ch = ch
	return nil
}

// durable makes sure of the durable queue. One that is there may have been
// declared with other limits, which cannot be asked for.
func (c *Consumer) durable(conn *amqp091.Connection, s *session) (*amqp091.Channel, error) {
	declare := func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclare(s.queue, true, false, false, false, amqp091.Table{"x-max-length-bytes": int64(durableBytes), "x-overflow": "drop-head"})
		return err
	}
	ch, created, err := ensure(conn,
		func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclarePassive(s.queue, true, false, false, false, nil)
			return err
		}, declare)
	if err != nil {
		return nil, err
	}
	s.created = created
	if !created {
		err = declare(ch)
	}
	var e *amqp091.Error
	switch {
	case err == nil:
		s.bounds = bounds{bytes: durableBytes}
	case errors.As(err, &e) && (e.Code == amqp091.PreconditionFailed || e.Code == amqp091.AccessRefused): // used as it is
		return conn.Channel()
	}
	return ch, err
}

// ensure asks whether something is there and makes it if not. The question
// costs the channel when the answer is no.
func ensure(conn *amqp091.Connection, ask, create func(*amqp091.Channel) error) (ch *amqp091.Channel, created bool, err error) {
	if ch, err = conn.Channel(); err != nil {
		return nil, false, err
	}
	err = ask(ch)
	var e *amqp091.Error
	if err == nil || !errors.As(err, &e) || e.Code != amqp091.NotFound {
		return ch, false, err
	}
	if ch, err = conn.Channel(); err != nil {
		return nil, false, err
	}
	return ch, true, create(ch)
}
