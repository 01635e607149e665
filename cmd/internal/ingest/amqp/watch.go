package amqp

import (
	"errors"
	"fmt"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/ingest"
)

// watch looks at the queue until the session ends, also while storing does not
// get on: then the queue fills. It has a channel of its own if the connection may
// have two.
func (c *Consumer) watch(conn *amqp091.Connection, s *session) error {
	ch, err := conn.Channel()
	if errors.Is(err, amqp091.ErrChannelMax) {
		ch, err = s.ch, nil
	}
	if err != nil {
		return err
	}
	check := time.NewTicker(c.feed.PingEvery)
	defer check.Stop()
	for {
		// The first look is worth as much as the sizes it goes by.
		select {
		case <-s.over:
			return nil
		case <-s.held.sized:
		case <-check.C:
		}
		for {
			asked := time.Now()
			if err := c.look(s, ch); err != nil {
				return err
			}
			// An answer that was late is old: nothing was read meanwhile.
			if time.Since(asked) < time.Second {
				break
			}
		}
	}
}

// look asks for the state of the queue: that is a sign of life, and shows a
// queue that is full, or empty.
func (c *Consumer) look(s *session, ch *amqp091.Channel) error {
	if ch == s.ch {
		s.asking.Lock()
		defer s.asking.Unlock()
	}
	asked := c.feed.Now()
	durable := c.config.queue != ""
	q, err := ch.QueueDeclarePassive(s.queue, durable, false, !durable, false, nil)
	if err != nil {
		return fmt.Errorf("look at queue %s: %w", s.queue, err)
	}
	c.feed.Alive()
	if q.Messages == 0 && len(s.deliveries) == 0 {
		c.feed.CaughtUp(asked)
	}
	if s.bounds.reached(q.Messages, s.held.mean()) {
		c.feed.BrokerOverflow()
	} else {
		c.feed.Relieved(ingest.CauseBrokerOverflow)
	}
	return nil
}

// bounds are those of a queue; 0 is none, or not known.
type bounds struct{ messages, bytes int64 }

// reached reports whether a queue with so many messages is full. Its bytes
// cannot be asked for: they are estimated from what came out of it, and nine
// tenths are taken for full.
func (b bounds) reached(messages int, mean float64) bool {
	return b.messages > 0 && int64(messages) >= b.messages || b.bytes > 0 && float64(messages)*mean >= 0.9*float64(b.bytes)
}
