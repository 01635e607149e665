// Package amqp listens to Celery's events on a RabbitMQ broker.
//
// # Model
//
// Workers publish to a topic exchange, and a queue bound to it keeps what was
// not consumed yet. By default the queue is a temporary one: exclusive, named
// by the server, bounded, without the five seconds after which Celery's own
// receiver loses messages; it dies with the connection. With ?queue=NAME it is
// durable and Daybook's own, and keeps events while Daybook restarts.
//
// A message is acknowledged after the Sink has stored its events, so what was
// received and not stored comes again. The number of messages that may be
// unacknowledged is all the back-pressure there is.
//
// # Gaps
//
// Without a durable queue the time without a connection is a gap. With one it
// is a gap only if the broker itself was away (Celery's events are transient
// messages, which no queue keeps over a restart) or the queue was deleted.
//
// # What it does not do
//
// It never deletes a durable queue: remove it by hand when it is not wanted any
// more. It does not change an exchange or queue that exists.
package amqp
