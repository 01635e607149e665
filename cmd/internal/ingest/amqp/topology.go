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
// to consume on. created is true if the queue was not there.
func (c *Consumer) topology(conn *amqp091.Connection) (ch *amqp091.Channel, queue string, created bool, err error) {
	exchange := c.config.exchange
	ch, _, err = ensure(conn,
		func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclarePassive(exchange, "topic", true, false, false, false, nil)
		},
		func(ch *amqp091.Channel) error {
			// As workers do; one that differs would keep them from their own.
			return ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil)
		})
	if err != nil {
		return nil, "", false, fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	if queue = c.config.queue; queue != "" {
		_ = ch.Close()
		ch, created, err = ensure(conn,
			func(ch *amqp091.Channel) error {
				_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
				return err
			},
			func(ch *amqp091.Channel) error {
				_, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-max-length-bytes": int64(durableBytes), "x-overflow": "drop-head"})
				return err
			})
		if err != nil {
			return nil, "", false, fmt.Errorf("declare queue %s: %w", queue, err)
		}
	} else {
		q, err := ch.QueueDeclare("", false, true, true, false, amqp091.Table{
			"x-max-length": int64(temporaryMessages), "x-max-length-bytes": int64(temporaryBytes), "x-overflow": "drop-head"})
		if err != nil {
			return nil, "", false, fmt.Errorf("declare a temporary queue: %w", err)
		}
		queue, created = q.Name, true
	}
	// Not "#": what else is published there is of no use here.
	for _, key := range []string{"task.#", "worker.#"} {
		if err := ch.QueueBind(queue, key, exchange, false, nil); err != nil {
			return nil, "", false, fmt.Errorf("bind queue %s to exchange %s: %w", queue, exchange, err)
		}
	}
	if err := ch.Qos(c.feed.Prefetch, 0, false); err != nil {
		return nil, "", false, fmt.Errorf("set prefetch to %d: %w", c.feed.Prefetch, err)
	}
	return ch, queue, created, nil
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
