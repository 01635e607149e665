// Package task holds the nouns of Daybook: Invocation, Event, State, Day and Filter.
//
// # Model
//
// An invocation of a background task is known by its task_id. Everything that
// is ever learnt about it - a worker's event, a partial record posted by a
// client, a row read back from a day file - is an Invocation value, and what
// is known of the task is the Merge of all of them. Merge is associative,
// commutative and idempotent, and the zero Invocation is its zero: the order
// in which knowledge arrives, how often it arrives, and where it was kept
// meanwhile (head, live file, sealed file) do not change the result.
//
// The heart of an Invocation is its set of transitions. The state, the time
// it finished and the worker are functions of that set (see transition.go); the
// other fields each have one stated winner (see merge.go).
//
// # Units
//
// Every time is an int64 of microseconds since the Unix epoch, UTC; 0 means
// not known. Runtimes are microseconds. Text is valid UTF-8.
//
// # What it does not do
//
// No I/O, no clocks, no goroutines, and no imports outside the standard
// library. Times are taken as the sender states them; arrival is never
// content.
package task
