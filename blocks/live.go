package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
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
	// Cuts rewrite the same leaf pages of the name index, so that a smaller
	// WAL writes them to the file more often.
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
}

// ErrFileClosed is returned by the methods of a file after Close.
var ErrFileClosed = errors.New("the file is closed")

// Moved says that rows of an id in another day are superseded by the row, put
// here, that the invocation has now.
type Moved struct {
	ID   string
	From task.Day
	Cut  uint64 // that moved it; Apply sets it to its own
}

// CreateLive creates the file of a day in dir and opens it. It is an error if
// anything has that name; a crash leaves nothing but a .tmp file.
func CreateLive(dir string, day task.Day, seq int) (*Live, error) {
	path := filepath.Join(dir, liveName(day, seq))
	if err := createFile(path, liveSchema(day, seq)); err != nil {
		return nil, fmt.Errorf("creating a live file: %w", err)
	}
	return OpenLive(path)
}

// liveSchema fills a new live file.
func liveSchema(day task.Day, seq int) string {
	return tables + rollupTable + liveTables + rowIndexes + stateRows() + viewSQL(day) +
		fmt.Sprintf("INSERT INTO meta (key, value) VALUES ('%s', '%s'), ('%s', %d), ('%s', '%s'), ('%s', %d);",
			metaKind, kindLive, metaFormat, FormatVersion, metaDay, day, metaSeq, seq)
}

// createFile makes a WAL-mode database of the format under its name. It is
// complete before it has the name, and its first page tells what it is without
// the WAL.
func createFile(path, schema string) error {
	if err := absent(path); err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := removeFiles(append(sides(tmp), tmp)...); err != nil {
		return err
	}
	c, err := openFile(tmp, modeCreate)
	if err != nil {
		return err
	}
	err = c.script(fmt.Sprintf("PRAGMA main.page_size = %d; PRAGMA main.application_id = %d; PRAGMA main.user_version = %d;",
		livePageBytes, applicationID, FormatVersion))
	if err == nil {
		err = c.transaction(func() error { return c.script(schema) })
	}
	if err == nil {
		err = c.script("PRAGMA main.journal_mode = WAL")
	}
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	return publish(tmp, path)
}

// OpenLive opens a file that CreateLive made. What is not one is refused with
// a typed error (fileerror.go) and not changed.
func OpenLive(path string) (*Live, error) {
	day, seq, ok := ParseLiveName(filepath.Base(path))
	if !ok {
		return nil, &ForeignError{path, "this is not the name of a live file"}
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	l := &Live{path: path, day: day, seq: seq, mode: modeRead, writer: make(chan *liveWriter, 1), reader: make(chan *liveReader, 1), closed: make(chan struct{})}
	w, err := l.openWriter()
	if err != nil {
		return nil, openError(path, err)
	}
	c, err := openFile(path, modeRead)
	if err != nil {
		return nil, errors.Join(openError(path, err), w.c.close())
	}
	l.writer <- w
	l.reader <- &liveReader{c: c, chunks: newChunkReader(1 << 20)}
	return l, nil
}

// openWriter opens the writing connection and reads the state.
func (l *Live) openWriter() (w *liveWriter, err error) {
	c, err := openFile(l.path, modeWrite)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	// An INSERT of many rows keeps the pages it changes until it is through; in a
	// temporary file that costs a third of the speed.
	if err := c.script(fmt.Sprintf("PRAGMA main.wal_autocheckpoint = %d; PRAGMA main.journal_size_limit = %d; PRAGMA main.cache_size = -%d; PRAGMA temp_store = MEMORY",
		liveWALPages, liveWALKeep, liveCacheKiB)); err != nil {
		return nil, err
	}
	return l.load(c)
}

// load reads the state of the file, and what a writer needs.
func (l *Live) load(c *conn) (w *liveWriter, err error) {
	ctx := context.Background()
	if err := checkMeta(ctx, c, l.path, kindLive, l.day); err != nil {
		return nil, err
	}
	w = &liveWriter{l: l, c: c, rows: newRowInserter()}
	s := &liveState{}
	if s.cuts, err = loadCuts(ctx, c, "main"); err != nil {
		return nil, err
	}
	if s.mask, err = loadMask(ctx, c); err != nil {
		return nil, err
	}
	if w.dicts, err = loadDicts(ctx, c); err != nil {
		return nil, err
	}
	var vals [2]driver.Value
	if _, err = c.queryRow(ctx, vals[:], "SELECT (SELECT count(*) FROM invocation), (SELECT count(*) FROM moved)"); err != nil {
		return nil, err
	}
	s.rows, _ = vals[0].(int64)
	s.moved, _ = vals[1].(int64)
	if _, err = c.queryRow(ctx, vals[:1], "SELECT ifnull(max(id), 0) FROM chunk"); err != nil {
		return nil, err
	}
	w.chunk, _ = vals[0].(int64)
	if s.oldest, s.newest, err = rowBounds(ctx, c, l.day); err != nil {
		return nil, err
	}
	l.filter = newBloomChain(s.rows)
	if w.ids, err = loadIDs(ctx, c, l.filter.add); err != nil {
		return nil, err
	}
	l.indexes.Store(&[]*idIndex{w.ids})
	l.state.Store(s)
	return w, nil
}

// rowBounds are the row times of the first and the last row of the main
// schema; 0 without rows.
func rowBounds(ctx context.Context, c *conn, day task.Day) (oldest, newest int64, err error) {
	var vals [2]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT (SELECT min(key) FROM invocation), (SELECT max(key) FROM invocation)"); err != nil {
		return 0, 0, err
	}
	first, ok1 := vals[0].(int64)
	last, ok2 := vals[1].(int64)
	if !ok1 || !ok2 {
		return 0, 0, nil
	}
	return keyTime(day, first), keyTime(day, last), nil
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

// Empty reports whether the file says nothing: no rows, no mask, nothing moved.
func (l *Live) Empty() bool {
	s := l.state.Load()
	return s.rows == 0 && s.mask.count == 0 && s.moved == 0
}

// Bytes is what the file and its WAL occupy on the disk.
func (l *Live) Bytes() int64 { return physicalBytes(l.path, l.path+"-wal", l.path+"-shm") }

// MayContain reports whether a row of an id of that hash may be here; false
// is certain.
func (l *Live) MayContain(hash uint64) bool { return l.readOnly || l.filter.has(hash) }

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
