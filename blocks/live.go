package blocks

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"daybook/tsdb/task"
)

const (
	// livePageBytes is measured (docs/adr/0004-block-format.md).
	livePageBytes = 4096
	// A live file's WAL is checkpointed when it has that many pages (32 MiB).
	// Cuts rewrite the same pages of rollups and of the indexes of failures, so
	// that a smaller WAL writes them to the file more often.
	liveWALPages = 8192
	// liveWALKeep is what is left of the WAL's file after a checkpoint.
	liveWALKeep = 64 << 20
	// liveCacheKiB is the writer's page cache. Keys ascend, and so only the
	// last pages of each index are hot.
	liveCacheKiB = 16 << 10
)

// Live is the file of a day that is being written: a WAL-mode database of which
// this process is the only writer. All methods may be used at the same time;
// after Close those that read or write rows return ErrFileClosed.
type Live struct {
	path string
	day  task.Day
	seq  int
	mode fileMode // of reading connections
	// readOnly: another process may write, so that what is in memory is only
	// what the file was when it was opened.
	readOnly bool
	named    bool // it has runs of names; else an index (version 2)
	short    bool // its rows may have short residues (from version 5 on)
	// firstWaits: its rollups count waits by the first rule (waitrule.go).
	firstWaits bool

	// writer and reader hold the one connection of their kind while nobody
	// uses it; they are closed by taking it out for good.
	writer chan *liveWriter
	reader chan *liveReader

	filter *bloomChain
	state  atomic.Pointer[liveState]
	// indexes are the newest states of the id runs, the newest last. The one
	// of a transaction is added before it commits.
	indexes atomic.Pointer[[]*idIndex]

	closing sync.Once
	closed  chan struct{}
}

// liveState is what is known of the file after a commit. It does not change.
type liveState struct {
	cuts           cutSet
	mask           *MaskSet
	rows           int64
	oldest, newest int64 // row times; 0 without rows
	moved          int64
	gaps           []task.Gap // gap.go
	folded         bool       // the gaps: some stand for several
	hours          hoursState // rolluphours.go
}

// ErrFileClosed is returned by the methods of a file after Close.
var ErrFileClosed = errors.New("the file is closed")

// Moved says that rows of an id in another day are superseded by the row, put
// here, that the invocation has now.
type Moved struct {
	ID   string
	From task.Day // or FromParked
	Cut  uint64   // that moved it; Apply sets it to its own
}

// Day is the day of the rows.
func (l *Live) Day() task.Day { return l.day }

// Seq is the number that makes the file's name unique.
func (l *Live) Seq() int { return l.seq }

// Path is where the file is.
func (l *Live) Path() string { return l.path }

// Name is the file's name, by which sealed files know it.
func (l *Live) Name() string { return filepath.Base(l.path) }

// Knows reports whether a cut is in the file.
func (l *Live) Knows(cut uint64) bool { return l.state.Load().cuts.has(cut) }

// LastCut is the greatest cut id in the file, 0 if there is none.
func (l *Live) LastCut() uint64 { return l.state.Load().cuts.last() }

// Masked is the set of ids whose sealed rows are hidden, as of the last cut.
func (l *Live) Masked() *MaskSet { return l.state.Load().mask }

// Rows is the number of rows.
func (l *Live) Rows() int64 { return l.state.Load().rows }

// Masks is the number of ids whose sealed rows are hidden.
func (l *Live) Masks() int64 { return l.state.Load().mask.count }

// Bounds are the oldest and newest row time, in microseconds; 0 without rows.
func (l *Live) Bounds() (oldest, newest int64) {
	s := l.state.Load()
	return s.oldest, s.newest
}

// Empty reports whether the file says nothing: no rows, no mask, nothing moved,
// no gap.
func (l *Live) Empty() bool {
	s := l.state.Load()
	return s.rows == 0 && s.mask.count == 0 && s.moved == 0 && len(s.gaps) == 0
}

// Bytes is what the file and its WAL occupy on the disk.
func (l *Live) Bytes() int64 { return physicalBytes(l.path, l.path+"-wal", l.path+"-shm") }

// MayContain reports whether a row of an id of that hash may be here; false
// is certain.
func (l *Live) MayContain(hash uint64) bool { return l.readOnly || l.filter.has(hash) }

// FilterBytes is the memory that the filter takes.
func (l *Live) FilterBytes() int64 { return l.filter.bytes() }

// index is the state of the id runs that a read transaction sees.
func (l *Live) index(top int64) (*idIndex, bool) {
	all := *l.indexes.Load()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].top == top {
			return all[i], true
		}
	}
	return nil, false
}

// pushIndex makes a state known before it commits, dropIndex takes it back.
// Only the writer calls them.
func (l *Live) pushIndex(x *idIndex) {
	all := *l.indexes.Load()
	if all[len(all)-1] == x {
		return
	}
	all = append(slices.Clone(all[max(0, len(all)-3):]), x)
	l.indexes.Store(&all)
}

func (l *Live) dropIndex(x *idIndex) {
	all := *l.indexes.Load()
	if last := len(all) - 1; last > 0 && all[last] == x {
		all = slices.Clone(all[:last])
		l.indexes.Store(&all)
	}
}

// Close checkpoints (unless it is read-only) and closes the file, once the calls under way are done.
func (l *Live) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.closed)
		r := <-l.reader
		err = r.c.close()
		if !l.readOnly {
			err = errors.Join(err, (<-l.writer).c.close())
		}
	})
	return err
}

// Remove deletes the file after Close, when no reader has it any more.
func (l *Live) Remove() error {
	return removeFiles(append(sides(l.path), l.path)...)
}
