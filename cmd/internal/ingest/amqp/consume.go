package amqp

import (
	"context"
	"fmt"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/ingest"
)

const consumerTag = "daybook"

// consume stores and acknowledges deliveries until there are no more or ctx
// ends, and those that are here then with storing.
func (c *Consumer) consume(ctx, storing context.Context, ch *amqp091.Channel, queue string, deliveries <-chan amqp091.Delivery) error {
	check := time.NewTicker(c.feed.PingEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.drain(storing, ch, deliveries)
		case d, ok := <-deliveries:
			if !ok {
				return errCancelled
			}
			if err := c.batch(storing, ch, d, deliveries); err != nil {
				return err
			}
		case <-check.C:
			if err := c.check(ch, queue); err != nil {
				return err
			}
		}
	}
}

// batch stores one delivery and those that are here already, then acknowledges
// all of them.
func (c *Consumer) batch(ctx context.Context, ch *amqp091.Channel, d amqp091.Delivery, deliveries <-chan amqp091.Delivery) error {
	n, more := 0, true
	for more {
		n++
		c.feed.Received(1, int64(len(d.Body)))
		c.feed.Add(c.decoder.Body(d.Body, d.ContentType, d.ContentEncoding))
		// Half of the prefetch, so that the broker refills while this is stored.
		if c.feed.Full() || n >= (c.feed.Prefetch+1)/2 {
			break
		}
		var next amqp091.Delivery
		select {
		case next, more = <-deliveries: // closed: the acknowledgement will tell
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
	if err := ch.Ack(d.DeliveryTag, true); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

// drain stops the deliveries and stores those that are here, so that they need
// not come again, or are not lost with a temporary queue.
func (c *Consumer) drain(ctx context.Context, ch *amqp091.Channel, deliveries <-chan amqp091.Delivery) error {
	if err := ch.Cancel(consumerTag, false); err != nil {
		return nil // it is gone already
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return nil
			}
			if err := c.batch(ctx, ch, d, deliveries); err != nil {
				return nil
			}
		}
	}
}

// check asks for the state of the queue: that is a sign of life, and shows a
// queue that is full.
func (c *Consumer) check(ch *amqp091.Channel, queue string) error {
	q, err := ch.QueueDeclarePassive(queue, c.config.queue != "", c.config.queue == "", c.config.queue == "", false, nil)
	if err != nil {
		return fmt.Errorf("look at queue %s: %w", queue, err)
	}
	c.feed.Alive()
	// Of the two limits only the number of messages can be asked for.
	if c.config.queue == "" && q.Messages >= temporaryMessages {
		c.feed.BrokerOverflow()
	} else {
		c.feed.Relieved(ingest.CauseBrokerOverflow)
	}
	return nil
}
