// Package rollup holds what is known about many invocations of one task at
// once: counters, runtime and queue-wait sketches, and the workers, queues and
// exception types they met.
//
// # Model
//
// A Rollup is a function of a multiset of invocations: those of one task whose
// row time lies in one bucket (a minute, an hour, a day), in their latest
// state, each once. Nothing of it depends on the order in which they came or on
// how they were split: Merge is associative and commutative, the zero Rollup is
// its zero, and equal multisets encode to equal bytes. That is what lets a cut
// write the rollup of its own rows, a seal recompute it from all rows, and
// verify compare the two.
//
// A Set is a bounded collection of rollups by task and bucket. Summary and
// Series turn merged rollups into what a client is shown.
//
// # What is exact
//
//   - every counter, and the sum, minimum and maximum of runtimes and waits;
//   - percentiles within 1 % of the value at their rank (Sketch.Quantile);
//   - the count of every name that a Top shows. A Top keeps TopNames names;
//     beyond that the names kept are chosen by hash and not by count, because
//     only a choice that ignores counts is independent of order. The others
//     are counted together, so that totals stay exact.
//
// # Taking away
//
// A row that is replaced has to leave the rollup it was added to. There are no
// negative rollups: what left a bucket is added up in a second, ordinary Rollup,
// and Subtract answers with the difference. Counters, sums, percentiles and
// names come out as if the row had never been there. Minimum and maximum do
// too, unless the removed value was one: then they are bounds that lie in the
// same sketch bin, 2 % wide, as the true value (docs/adr/0007-rollups.md).
//
// # What it does not do
//
// No I/O, no clock, no goroutines, no locks: a value has one user at a time.
// The bytes are specified in docs/format/rollup.md.
package rollup
