// Package units reads and prints durations and sizes as flags and parameters
// write them.
//
// # Model
//
// A duration is Prometheus': units ms, s, m, h, d, w and y, greatest first,
// each at most once, such as 36h or 1d12h; a day has 24 hours and a year 365
// days. A size is a number with KB, MB, GB, TB (powers of 1000) or KiB, MiB,
// GiB, TiB (powers of 1024), or a plain number of bytes.
//
// # Promises
//
// What is printed reads back as the same value. What does not fit 63 bits is
// refused.
package units
