package amqp

import (
	"net"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// held bounds the bytes that were received and are not acknowledged yet. The
// prefetch is a number of messages, which may be of any size, and the library
// keeps all that comes: so beyond limit nothing more is read from the socket,
// and the broker has to wait.
type held struct {
	limit int64
	sized chan struct{} // has one as soon as the size of messages is known

	mu          sync.Mutex // guards below
	bytes, peak int64
	open        chan struct{} // closed while there is room
	free        bool          // for good: it ends
	slow, fast  float64       // mean size of a message, of many and of the last
	messages    int64
}

// enough messages tell the mean of their sizes.
const enough = 200

func newHeld(limit int64) *held {
	h := &held{limit: limit, open: make(chan struct{}), sized: make(chan struct{}, 1)}
	close(h.open)
	return h
}

// add counts a message that was received.
func (h *held) add(size int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.bytes >= h.limit
	h.bytes += int64(size)
	h.peak = max(h.peak, h.bytes)
	if !was && h.bytes >= h.limit && !h.free {
		h.open = make(chan struct{})
	}
	if h.messages++; h.messages == enough {
		h.sized <- struct{}{} // it is only one
	}
	h.slow += (float64(size) - h.slow) / float64(min(h.messages, 2000))
	h.fast += (float64(size) - h.fast) / float64(min(h.messages, 100))
}

// done counts bytes of messages that were acknowledged.
func (h *held) done(bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.bytes >= h.limit
	h.bytes -= bytes
	if was && h.bytes < h.limit && !h.free {
		close(h.open)
	}
}

// release lets everything be read from now on.
func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.free && h.bytes >= h.limit {
		close(h.open)
	}
	h.free = true
}

// mean is the size of a message as of late, rather too much than too little; 0
// before there was one.
func (h *held) mean() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.slow, h.fast)
}

// room is closed while there is some.
func (h *held) room() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// take moves deliveries from the library's hands to the consumer's, and counts
// them on the way; most is the prefetch, so that it never waits.
func (h *held) take(from <-chan amqp091.Delivery, most int) <-chan amqp091.Delivery {
	to := make(chan amqp091.Delivery, most)
	go func() {
		defer close(to)
		for d := range from {
			h.add(len(d.Body))
			to <- d
		}
	}()
	return to
}

// heldConn is a connection that is not read from while too much is held.
type heldConn struct {
	net.Conn
	held *held

	mu      sync.Mutex // guards below
	silence time.Duration
}

// Read waits for room. The time for that is not the broker's: its silence
// counts from then on.
func (c *heldConn) Read(p []byte) (int, error) {
	select {
	case <-c.held.room():
		return c.Conn.Read(p)
	default:
	}
	<-c.held.room()
	c.mu.Lock()
	silence := c.silence
	c.mu.Unlock()
	if silence > 0 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(silence)) // as Read will tell
	}
	return c.Conn.Read(p)
}

// SetReadDeadline is how the library bounds the broker's silence.
func (c *heldConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.silence = 0
	if !t.IsZero() {
		c.silence = time.Until(t)
	}
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *heldConn) Close() error {
	c.held.release()
	return c.Conn.Close()
}
