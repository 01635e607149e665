// Package tsdb is the facade of the engine: one DB over a data directory.
//
// # Model
//
// A DB takes invocations in through Append, keeps them in the head behind a
// write-ahead log, and has them cut into one SQLite file per UTC day. Select,
// Get and Blocks answer over all of it, each task_id once and in its latest
// state, whatever is being cut, sealed or deleted meanwhile.
//
// Open takes the directory's lock and reads the catalog; it starts nothing.
// Run replays the log and then cuts, seals and deletes until its context
// ends. Until the log is replayed, Append and the queries return ErrNotReady
// and Ready tells the progress. Close cuts what is finished and lets go of the
// directory.
//
// OpenReadOnly serves a directory without a lock, without ingest and without
// ageing anything out: for tools beside a running daemon, for restored
// backups and for a colleague's day files.
//
// # Promises
//
// Append returns nil only when every record is logged (by default: fsynced),
// and an acknowledged record is visible to the queries that start later.
//
// # What it does not do
//
// No HTTP, no flags, no broker. It trusts the clock it is given only so far: a
// jump of it pauses deletion.
package tsdb
