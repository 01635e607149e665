package wal

import "slices"

// ReplayStats says what Replay or Read found and did.
type ReplayStats struct {
	Checkpoint uint64 // number of the complete checkpoint that was used; 0 if none
	// SalvagedRecords came from a checkpoint that is damaged, because no older one could
	// stand in for it. They are part of what fn was given; others may be lost.
	SalvagedRecords int64
	Segments        int   // read
	Records         int64 // from segments
	Bytes           int64 // read, file headers included

	// TornBytes were at the end of the last segment, with no intact frame after them: the
	// rest of a batch that was not acknowledged. Replay has cut them off.
	TornBytes int64
	// AbandonedBytes belong to batches that were refused while the log was running.
	AbandonedBytes int64

	// NotUnderstood is how many records fn returned ErrNotUnderstood for. Of many, only some
	// are among Corruptions.
	NotUnderstood int64

	// Corruptions are all other bytes that could not be read, and missing files, in the order
	// of the log.
	Corruptions []*CorruptionError
	// Damaged are the paths of the files with a corruption, each once. The log leaves them
	// where they are; see "Damage" in the package comment.
	Damaged []string
	// Unknown are the paths in the directory that are not the log's; they are left alone.
	Unknown []string
}

// maxNotUnderstood bounds the findings about records that are not understood.
const maxNotUnderstood = 100

// notUnderstood notes a record; the file is among Damaged however many there are.
func (s *ReplayStats) notUnderstood(path string, f frame, err error) {
	if s.NotUnderstood++; s.NotUnderstood > maxNotUnderstood && slices.Contains(s.Damaged, path) {
		return
	}
	s.corrupt(path, f.off, f.end()-f.off, err.Error())
}

func (s *ReplayStats) corrupt(path string, offset, length int64, reason string) {
	s.missing(path, offset, length, reason)
	if !slices.Contains(s.Damaged, path) {
		s.Damaged = append(s.Damaged, path)
	}
}

func (s *ReplayStats) missing(path string, offset, length int64, reason string) {
	s.Corruptions = append(s.Corruptions, &CorruptionError{File: path, Offset: offset, Length: length, Reason: reason})
}
