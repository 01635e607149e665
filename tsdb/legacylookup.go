package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/head"
	"daybook/tsdb/task"
)

// legacyReading is what became of the last read of a legacy file.
type legacyReading struct {
	mu     sync.Mutex
	err    error // nil: it has worked
	logged time.Time
}

// legacyRead notes what became of a read of a file; nil says that it works. That the
// reader's time ran out says nothing of the file.
func (db *DB) legacyRead(f *legacyFile, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	r := &f.reading
	r.mu.Lock()
	r.err = err
	say := err != nil && (r.logged.IsZero() || time.Since(r.logged) >= failureLogged)
	if say {
		r.logged = time.Now()
	}
	r.mu.Unlock()
	if say {
		level.Warn(db.logger).Log("msg", "a legacy file cannot be read", "path", f.Path(), "err", oneLine(err))
	}
}

// legacyReasons is what Health says of the attached files that could not be read
// when that was last tried, and of those that were kept because they have changed.
func (db *DB) legacyReasons() (reasons []string) {
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		f.reading.mu.Lock()
		if err := f.reading.err; err != nil {
			reasons = append(reasons, fmt.Sprintf("%s cannot be read: %s", f.Path(), oneLine(err)))
		}
		f.reading.mu.Unlock()
	}
	for _, path := range db.keptLegacies() {
		reasons = append(reasons, path+" has changed since it was attached: it was detached and not deleted, and answers leave it out; restart daybook to attach it as it is now")
	}
	return reasons
}

// mayBeLegacy reports whether a legacy file can know an invocation: not one
// that was born after its newest row.
func mayBeLegacy(files []*legacyFile, v *task.Invocation) bool {
	born := v.SentAt
	if born == 0 || v.ReceivedAt != 0 && v.ReceivedAt < born {
		born = v.ReceivedAt
	}
	return len(files) > 0 && (born == 0 || born <= files[0].newest)
}

// knownTo reports whether one of some legacy files knows an id.
func (db *DB) knownTo(ctx context.Context, files []*legacyFile, id string) (bool, error) {
	var failed error
	for _, f := range files {
		if !f.sums.mayContain(id) {
			continue
		}
		known, err := f.Knows(ctx, id)
		db.legacyRead(f, err)
		if known {
			return true, nil
		}
		failed = errors.Join(failed, err)
	}
	return false, failed
}

// legacyRows is what the newest legacy file that knows an id knows of it. A file
// that fails is left out, and named. known says that the ids become known to the
// head. The error is one that passes: what is not among the rows then may be in the
// file yet.
func (db *DB) legacyRows(ctx context.Context, ids []string, known bool) (out map[string]task.Invocation, unreadable []string, err error) {
	files, done := db.legacy.use()
	defer done()
	out = map[string]task.Invocation{}
	for _, f := range files {
		if !known {
			ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { _, ok := out[id]; return ok })
		}
		if len(ids) == 0 {
			break
		}
		may := f.sums.mayBeOf(ids)
		rows, err := f.Lookup(ctx, may)
		if err != nil || len(may) > 0 {
			db.legacyRead(f, err)
		}
		if blocks.LegacyPassing(err) {
			return out, append(unreadable, f.Name()), fmt.Errorf("looking up %d task_ids in a legacy file: %w", len(may), err)
		}
		if err != nil {
			unreadable = append(unreadable, f.Name())
			continue
		}
		for id, v := range rows {
			if known {
				f.sums.share(v.RowTime())
			}
			if _, newer := out[id]; !newer {
				out[id] = v
			}
		}
	}
	return out, unreadable, nil
}

// addLegacy adds what legacy files know of invocations that may be that old to
// their bases. What is cut from the head then covers it, for good: without the base
// it would hide what the file says. So the error is for whoever adds to the head to
// come again with; a file that is broken stops nobody.
func (db *DB) addLegacy(ctx context.Context, invs []*task.Invocation, bases map[string]head.Base) error {
	files, done := db.legacy.use()
	defer done()
	var ids, young []string
	for _, v := range invs {
		if _, new := bases[v.TaskID]; new && mayBeLegacy(files, v) {
			ids = append(ids, v.TaskID)
		} else if new {
			young = append(young, v.TaskID)
		}
	}
	for _, f := range files {
		f.sums.noteNew(ids)
		ids = append(ids, f.sums.noteNew(young)...)
	}
	rows, _, err := db.legacyRows(ctx, ids, true)
	if err != nil {
		return err
	}
	for id, v := range rows {
		b := bases[id]
		if b.Inv != nil {
			v.Merge(b.Inv)
		}
		b.Inv = &v
		bases[id] = b
	}
	return nil
}
