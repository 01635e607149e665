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

// parkedTables: rows in the order of listings. hash is the id's hash with its
// sign bit flipped, so that SQLite's signed order is the unsigned one.
const parkedTables = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE cut (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE parked (at INTEGER, hash INTEGER, id TEXT, data BLOB NOT NULL, PRIMARY KEY (at, hash, id)) STRICT, WITHOUT ROWID;
CREATE INDEX parked_hash ON parked (hash);
`

// Parked is the file of open invocations that do not fit into memory. All
// methods may be used at the same time; they take turns.
type Parked struct {
	path     string
	readOnly bool
	changes  bool            // another process may write
	hidden   map[string]bool // by Supersede, before anything is asked
	// conn holds the connection while nobody uses it.
	conn chan *conn
	sums parkedSums // of who has the connection
	// changed counts the transactions that changed rows; of who has the connection.
	changed uint64
	batches int64  // read of what is also elsewhere; of who has the connection
	between func() // for tests: called between two batches, without the connection
	filter  atomic.Pointer[bloomChain]
	state   atomic.Pointer[parkedState]
	damage  atomic.Pointer[DamagedError] // see Damage

	closing sync.Once
	closed  chan struct{}
}

type parkedState struct {
	cuts  cutSet
	rows  int64
	added int64 // ids in the filter, those of rows that are gone included
}

// parkedTx is the state that a transaction makes.
type parkedTx struct {
	parkedState
	delta parkedDelta
}

func flipHash(hash uint64) int64 { return int64(hash ^ 1<<63) }

// CreateParked creates a file in dir and opens it, as CreateLive does.
func CreateParked(dir string, seq int) (*Parked, error) {
	path := filepath.Join(dir, parkedName(seq))
	schema := parkedTables + fmt.Sprintf("INSERT INTO meta (key, value) VALUES ('%s', '%s'), ('%s', %d), ('%s', %d);",
		metaKind, kindParked, metaFormat, FormatVersion, metaSeq, seq)
	if err := createFile(path, schema); err != nil {
		return nil, fmt.Errorf("creating a file for parked invocations: %w", err)
	}
	return OpenParked(path)
}

// OpenParked opens a file that CreateParked made.
func OpenParked(path string) (*Parked, error) { return openParked(path, modeWrite) }

func openParked(path string, mode fileMode) (*Parked, error) {
	if _, ok := ParseParkedName(filepath.Base(path)); !ok {
		return nil, &ForeignError{path, "this is not the name of a file of parked invocations"}
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	c, err := openFile(path, mode)
	if err != nil {
		return nil, openError(path, err)
	}
	p := &Parked{path: path, readOnly: mode != modeWrite, changes: mode == modeRead, sums: parkedSums{limit: maxParkedBytes, most: maxParkedNames}, conn: make(chan *conn, 1), closed: make(chan struct{}), hidden: map[string]bool{}}
	err = p.load(c)
	if err == nil && !p.readOnly {
		err = writable(c, path)
	}
	if err != nil {
		return nil, errors.Join(openError(path, err), c.close())
	}
	p.conn <- c
	return p, nil
}

func (p *Parked) load(c *conn) error {
	ctx := context.Background()
	if err := checkMeta(ctx, c, p.path, kindParked, 0); err != nil {
		return err
	}
	if !p.readOnly {
		if err := c.script(fmt.Sprintf("PRAGMA main.wal_autocheckpoint = %d; PRAGMA main.journal_size_limit = %d; PRAGMA main.cache_size = -%d; PRAGMA temp_store = MEMORY",
			liveWALPages, liveWALKeep, liveCacheKiB)); err != nil {
			return err
		}
	}
	cuts, err := loadCuts(ctx, c, "main")
	if err != nil {
		return err
	}
	p.state.Store(&parkedState{cuts: cuts})
	return p.rebuild(ctx, c)
}

// rebuild makes the filter anew from the rows, and counts them.
func (p *Parked) rebuild(ctx context.Context, c *conn) error {
	s := *p.state.Load()
	f := newBloomChain(s.rows)
	s.rows = 0
	err := c.each(ctx, 1, func(vals []driver.Value) error {
		h, ok := vals[0].(int64)
		if !ok {
			return errRow
		}
		f.add(uint64(h) ^ 1<<63)
		s.rows++
		return nil
	}, "SELECT hash FROM parked")
	if err != nil {
		return err
	}
	s.added = s.rows
	p.filter.Store(f)
	p.state.Store(&s)
	return nil
}

func (p *Parked) take(ctx context.Context) (*conn, error) {
	select {
	case <-p.closed:
		return nil, ErrFileClosed
	default:
	}
	select {
	case c := <-p.conn:
		return c, nil
	case <-p.closed:
		return nil, ErrFileClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// with runs fn with the connection.
func (p *Parked) with(ctx context.Context, fn func(c *conn) error) error {
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer func() { p.conn <- c }()
	return fn(c)
}

// Path is where the file is.
func (p *Parked) Path() string { return p.path }

// Name is the file's name.
func (p *Parked) Name() string { return filepath.Base(p.path) }

// Knows reports whether a cut is in the file.
func (p *Parked) Knows(cut uint64) bool { return p.state.Load().cuts.has(cut) }

// Rows is the number of parked invocations.
func (p *Parked) Rows() int64 { return p.state.Load().rows }

// Bytes is what the file and its WAL occupy on the disk.
func (p *Parked) Bytes() int64 { return physicalBytes(p.path, p.path+"-wal", p.path+"-shm") }

// MayContain reports whether an id of that hash may be parked; false is certain.
func (p *Parked) MayContain(hash uint64) bool { return p.readOnly || p.filter.Load().has(hash) }

// Put parks invocations in one transaction that is on disk when it returns
// nil; an invocation replaces the one of its id. A cut that is known already
// is done.
func (p *Parked) Put(ctx context.Context, cut uint64, invs []*task.Invocation) error {
	if err := checkCut(cut); err != nil {
		return err
	}
	return p.change(ctx, func(c *conn, s *parkedTx) error {
		if s.cuts.has(cut) {
			return nil
		}
		// The last one of an id stands.
		byID := make(map[string]*task.Invocation, len(invs))
		for _, v := range invs {
			if err := task.CheckID(v.TaskID); err != nil {
				return err
			}
			byID[v.TaskID] = v
		}
		order := make([]*task.Invocation, 0, len(byID))
		for _, v := range byID {
			order = append(order, v)
		}
		slices.SortFunc(order, func(a, b *task.Invocation) int { return a.Key().Compare(b.Key()) })
		var data []byte
		var err error
		for _, v := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if data, err = p.putRow(ctx, c, s, v, data); err != nil {
				return err
			}
		}
		cuts, r := s.cuts.with(cutRange{cut, cut})
		s.cuts = cuts
		return storeCut(c, r)
	})
}

// putRow stores one in place of the row that there is of its id. data is a
// buffer, which it returns.
func (p *Parked) putRow(ctx context.Context, c *conn, s *parkedTx, v *task.Invocation, data []byte) ([]byte, error) {
	k := v.Key()
	if err := p.deleteRow(ctx, c, s, k.Hash, k.ID); err != nil {
		return data, err
	}
	data = task.AppendBinary(data[:0], v)
	if err := c.exec("INSERT INTO parked (at, hash, id, data) VALUES (?, ?, ?, ?)", k.At, flipHash(k.Hash), k.ID, data); err != nil {
		return data, err
	}
	p.filter.Load().add(k.Hash)
	p.sums.comes(&s.delta, v)
	s.rows++
	s.added++
	return data, nil
}

// TakeIn merges what another file has, rows and cuts, in one transaction. The
// other file is as it was. Doing it twice is doing it once.
func (p *Parked) TakeIn(ctx context.Context, other *Parked) error {
	return p.change(ctx, func(c *conn, s *parkedTx) error {
		var data []byte
		err := other.Scan(ctx, nil, true, func(v *task.Invocation) (bool, error) {
			known, err := readParked(ctx, c, p.path, "WHERE hash = ? AND id = ?", flipHash(task.HashID(v.TaskID)), v.TaskID)
			if err != nil {
				return false, err
			}
			for i := range known {
				v.Merge(&known[i])
			}
			data, err = p.putRow(ctx, c, s, v, data)
			return true, err
		})
		if err == nil {
			err = other.Damage()
		}
		if err != nil {
			return err
		}
		for _, r := range other.state.Load().cuts {
			s.cuts, r = s.cuts.with(r)
			if err := storeCut(c, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Delete removes invocations; ids that are not parked are no error.
func (p *Parked) Delete(ctx context.Context, ids []string) error {
	return p.change(ctx, func(c *conn, s *parkedTx) error {
		for _, id := range ids {
			if err := p.deleteRow(ctx, c, s, task.HashID(id), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// change runs one transaction.
func (p *Parked) change(ctx context.Context, fn func(c *conn, s *parkedTx) error) error {
	return p.write(ctx, func(c *conn) error {
		s := parkedTx{parkedState: *p.state.Load()}
		if err := c.transaction(func() error { return fn(c, &s) }); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		p.state.Store(&s.parkedState)
		p.sums.apply(&s.delta)
		p.changed++
		// Invocations come and go: a filter of mostly gone ones is made anew.
		if s.added > 4*s.rows+firstBloomIDs {
			return p.rebuild(ctx, c)
		}
		return nil
	})
}

// write is with, of a file that may be written.
func (p *Parked) write(ctx context.Context, fn func(c *conn) error) error {
	if p.readOnly {
		return ErrFileReadOnly
	}
	return p.with(ctx, fn)
}

func (p *Parked) deleteRow(ctx context.Context, c *conn, s *parkedTx, hash uint64, id string) error {
	if !p.filter.Load().has(hash) {
		return nil
	}
	var vals [2]driver.Value
	found, err := c.queryRow(ctx, vals[:], "SELECT at, data FROM parked WHERE hash = ? AND id = ?", flipHash(hash), id)
	if err != nil || !found {
		return err
	}
	if at, ok := vals[0].(int64); ok {
		p.sums.leaves(&s.delta, task.Key{At: at, Hash: hash, ID: id}, vals[1])
	}
	s.rows--
	return c.exec("DELETE FROM parked WHERE at = ? AND hash = ? AND id = ?", vals[0], flipHash(hash), id)
}

// Close closes the file, once the calls under way are done.
func (p *Parked) Close() error {
	var err error
	p.closing.Do(func() {
		close(p.closed)
		err = (<-p.conn).close()
	})
	return err
}

// Remove deletes the file after Close.
func (p *Parked) Remove() error { return removeFiles(append(sides(p.path), p.path)...) }

// Checkpoint is Live.Checkpoint.
func (p *Parked) Checkpoint(ctx context.Context) error {
	return p.write(ctx, func(c *conn) error {
		if err := checkpoint(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		return nil
	})
}
