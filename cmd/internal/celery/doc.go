// Package celery understands Celery's event protocol: bytes in, task.Event out.
//
// # Model
//
// What travels is a message: on Redis a JSON envelope around a body
// (Decoder.Message), on AMQP the body itself with its content type (Decoder.Body).
// A body is one event, an object, or a batch, an array of them. Every event
// becomes one Item, which is a task event, a worker's sign of life, something
// that Daybook has no use for (Ignored), or an error. Celery 4 and 5 say the
// same things in the same words.
//
// # Promises
//
//   - An event that cannot be understood costs nobody but itself: neighbours in
//     a batch are kept, even beside the bare NaN that Python writes and that is
//     no JSON.
//   - No input makes this package panic or allocate beyond a small multiple of
//     its length.
//   - Times are the timestamp as sent. Celery's own receiver shifts it by the
//     worker's utcoffset, hours wrong; the clock is never used.
//   - Only JSON is decoded. A pickle from the network is a program, and is
//     refused with a *SerializerError.
//
// # How it is fast
//
// A scanner walks the bytes once and remembers where the values of the known
// keys lie (scan.go). Whatever it does not like, an escaped key or nesting too
// deep, goes the slow way over encoding/json (slow.go), and a fuzz test holds
// the two to the same answer. A Decoder keeps buffers and the texts that every
// event repeats: names of tasks, workers and queues.
//
// # What it does not do
//
// No network, no clock, no limits on the length of texts (task.Event.Invocation
// has them), and no refusal of events that are too old or too new.
package celery
