package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"daybook/tsdb/task"
)

// SQL is one connection to which the files of a range are attached, read-only,
// behind a TEMP view `invocations` that has each task_id once
// (docs/adr/0010-sql.md). It is for people: one query at a time, of whatever
// shape. What it shows of live files is one moment; it holds back their WAL
// until Close. Not for concurrent use.
type SQL struct {
	c      *conn
	v      *View
	o      SQLOptions
	arms   []*sqlArm
	old    []*sqlLegacy
	ids    map[string]struct{} // ids that memory tells of, as packMask has them
	hashes map[uint64]struct{} // theirs
	blooms []*bloomChain       // of the live files, where legacy rows may be hidden
	named  map[string]string   // schema: path, for errors
}

// SQLOptions say what a SQL session shows.
type SQLOptions struct {
	From, To int64 // row times, half-open, microseconds; To 0 is no end
	// Memory are the invocations that are in no day, or not in their latest
	// state: what they say stands for their ids everywhere. They are read after the
	// files are attached and before their transactions begin, because rows
	// move from there into files.
	Memory iter.Seq2[*task.Invocation, error]
	Legacy []*Legacy
	// Hidden reports whether what a legacy file says of an id is not shown, for
	// a newer one knows it; nil hides nothing.
	Hidden func(ctx context.Context, l *Legacy, id string) (bool, error)
	Limit  int // files at most; 0 is what SQLite was compiled for
}

// TooManyFilesError is returned for a range with more files than can be
// attached.
type TooManyFilesError struct {
	Files, Limit int
	CLI          bool // by the sqlite3 CLI, for which a script was wanted
}

// mostAttached is what SQLite can be compiled for.
const mostAttached = 125

func (e *TooManyFilesError) Error() string {
	by, more := "this SQLite", ""
	switch {
	case e.CLI:
		by = "a sqlite3 CLI"
	case e.Limit < mostAttached:
		more = fmt.Sprintf("; a build with -DSQLITE_MAX_ATTACHED=%d takes more", mostAttached)
	}
	return fmt.Sprintf("the range has %d files, and %s attaches %d: narrow it with --from and --to (daybook ls shows the days%s)", e.Files, by, e.Limit, more)
}

// sqlArm is one attached day file.
type sqlArm struct {
	d      DayFiles // the day; of its two files this arm is one
	live   bool
	path   string
	schema string
	slot   int // index in SQL.arms
	chunks *chunkReader
	hidden int // rows that are not shown: table TEMP.hidden_<slot>
}

// inRange reports whether a day has a part in the range.
func (o *SQLOptions) inRange(d task.Day) bool {
	return d.End() > o.From && (o.To == 0 || d.Start() < o.To)
}

// OpenSQL attaches the files of a range. The error is a *TooManyFilesError, or
// wraps fs.ErrNotExist if a file went away meanwhile: begin again then. Files
// that cannot be read are left out, and named by the View's Unreadable. The
// View has to stay until Close.
func OpenSQL(ctx context.Context, v *View, o SQLOptions) (s *SQL, err error) {
	c, err := openMemory()
	if err != nil {
		return nil, err
	}
	s = &SQL{c: c, v: v, o: o, ids: map[string]struct{}{}, hashes: map[uint64]struct{}{}, named: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err := c.script("PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA reverse_unordered_selects = 1"); err != nil {
		return s, err
	}
	if err := s.attachAll(ctx); err != nil {
		return s, err
	}
	if err := s.loadMemory(ctx); err != nil {
		return s, err
	}
	if err := s.pin(ctx); err != nil {
		return s, err
	}
	if err := s.hide(ctx); err != nil {
		return s, err
	}
	if err := s.register(); err != nil {
		return s, err
	}
	if err := c.run(ctx, "CREATE TEMP VIEW invocations AS "+s.viewText()); err != nil {
		return s, fmt.Errorf("making the view: %w", err)
	}
	if err := c.script("PRAGMA query_only = 1"); err != nil {
		return s, err
	}
	c.c.RegisterAuthorizer(authorize)
	return s, nil
}

// Close lets go of the files.
func (s *SQL) Close() error {
	var errs []error
	for _, o := range s.old {
		if o.c != nil {
			errs = append(errs, o.c.close())
		}
	}
	return errors.Join(append(errs, s.c.close())...)
}

// attachAll attaches what the range has.
func (s *SQL) attachAll(ctx context.Context) error {
	var arms []*sqlArm
	for _, d := range s.v.gen.days {
		if !s.o.inRange(d.Day) {
			continue
		}
		name := "d" + strings.ReplaceAll(d.Day.String(), "-", "")
		if d.Live != nil && !(d.Live.Empty() && d.Sealed == nil && len(s.v.gen.days) > 0 && d.Day == s.v.gen.days[0].Day) {
			arms = append(arms, &sqlArm{d: d, live: true, path: d.Live.Path(), schema: name + "_live"})
		}
		if d.Sealed != nil && d.Sealed.Rows() > 0 {
			arms = append(arms, &sqlArm{d: d, path: d.Sealed.Path(), schema: name})
		}
	}
	limit := s.c.attachLimit()
	if s.o.Limit > 0 {
		limit = min(limit, s.o.Limit)
	}
	if n := len(arms) + len(s.o.Legacy); n > limit {
		return &TooManyFilesError{Files: n, Limit: limit}
	}
	for i, l := range s.o.Legacy {
		if err := s.attachLegacy(ctx, fmt.Sprintf("legacy%d", i+1), l); err != nil {
			return err
		}
	}
	for _, a := range arms {
		at := attachment{a.path, modeImmutable}
		if a.live {
			at = a.d.Live.attachment()
		}
		if err := s.attach(ctx, a.schema, fileURI(at.path, at.mode), a.path); err != nil {
			if a.path == "" || !s.v.leaveOut(err) {
				return err
			}
			continue
		}
		a.slot, a.chunks = len(s.arms), newChunkReader(chunkMemory)
		s.arms = append(s.arms, a)
	}
	return nil
}

// attach attaches one file and looks at its schema. A *fileError is its fault.
func (s *SQL) attach(ctx context.Context, schema, uri, path string) error {
	err := s.c.exec("ATTACH ? AS "+schema, uri)
	if err == nil {
		err = s.c.script(fmt.Sprintf("PRAGMA %s.cache_size = -%d", schema, sessionCache/4))
	}
	if err == nil {
		s.named[schema] = path
		return nil
	}
	if _, gone := os.Lstat(path); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("attaching %s: %w", filepath.Base(path), fs.ErrNotExist)
	}
	return blame(ctx, path, err)
}

// pinTries bounds how often the transactions begin again because a cut came
// between that of one live file and that of the next.
const pinTries = 20

// pin begins the transaction in which everything is read: of all live files at
// one moment.
func (s *SQL) pin(ctx context.Context) error {
	for try := 1; ; try++ {
		if err := s.c.exec("BEGIN"); err != nil {
			return err
		}
		same := true
		var pinned []int64
		for _, a := range s.arms {
			if !a.live {
				continue
			}
			var vals [1]driver.Value
			if _, err := s.c.queryRow(ctx, vals[:], "SELECT ifnull(max(last), 0) FROM "+a.schema+".cut"); err != nil {
				return blame(ctx, a.path, err)
			}
			n, _ := vals[0].(int64)
			pinned = append(pinned, n)
		}
		for _, a := range s.arms {
			if !a.live || len(pinned) < 2 {
				continue
			}
			var vals [1]driver.Value
			err := a.d.Live.withReader(ctx, func(r *liveReader) error {
				_, err := r.c.queryRow(ctx, vals[:], "SELECT ifnull(max(last), 0) FROM cut")
				return err
			})
			if err != nil {
				return blame(ctx, a.path, err)
			}
			same = same && vals[0] == driver.Value(pinned[0])
			pinned = append(pinned[1:], pinned[0])
		}
		if same || try == pinTries {
			return nil
		}
		if err := s.c.exec("COMMIT"); err != nil {
			return err
		}
	}
}
