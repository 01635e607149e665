package wal

import (
	"fmt"
	"time"
)

// SyncPolicy says when a record counts as durable.
type SyncPolicy int

const (
	// SyncAlways makes Wait return after an fsync. What was acknowledged survives a power cut.
	SyncAlways SyncPolicy = iota
	// SyncInterval makes Wait return after the write; Run fsyncs every Options.SyncInterval.
	// What was acknowledged survives kill -9; a power cut costs at most about an interval.
	SyncInterval
	// SyncNever leaves fsync to rotation, Checkpoint, Sync and Close.
	SyncNever
)

// String returns the name that ParseSyncPolicy understands.
func (p SyncPolicy) String() string {
	switch p {
	case SyncAlways:
		return "always"
	case SyncInterval:
		return "interval"
	case SyncNever:
		return "never"
	}
	return fmt.Sprintf("SyncPolicy(%d)", int(p))
}

// ParseSyncPolicy is the inverse of String. An error is returned for any other text.
func ParseSyncPolicy(s string) (SyncPolicy, error) {
	for _, p := range []SyncPolicy{SyncAlways, SyncInterval, SyncNever} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("wal: sync policy %q is none of always, interval, never", s)
}

// Defaults of Options.
const (
	DefaultSegmentBytes = 16 << 20
	DefaultSyncInterval = time.Second
)

// Options are validated by Open, all at once.
type Options struct {
	// SegmentBytes: a batch that would take the segment above this size goes to a new one. A
	// batch is never split, so one that is larger makes a larger segment. 0 means
	// DefaultSegmentBytes.
	SegmentBytes int64
	// Sync is SyncAlways unless set.
	Sync SyncPolicy
	// SyncInterval is for the policy of that name. 0 means DefaultSyncInterval.
	SyncInterval time.Duration
	// FS is where the files are; nil means the operating system's.
	FS FS
	// OnSync is told how long each successful fsync of a segment took. The writer waits for it.
	OnSync func(took time.Duration)
	// OnError is told about every failed batch (whose waiters get the same error), failed
	// background fsync and, with a *RemoveError, failed clean-up. The writer waits for it; it must not call the Log.
	OnError func(err error)
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = DefaultSyncInterval
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.OnSync == nil {
		o.OnSync = func(time.Duration) {}
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

func (o Options) validate() error {
	if o.SegmentBytes < headerSize {
		return fmt.Errorf("wal: segment size of %d bytes is below the minimum of %d", o.SegmentBytes, headerSize)
	}
	if o.Sync < SyncAlways || o.Sync > SyncNever {
		return fmt.Errorf("wal: unknown sync policy %d", int(o.Sync))
	}
	if o.SyncInterval < 0 {
		return fmt.Errorf("wal: sync interval %s is negative", o.SyncInterval)
	}
	return nil
}
