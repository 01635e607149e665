// Package bench measures Daybook with the reference load (tsdb/load): ingest
// over HTTP, cuts, seals, queries, retention, restart, overload. It is what
// `daybook bench` runs.
//
// Every figure comes with a yardstick of the same run (blocks/yardstick): a
// machine that is busy slows both, so that their ratio tells more than either.
// Daemons are processes of their own, started from the same program, listening
// on the loopback address and writing into a temporary directory that goes in
// the end; what they use is read from /proc, where there is one. Cuts and seals
// are measured in this process, on day files alone.
//
// Nothing here is used by what serves.
package bench
