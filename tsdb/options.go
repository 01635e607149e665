package tsdb

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"daybook/head/wal"
)

// Options configure Open. The zero value of a field marked so takes its
// default; DefaultOptions has them all.
type Options struct {
	Dir    string           // the data directory, created if missing
	Logger log.Logger       // nil discards
	Now    func() time.Time // nil is time.Now
	// Metrics is where the engine's metrics are registered; nil is nowhere.
	Metrics prometheus.Registerer
	By      string // who seals days: name and version, for the files' meta
	Version string // of the program, for the same

	HeadMaxRecords int64 // hard cap
	HeadMaxBytes   int64 // hard cap, decoded bodies in flight included
	Cores          int   // that Append leaves one of to questions; 0 is GOMAXPROCS
	FilterBytes    int64 // resident part of the id filters of all days
	OnOverflow     OverflowPolicy
	CutInterval    time.Duration
	Settle         time.Duration // a finished invocation waits this long for stragglers
	OpenTimeout    time.Duration // after its last event an open invocation is given up

	Legacy         []string // pre-partition databases to attach read-only
	LegacyDelete   bool     // delete such a file when it has aged out, instead of only detaching it
	LegacyOptional bool     // start without a file that cannot be attached

	WALSync         string // always, interval or never
	WALSyncInterval time.Duration
	WALMaxBytes     int64 // 0: 1 GiB, or an eighth of the file system or of RetentionSize if that is less

	SealDelay time.Duration // after UTC midnight
	MaxFuture time.Duration // events further ahead are refused
	MaxPast   time.Duration // older events are refused, also without retention by age
	// DetailRate is how many invocations of one task in a minute keep their
	// details; args, kwargs and result of further successes are left out. 0 is off.
	DetailRate    int
	RetentionTime time.Duration // 0 keeps for ever
	RetentionSize int64         // bytes of everything under Dir; 0 is no cap
	DiskUsage     float64       // percent of the file system in use at which the oldest day goes; 0 is no limit

	// For tests: compact.Options.Step, where the log is, the size of its
	// segments, and how long a disk may take that stalls.
	step                func(string) error
	walFS               wal.FS
	walSegment          int64
	stallAfter, logWait time.Duration
}

// DefaultOptions are the defaults of the contract.
func DefaultOptions() Options {
	return Options{
		HeadMaxRecords: 200_000, HeadMaxBytes: 128 << 20, FilterBytes: 256 << 20, OnOverflow: OverflowDropOldest,
		CutInterval: 10 * time.Second, Settle: 2 * time.Second, OpenTimeout: 24 * time.Hour,
		WALSync: "always", WALSyncInterval: time.Second,
		SealDelay: time.Hour, MaxFuture: time.Hour, MaxPast: 400 * 24 * time.Hour, RetentionTime: 15 * 24 * time.Hour, DiskUsage: 90,
	}
}

// minRetentionSize leaves room for the log and a live file.
const minRetentionSize = 16 << 20

// Validate reports everything that is wrong at once. Open does so by itself.
func (o *Options) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(o.Dir == "", "the data directory (--storage.path) is empty")
	bad(o.HeadMaxRecords < 1, "--head.max-records is %d, must be at least 1", o.HeadMaxRecords)
	bad(o.HeadMaxBytes < 1<<20, "--head.max-bytes is %d, must be at least 1MiB", o.HeadMaxBytes)
	bad(o.FilterBytes < 0, "--head.filter-bytes is negative")
	bad(o.OnOverflow != OverflowDropOldest && o.OnOverflow != OverflowReject, "--head.on-overflow is %q, want drop-oldest or reject", o.OnOverflow)
	bad(o.CutInterval <= 0, "--head.cut-interval is %s, must be more than 0", o.CutInterval)
	bad(o.Settle < 0, "--head.settle is negative")
	bad(o.OpenTimeout <= 0, "--head.open-timeout is %s, must be more than 0", o.OpenTimeout)
	bad(o.WALSync != "always" && o.WALSync != "interval" && o.WALSync != "never", "--wal.sync is %q, want always, interval or never", o.WALSync)
	bad(o.WALSync == "interval" && o.WALSyncInterval <= 0, "--wal.sync-interval is %s, must be more than 0", o.WALSyncInterval)
	bad(o.WALMaxBytes < 0, "--wal.max-bytes is negative")
	bad(o.SealDelay < 0, "--seal.delay is negative")
	bad(o.MaxFuture < 0, "--ingest.max-future is negative")
	bad(o.MaxPast <= 0, "--ingest.max-past is %s, must be more than 0", o.MaxPast)
	bad(o.DetailRate < 0, "--ingest.detail-rate is negative")
	bad(o.RetentionTime < 0, "--retention.time is negative")
	bad(o.RetentionSize < 0 || o.RetentionSize > 0 && o.RetentionSize < minRetentionSize, "--retention.size is %d bytes, must be 0 (off) or at least %d", o.RetentionSize, minRetentionSize)
	bad(o.RetentionSize > 0 && o.WALMaxBytes > o.RetentionSize/2, "--wal.max-bytes is %d and --retention.size %d: the log alone may take more than half of it; lower the one or raise the other", o.WALMaxBytes, o.RetentionSize)
	bad(o.DiskUsage < 0 || o.DiskUsage > 100, "--retention.disk-usage is %g, must be a percentage from 0 (off) to 100", o.DiskUsage)
	return errors.Join(errs...)
}
