package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"daybook/cmd/internal/celery"
	"daybook/cmd/internal/ingest"
)

// Consumer listens to one broker.
type Consumer struct {
	config *config
	feed   *ingest.Feed
	queue  *queue
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
	return &Consumer{config: c, feed: feed, queue: newQueue(feed.QueueBytes)}, nil
}

// Status is a snapshot.
func (c *Consumer) Status() ingest.Status { return c.feed.Status() }

// Run listens until ctx ends, stores what was received by then, and returns
// nil. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	var storing sync.WaitGroup
	storing.Go(func() { c.store(ctx) })
	c.feed.Away()
	c.listen(ctx)
	c.queue.close()
	storing.Wait()
	c.feed.End(ingest.CauseOverflow)
	return nil
}

// listen keeps a subscription until ctx ends.
func (c *Consumer) listen(ctx context.Context) {
	pause := ingest.Backoff{Min: c.feed.MinBackoff, Max: c.feed.MaxBackoff}
	for ctx.Err() == nil {
		err := c.session(ctx, &pause)
		if ctx.Err() != nil {
			return
		}
		c.feed.Lost(err, false)
		pause.Wait(ctx)
	}
}

// errSilent is a connection that is open and dead.
var errSilent = errors.New("no answer to PING")

// session connects, subscribes and reads until something breaks.
func (c *Consumer) session(ctx context.Context, pause *ingest.Backoff) error {
	options := *c.config.client
	options.DialTimeout = c.feed.PingEvery
	patient(&options)
	client := goredis.NewClient(&options)
	defer client.Close()
	sub := client.PSubscribe(ctx, c.config.pattern)
	defer sub.Close()
	// A read is not interrupted by a context, but by closing.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	asked := false
	for {
		m, err := sub.ReceiveTimeout(ctx, c.feed.PingEvery)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			if asked {
				return errSilent
			}
			if err := sub.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			asked = true
			continue
		case err != nil:
			return fmt.Errorf("listen to %s: %w", c.config.pattern, wordless(err))
		}
		asked = false
		switch m := m.(type) {
		case *goredis.Message:
			c.receive(m.Payload)
		case *goredis.Subscription:
			c.feed.Connected()
			pause.Reset()
		default:
			c.feed.Alive()
		}
	}
}

// receive takes a message off the reader's hands.
func (c *Consumer) receive(payload string) {
	if !c.queue.put(payload) {
		c.feed.Overflow(1)
		return
	}
	c.feed.Received(1, int64(len(payload)))
}

// store decodes and stores what was received, until there is no more. Once ctx
// has ended that may take DrainFor; what is left then is lost, which is told.
func (c *Consumer) store(ctx context.Context) {
	storing, cancel := c.feed.Storing(ctx)
	defer cancel()
	var decoder celery.Decoder
	var spare []string
	var raw []byte
	for {
		messages, bytes, ok := c.queue.take(spare)
		if !ok {
			return
		}
		done, undone := 0, 0
		for i, m := range messages {
			raw = append(raw[:0], m...)
			c.feed.Add(decoder.Message(raw))
			undone++
			if !c.feed.Full() && i < len(messages)-1 {
				continue
			}
			if err := c.feed.Flush(storing, undone); err != nil {
				c.lose(len(messages)-done, err)
				return
			}
			done, undone = done+undone, 0
		}
		spare = messages
		if c.queue.done(bytes) {
			c.feed.Relieved(ingest.CauseOverflow)
		}
	}
}

// lose gives up so many messages that were taken, and all that came after them.
func (c *Consumer) lose(messages int, err error) {
	for {
		more, _, ok := c.queue.take(nil)
		if !ok {
			break
		}
		messages += len(more)
	}
	c.feed.Unstored(messages, err)
}
