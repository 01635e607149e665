// Package head keeps the recent invocations in memory, behind a write-ahead
// log (head/wal) and under hard caps.
//
// # Model
//
// An entry is one task_id with everything known of it: events merge into it.
// Finished (and given up) entries wait for the settle time and are then cut
// into a day; open ones stay, and when there are too many of them the longest
// idle are parked on disk. What is ready to be cut the head says; package
// compact does the cutting, through the methods Ready, BeginCut and FinishCut.
//
// An id that is new to the head is resolved before it becomes visible: the
// caller looks for a stored row, which becomes the base of the entry.
//
// # Promises
//
// Everything that changes the head is applied to memory and enqueued in the
// log under one lock, so that the log holds events and cuts in the order in
// which memory saw them. The caller then waits for the log and only then
// acknowledges. An event whose log write failed stays in memory: it was not
// acknowledged, and may or may not be there after a crash.
//
// # The log
//
// Gaps are held until a file has them; one that grows afterwards is held anew.
//
// Records are: event (an Invocation), block (events that came together,
// compressed), cut (cut id, day, task_ids), drop (task_ids), gap, and state (the
// next cut id, the retention floor, and before when days have been deleted). On
// replay, in order: an event is merged; a cut that its day's files know takes
// its ids out; a drop takes its ids out. What is left is resolved like new
// ids; an entry that its stored row already covers goes. Because Merge is
// idempotent, replaying too much is harmless, which is what makes the rest
// simple: a checkpoint may overlap with the records behind it, and rows that
// were cut in the middle of a replay need no cut record at all.
//
// The retention floor rises with time. One beyond today was raised by a clock that was
// ahead: it does not count, and LogFloor replaces it (floor.go).
//
// # What it does not do
//
// It opens no files, starts no goroutines and never imports blocks.
package head
