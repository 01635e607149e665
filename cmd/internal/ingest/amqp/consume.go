package amqp

import (
	"context"
	"fmt"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

const consumerTag = "daybook"

// consume stores and acknowledges deliveries until there are no more, the watch
// fails or ctx ends, and those that are here then with storing.
func (c *Consumer) consume(ctx, storing context.Context, s *session) error {
	for {
		select {
		case <-ctx.Done():
			c.drain(storing, s)
			return nil
		case err := <-s.failed:
			return err
		case d, ok := <-s.deliveries:
			if !ok {
				return errCancelled
			}
			if err := c.batch(storing, s, d); err != nil {
				return err
			}
		}
	}
}

// batch stores one delivery and those that are here already, then acknowledges
// all of them.
func (c *Consumer) batch(ctx context.Context, s *session, d amqp091.Delivery) error {
	n, bytes, more := 0, int64(0), true
	for more {
		n++
		bytes += int64(len(d.Body))
		c.feed.Received(1, int64(len(d.Body)))
		c.feed.Add(c.decoder.Body(d.Body, d.ContentType, d.ContentEncoding))
		// Half of the prefetch, so that the broker refills while this is stored.
		if c.feed.Full() || n >= (c.feed.Prefetch+1)/2 || bytes >= c.feed.QueueBytes/2 {
			break
		}
		var next amqp091.Delivery
		select {
		case next, more = <-s.deliveries: // closed: the acknowledgement will tell
		default:
			more = false
		}
		if more {
			d = next
		}
	}
	if err := c.feed.Flush(ctx, n); err != nil {
		c.feed.Discard(n)
		return err
	}
	if err := s.ch.Ack(d.DeliveryTag, true); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	s.held.done(bytes)
	return nil
}

// drain stops the deliveries and stores those that are here, so that they need
// not come again, or are not lost with a temporary queue.
func (c *Consumer) drain(ctx context.Context, s *session) {
	c.left = c.feed.Now()
	// Beside the storing: the answer comes behind all that is under way, and
	// while too much is held nothing is read.
	s.others.Go(func() {
		s.asking.Lock()
		defer s.asking.Unlock()
		_ = s.ch.Cancel(consumerTag, false) // the deliveries end either way
	})
	for {
		select {
		case <-ctx.Done():
			return
		case d, ok := <-s.deliveries:
			if !ok {
				if c.config.queue == "" {
					_ = c.look(s, s.ch) // what is left in the queue is lost
				}
				return
			}
			if err := c.batch(ctx, s, d); err != nil {
				return
			}
		}
	}
}
