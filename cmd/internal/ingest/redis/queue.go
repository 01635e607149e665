package redis

import "sync"

// queue holds messages between the reader and the storer, bounded in bytes.
type queue struct {
	limit int64
	ready chan struct{} // capacity 1: there is something to take

	mu       sync.Mutex // guards below
	messages []string
	bytes    int64
	closed   bool
}

func newQueue(limit int64) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1)}
}

// perMessage is what a message costs beside its text.
const perMessage = 32

// put reports false if there is no room. One message of any size has room in
// an empty queue.
func (q *queue) put(m string) bool {
	q.mu.Lock()
	size := int64(len(m)) + perMessage
	if q.bytes > 0 && q.bytes+size > q.limit {
		q.mu.Unlock()
		return false
	}
	q.messages = append(q.messages, m)
	q.bytes += size
	q.mu.Unlock()
	q.wake()
	return true
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// close lets take report the end once all is taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
}

// take returns everything that waits, in order, and reuses into. It blocks
// until there is something; ok is false at the end. The room of what was taken
// is free only after done: it is still in memory.
func (q *queue) take(into []string) (messages []string, bytes int64, ok bool) {
	for {
		q.mu.Lock()
		if len(q.messages) > 0 {
			messages, bytes = q.messages, q.bytes
			clear(into)
			q.messages = into[:0]
			q.mu.Unlock()
			return messages, bytes, true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil, 0, false
		}
		<-q.ready
	}
}

// done gives the room of taken messages back and reports whether most of it is
// free again.
func (q *queue) done(bytes int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	return q.bytes <= q.limit/4
}
