package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-kit/log"

	"daybook/compact"
	"daybook/head"
	"daybook/tsdb/task"
)

// listTries bounds how often a directory is read again because its daemon has
// changed the set of files meanwhile.
const listTries = 40

// OpenReadOnly opens a data directory for reading only: one that a daemon is
// using, a backup, or a directory of copied day files. It takes no lock and
// changes nothing. The DB is ready at once and shows the directory as it was
// then. Of the options only Dir, Logger, Now, OpenTimeout, FilterBytes and Legacy
// are used. A directory in which nothing is Daybook's is refused, unless there are
// legacy files to be read.
func OpenReadOnly(o Options) (*DB, error) {
	if o.Dir == "" {
		return nil, &OptionsError{errors.New("the data directory (--storage.path) is empty")}
	}
	if len(o.Legacy) == 0 {
		if err := wantData(o.Dir); err != nil {
			return nil, err
		}
	}
	o.defaults()
	for try := 1; ; try++ {
		before, err := compact.Listing(o.Dir)
		if err != nil {
			return nil, err
		}
		db, err := openReadOnly(o)
		after, listErr := compact.Listing(o.Dir)
		if listErr != nil || before == after || try == listTries {
			return db, errors.Join(err, listErr)
		}
		if db != nil {
			err = db.release()
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
}

func openReadOnly(o Options) (db *DB, err error) {
	db = &DB{courtesy: NewCourtesy(o.cores()), opts: o, logger: log.With(o.Logger, "component", "tsdb"), readOnly: true, large: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.release())
			db = nil
		}
	}()
	if err := db.openFiles(); err != nil {
		return db, err
	}
	if err := db.readLog(); err != nil {
		return db, err
	}
	// The log of a backup is older than its files.
	db.head.CutSeen(db.compact.LastCut())
	if err := db.resolveReplayed(context.Background()); err != nil {
		return db, err
	}
	db.ready.Store(true)
	return db, nil
}

// readLog builds the head from the log; a directory of day files has none.
func (db *DB) readLog() error {
	dir := filepath.Join(db.opts.Dir, "wal")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		db.head = head.New(nil, db.headOptions())
		return nil
	}
	h, size, err := head.ReadLog(dir, db.headOptions(), func(cut uint64, d task.Day) bool { return db.compact.Knows(cut, d, -1<<30) })
	if err != nil {
		return fmt.Errorf("reading the log beside the day files: %w", err)
	}
	db.head, db.logRead = h, size
	return nil
}
