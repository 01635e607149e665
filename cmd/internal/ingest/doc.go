// Package ingest is what the consumers of Celery's brokers have in common:
// ingest/redis and ingest/amqp are built on it.
//
// # Model
//
// A consumer keeps one connection to one broker. What it receives goes through
// a Feed, which decodes messages into events, hands them to a Sink in batches,
// and keeps the account: what was stored, ignored and refused, whether the
// broker is there, when it was not (a Gap), and what its workers say about
// themselves.
//
// # Promises
//
//   - Run returns only when its context ends. A broker that is away, a wrong
//     password, a sink that cannot store: all are retried, with a growing and
//     jittered pause, and show in Status meanwhile.
//   - No message stops a consumer. What cannot be decoded is counted, and
//     sampled into the log at a bounded rate.
//   - Time that was not listened to is told to Options.Gap, also while it goes
//     on, always with the same source, cause and start.
//   - Passwords are in no log line, error, gap or status.
//
// # Losses at the source
//
// A worker's heartbeat says how many tasks it has started; its growth, less the
// task-started events that arrived, is what the worker lost (workers.go).
//
// # What it does not do
//
// It does not refuse events by their age, keep a log, or know metrics: the
// Sink and whoever reads Status do.
package ingest
