// Package wal is an append-only log of byte records, in segments, with checkpoints. It knows
// nothing of what the records mean and imports nothing of the module. The format is specified in
// docs/format/wal.md; docs/adr/0002-own-log.md says why the log is our own.
//
// # Model
//
// A directory holds segments (00000012) and at most one checkpoint that counts
// (checkpoint.00000012: it stands for everything before segment 12). Records go to the last
// segment. Replay gives the records of the newest complete checkpoint, then those of every later
// segment, in the order in which they were enqueued.
//
// Writing has two halves. Enqueue fixes the order and copies; it does no I/O, so it is called
// under the mutex that guards the state the records describe. Wait, called without that mutex,
// returns when the records are durable: the first waiter writes and fsyncs for all that is pending
// (a batch), the others wait for it. WaitContext gives up when its context ends, while a goroutine
// goes on with the write; else there is none but the caller's. Run is only needed for
// SyncInterval. The memory of what is pending is bounded by the caller, who sees PendingBytes and Stalled.
//
// # Promises
//
//   - A record whose Wait returned nil is replayed, until a checkpoint replaces it: after kill -9
//     under every policy, after a power cut under SyncAlways.
//   - If B is acknowledged and A was enqueued before B, then A is durable too, or A's Wait returns
//     an error, whenever it is called.
//   - A replay never gives a record that was not enqueued, and never changes the order.
//   - A batch that cannot be written or fsynced is refused: everybody in it gets the error, with
//     the cause for errors.Is. Everything enqueued before and not yet durable was in that batch.
//     Its records may or may not be replayed after a crash that follows at once; once a later
//     batch was acknowledged they are gone for good, unless a checkpoint holds them.
//   - The log recovers by itself: the next batch is tried afresh. After a failed fsync the file is
//     never written again, the next segment takes over.
//   - Only a checkpoint removes segments with records, after it is complete and durable. What is
//     damaged is never deleted.
//
// # What the caller does
//
// A caller who applies records to memory before they are durable has, after a refused batch,
// something in memory that the log has not, and later records may build on it. NeedsCheckpoint says
// so. The next Checkpoint of that memory repairs it; until then a crash forgets the refused
// records, which were never acknowledged, and replays the later ones without them.
//
// Replaying a record over a state that already has its effect must be harmless, because a
// checkpoint overlaps the beginning of its segment.
//
// # Crashes
//
//	when                                 what is left                       what Open or Replay does
//	batch half written                   a torn end of the last segment     cuts it off, counts TornBytes
//	batch written, not fsynced           the same, or zeros, or all of it   the same; whole records are replayed
//	batch refused, next segment not      the segment, perhaps with the      replays what is whole, cuts off
//	  begun                                batch, whole or in part            the rest
//	batch refused, next segment begun    bytes that its header disowns      skips them: AbandonedBytes
//	segment being made                   00000013.tmp                       removes it
//	segment renamed, name not durable    an empty segment, or none          either is right
//	checkpoint being written             checkpoint.00000013.tmp            removes it; the old one counts
//	checkpoint renamed, name not durable the new one, or the old one with   uses what is there
//	                                       all its segments
//	checkpoint durable, old files not    both                               uses the new one; the next
//	  removed                                                                 checkpoint removes the rest
//	Replay cutting off a torn end        it is cut off, or not              cuts it off
//
// After a replay, writing begins on a new segment: of a file whose last pages may never have
// reached the disk nothing more is asked than to be read.
//
// # Damage
//
// Bytes that are no frame are the torn end only if they are in the last segment and no intact
// frame follows them, be they zeros, garbage or half a frame. Everywhere else they are damage: the
// intact frames before and after are replayed, and the place is reported in
// ReplayStats.Corruptions, as is a missing segment. (A power cut during a large batch may write
// its later pages and not its earlier ones. That looks like damage and is reported as such,
// because nobody can tell whether the batch had been acknowledged.)
//
// A checkpoint counts only with its trailer. When the newest is damaged, an older one or the
// beginning of the log stands in if every segment since is there; if not, what can be read of the
// damaged one is replayed where it belongs and counted as SalvagedRecords.
//
// Files with damage are listed in ReplayStats.Damaged and stay in place until the next checkpoint
// makes them superfluous. The caller may move them away, best right after a checkpoint or by a
// link, since a segment that is gone before is reported as missing. What is still there then gets
// the suffix ".damaged" and is left alone.
//
// An I/O error is not damage: Replay returns it and can be called again.
//
// # Not done here
//
// No lock against a second process, no compression, no bound on memory or disk, no atomicity of
// the records of one Enqueue, no encryption.
package wal
