package tsdb

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// SQL is a read-only SQL session over a range: see blocks.SQL.
type SQL struct {
	*blocks.SQL
	view    *blocks.View
	release func()
	db      *DB
	filter  task.Filter
}

// ErrFilesChanged is returned by OpenSQL when a file went away while the files
// were attached: open the DB again.
var ErrFilesChanged = errors.New("the set of files changed meanwhile")

// OpenSQL attaches all files that have a part in a range of row time, in
// microseconds (to 0 is no end), behind one view with each task_id once. The
// error is ErrFilesChanged, or a *blocks.TooManyFilesError.
func (db *DB) OpenSQL(ctx context.Context, from, to int64) (*SQL, error) {
	if err := db.usable(); err != nil {
		return nil, err
	}
	snap := db.head.Snapshot() // before the files: rows move from here to there
	s := &SQL{db: db, view: db.catalog.View(), filter: task.Filter{From: from, To: to}}
	files, done := db.legacy.use()
	s.release = func() {
		done()
		s.view.Release()
	}
	o := blocks.SQLOptions{From: from, To: to}
	for _, f := range files {
		if f.newest >= from && (to == 0 || f.oldest < to) {
			o.Legacy = append(o.Legacy, f.Legacy)
		}
	}
	o.Hidden = func(ctx context.Context, l *blocks.Legacy, id string) (bool, error) {
		i := slices.IndexFunc(files, func(f *legacyFile) bool { return f.Legacy == l })
		return db.knownTo(ctx, files[:i], id)
	}
	o.Memory = func(yield func(*task.Invocation, error) bool) {
		for _, v := range snap.All() {
			if !yield(v, nil) {
				return
			}
		}
		parked := db.compact.Parked()
		if parked == nil {
			return
		}
		err := parked.Scan(ctx, nil, true, func(v *task.Invocation) (bool, error) {
			return snap.Holds(v.TaskID) || yield(v, nil), nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
	var err error
	if s.SQL, err = blocks.OpenSQL(ctx, s.view, o); err != nil {
		s.release()
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.Join(ErrFilesChanged, err)
		}
		return nil, err
	}
	return s, nil
}

// Close lets go of the files.
func (s *SQL) Close() error {
	err := s.SQL.Close()
	s.release()
	return err
}

// Coverage says what the answers do not speak of.
func (s *SQL) Coverage() Coverage { return s.db.coverage(&s.filter, s.db.leftOut(s.view)) }

// AttachText is a script that attaches the sealed days of a range to the
// sqlite3 CLI: see blocks.AttachText.
func (db *DB) AttachText(ctx context.Context, from, to int64) (string, error) {
	if err := db.usable(); err != nil {
		return "", err
	}
	view := db.catalog.View()
	defer view.Release()
	return blocks.AttachText(ctx, view, blocks.SQLOptions{From: from, To: to})
}
