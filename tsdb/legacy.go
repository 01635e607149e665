package tsdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/compact"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// legacyFile is a pre-partition database that is attached.
type legacyFile struct {
	*blocks.Legacy
	oldest, newest int64 // row times, microseconds
	handedOver     bool  // it lies under data/legacy/, and is deleted when it leaves
	users          sync.WaitGroup
	sums           legacySums
	reading        legacyReading
	// leaving ends with leave, once the file is out of the list: what goes on
	// for long with the file in use stops then.
	leaving context.Context
	leave   context.CancelFunc
}

// legacies are the attached files, newest first: what one knows of a task
// hides what those behind it say. Files only leave.
type legacies struct {
	mu    sync.Mutex
	files []*legacyFile
	left  []leftLegacy // could not be deleted
	kept  []string     // the paths of those that had changed when they left
}

// use returns the files as they are, and pins them until done is called.
func (l *legacies) use() (files []*legacyFile, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files = slices.Clone(l.files)
	for _, f := range files {
		f.users.Add(1)
	}
	return files, func() {
		for _, f := range files {
			f.users.Done()
		}
	}
}

// newer returns the files that are newer than one, and pins them until done is
// called.
func (l *legacies) newer(f *legacyFile) (files []*legacyFile, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.files, f); i > 0 {
		files = slices.Clone(l.files[:i])
	}
	for _, g := range files {
		g.users.Add(1)
	}
	return files, func() {
		for _, g := range files {
			g.users.Done()
		}
	}
}

// pin pins one of the files, if it is still attached.
func (l *legacies) pin(f *legacyFile) (done func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.files, f) {
		return nil, false
	}
	f.users.Add(1)
	return f.users.Done, true
}

// openLegacies attaches the files that the options name and those that lie
// under legacy/ in the data directory.
func (db *DB) openLegacies() error {
	own := map[string]bool{}
	home := realPath(filepath.Join(db.opts.Dir, "legacy"))
	paths := slices.Clone(db.opts.Legacy)
	if db.readOnly {
		db.legacyNoted = db.attachedPaths()
		paths = append(paths, db.legacyNoted...)
	}
	handed, err := db.handedPaths()
	if err != nil {
		return err
	}
	for _, p := range handed {
		// A link to a file elsewhere hands nothing over.
		if real := realPath(p); filepath.Dir(real) == home {
			own[real] = true
		}
		paths = append(paths, p)
	}
	attached := map[string]bool{}
	for i, p := range paths {
		abs := realPath(p)
		if attached[abs] {
			continue
		}
		attached[abs] = true
		err := db.openLegacy(abs, own[abs])
		var impossible *OptionsError
		switch {
		case err == nil:
		case errors.As(err, &impossible):
			return err // no file is left out for that
		case db.opts.LegacyOptional || db.readOnly || own[abs] || i >= len(db.opts.Legacy):
			db.legacyLeftOut(abs, err)
		default:
			return fmt.Errorf("%w (start without it: --storage.legacy-optional)", err)
		}
	}
	slices.SortFunc(db.legacy.files, func(a, b *legacyFile) int {
		return cmp.Or(cmp.Compare(b.newest, a.newest), cmp.Compare(a.Path(), b.Path()))
	})
	for i, f := range db.legacy.files {
		db.loadSums(f, db.legacy.files[:i])
	}
	if !db.readOnly { // a full disk is no reason not to start
		db.tried(opLegacyNote, db.noteAttached())
		db.tried(opLegacySums, db.sweepSums())
	}
	return nil
}

// handedPaths are the files that lie under legacy/ in the data directory. What it
// holds may not be readable, as in attachedPaths; the error is a lack of descriptors
// or memory.
func (db *DB) handedPaths() (paths []string, err error) {
	dir := filepath.Join(db.opts.Dir, "legacy")
	entries, err := readDir(dir)
	if blocks.Exhausted(err) {
		return nil, err
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		db.legacyLeftOut(dir, err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".db" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// realPath is where a path leads to; an absolute path if that is not known.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

// attachedName is the file in which a daemon notes which files it has attached
// that lie elsewhere, so that the tools find them.
const attachedName = "legacy/attached"

// attachedPaths are the files that a daemon has noted. Which they are may not be
// readable: then an answer must not seem to know of all of them.
func (db *DB) attachedPaths() []string {
	path := filepath.Join(db.opts.Dir, attachedName)
	b, err := readFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		db.legacyLeftOut(path, fmt.Errorf("which legacy files a daemon has attached is not known: %w", err))
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// legacyMissing reports whether a file was left out because it is not there,
// and only a note of a daemon names it: it is the user's, who may delete it.
func (db *DB) legacyMissing(path string, err error) bool {
	return db.readOnly && errors.Is(err, os.ErrNotExist) && slices.Contains(db.legacyNoted, path)
}

// noteAttached writes the file anew: its content is durable before it gets its
// name, which is no reason to stop anything if it fails.
func (db *DB) noteAttached() error {
	path := filepath.Join(db.opts.Dir, attachedName)
	var lines strings.Builder
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		if !f.handedOver {
			fmt.Fprintln(&lines, f.Path())
		}
	}
	old, err := readFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it may name files that are not attached any more
	}
	if string(old) == lines.String() && (err == nil || lines.Len() == 0) {
		return nil
	}
	if err := compact.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := fault.Op("create", tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err = fault.Op("write", tmp); err == nil {
		_, err = f.WriteString(lines.String())
	}
	if err := errors.Join(err, fault.Op("sync", tmp), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := rename(tmp, path); err != nil {
		return err
	}
	return blocks.SyncDir(filepath.Dir(path))
}

// legacyLeftOut notes a file that cannot be attached.
func (db *DB) legacyLeftOut(path string, err error) {
	db.legacyErrors[path] = err
	level.Error(db.logger).Log("msg", "a legacy file is left out", "path", path, "err", err)
}

func (db *DB) openLegacy(path string, handedOver bool) error {
	l, err := blocks.OpenLegacy(path)
	if err != nil {
		return err
	}
	f := &legacyFile{Legacy: l, handedOver: handedOver}
	f.leaving, f.leave = context.WithCancel(context.Background())
	if f.oldest, f.newest, err = l.Bounds(context.Background()); err != nil {
		return errors.Join(err, l.Close())
	}
	if leaves := db.leavesAt(f); db.opts.LegacyDelete && !handedOver && !leaves.IsZero() && !db.opts.Now().Before(leaves) {
		return errors.Join(&OptionsError{fmt.Errorf("--storage.legacy-delete would delete %s at once: its newest row, of %s, is past --retention.time; "+
			"raise --retention.time, or delete the file yourself", path, stamp(f.newest))}, l.Close())
	} else if leaves.IsZero() {
		level.Info(db.logger).Log("msg", "attached legacy file", "path", path, "schema", l.Generation(), "newest", stamp(f.newest))
	} else {
		level.Info(db.logger).Log("msg", "attached legacy file", "path", path, "schema", l.Generation(), "newest", stamp(f.newest), "leaves", leaves.UTC().Format(time.RFC3339))
	}
	db.legacy.files = append(db.legacy.files, f)
	return nil
}

// leavesAt is when a file's newest row is past retention; zero if never.
func (db *DB) leavesAt(f *legacyFile) time.Time {
	if db.opts.RetentionTime == 0 || db.readOnly {
		return time.Time{}
	}
	return time.UnixMicro(task.DayOf(f.newest).End()).Add(db.opts.RetentionTime)
}

// retainLegacies lets go of the files whose newest row is past retention: a
// whole file at a time. What lies under data/legacy/ is deleted; a file
// elsewhere is the user's, and is only detached unless he said otherwise.
func (db *DB) retainLegacies() error {
	if db.fails(opLegacyNote) {
		db.tried(opLegacyNote, db.noteAttached())
	}
	errs := []error{db.deleteLeft()}
	if !db.compact.Paused().IsZero() {
		return errs[0]
	}
	var leaving []*legacyFile
	db.legacy.mu.Lock()
	db.legacy.files = slices.DeleteFunc(db.legacy.files, func(f *legacyFile) bool {
		at := db.leavesAt(f)
		gone := !at.IsZero() && !db.opts.Now().Before(at)
		if gone {
			leaving = append(leaving, f)
		}
		return gone
	})
	db.legacy.mu.Unlock()
	if len(leaving) == 0 {
		return errs[0]
	}
	db.tried(opLegacyNote, db.noteAttached()) // first: the tools shall not miss what is deleted
	for _, f := range leaving {
		deleted := f.handedOver || db.opts.LegacyDelete
		err := db.letGo(f, deleted, "age")
		if err == nil && !deleted {
			level.Info(db.logger).Log("msg", "a legacy file has aged out", "path", f.Path())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// legacySides are the files that belong to a legacy file, itself last: what is
// left after a crash in between is no -wal without its file.
var legacySides = []string{"-shm", "-wal", ""}

// letGo detaches a file that is out of the list once its readers have gone, and
// deletes it if it is to go. Queries are bounded in time; the building of its
// rollups is not, and may be waiting for the very room that this makes.
func (db *DB) letGo(f *legacyFile, deleted bool, cause string) error {
	f.leave()
	if err := db.head.LogDeleted(task.DayOf(f.newest) + 1); err != nil {
		level.Warn(db.logger).Log("msg", "that a legacy file has gone is not in the log", "path", f.Path(), "err", err)
	}
	errs := []error{}
	if deleted { // what the head has of its rows outlives a crash
		errs = append(errs, db.compact.LetGo(context.Background(), db.cuttable()))
	} else {
		cause = ""
	}
	f.users.Wait()
	return errors.Join(append(errs, f.Close(), db.deleteLegacy(leftLegacy{legacyFile: f, cause: cause}))...)
}

// leftLegacy is a file that is detached and not gone; without a cause only its
// rollups are to go.
type leftLegacy struct {
	*legacyFile
	cause    string
	unlogged bool // its -wal is deleted, and the file is not yet
}

// deleteLegacy deletes what is to go of a file that nobody uses, if it is still
// the one that was attached: when the rows leave that somebody has written there since
// is not known. What the disk does not let go is tried again: see deleteLeft.
func (db *DB) deleteLegacy(x leftLegacy) error {
	err := db.removeSums(x.legacyFile)
	if err == nil {
		var changed bool
		if changed, err = x.Changed(x.unlogged); changed {
			db.keepLegacy(x.Path())
			return nil
		}
		if x.cause == "" {
			return nil
		}
	}
	for _, side := range legacySides {
		if err != nil || x.cause == "" {
			break
		}
		err = remove(x.Path() + side)
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		x.unlogged = x.unlogged || side == "-wal" && err == nil
	}
	if err != nil {
		db.legacy.mu.Lock()
		defer db.legacy.mu.Unlock()
		db.legacy.left = append(db.legacy.left, x)
		return fmt.Errorf("deleting %s: %w", x.Path(), err)
	}
	if x.cause != "" {
		db.metrics.deletions.WithLabelValues(x.cause).Inc()
		level.Info(db.logger).Log("msg", "deleted legacy file", "path", x.Path(), "newest", stamp(x.newest), "cause", x.cause)
	}
	return nil
}

// keepLegacy notes a file that is detached and stays because it has changed. Who
// has taken it away needs no note.
func (db *DB) keepLegacy(path string) {
	if !exists(path) {
		return
	}
	db.legacy.mu.Lock()
	db.legacy.kept = append(db.legacy.kept, path)
	db.legacy.mu.Unlock()
	level.Warn(db.logger).Log("msg", "a legacy file has changed since it was attached: it is detached and kept, whatever its age; restart daybook to attach it as it is now", "path", path)
}

// keptLegacies are the files of keepLegacy that are still there.
func (db *DB) keptLegacies() []string {
	db.legacy.mu.Lock()
	paths := slices.Clone(db.legacy.kept)
	db.legacy.mu.Unlock()
	return slices.DeleteFunc(paths, func(path string) bool { return !exists(path) })
}

// deleteLeft tries again what could not be deleted.
func (db *DB) deleteLeft() error {
	db.legacy.mu.Lock()
	left := db.legacy.left
	db.legacy.left = nil
	db.legacy.mu.Unlock()
	var errs []error
	for _, x := range left {
		errs = append(errs, db.deleteLegacy(x))
	}
	return errors.Join(errs...)
}

// handedOver lists the files that lie under legacy/ in the data directory,
// which may go when there is no room. One elsewhere never does: deleting it
// would be to take what is the user's for the sake of what is ours.
func (db *DB) handedOver() []compact.LegacyFile {
	db.legacy.mu.Lock()
	defer db.legacy.mu.Unlock()
	var out []compact.LegacyFile
	for _, f := range db.legacy.files {
		if !f.handedOver {
			continue
		}
		x := compact.LegacyFile{Path: f.Path(), Newest: task.DayOf(f.newest)}
		for _, side := range legacySides {
			x.Paths = append(x.Paths, filepath.Join(db.opts.Dir, "legacy", f.Name()+side)) // as the directory is walked
		}
		out = append(out, x)
	}
	return out
}

// deleteHandedOver detaches and deletes one of handedOver. It counts what it deletes.
func (db *DB) deleteHandedOver(path, cause string) error {
	db.legacy.mu.Lock()
	i := slices.IndexFunc(db.legacy.files, func(f *legacyFile) bool { return f.handedOver && f.Path() == path })
	if i < 0 {
		db.legacy.mu.Unlock()
		return nil
	}
	f := db.legacy.files[i]
	db.legacy.files = slices.Delete(db.legacy.files, i, i+1)
	db.legacy.mu.Unlock()
	return db.letGo(f, true, cause)
}

// closeLegacies lets go of all files.
func (db *DB) closeLegacies() error {
	db.legacy.mu.Lock()
	files := db.legacy.files
	db.legacy.files = nil
	db.legacy.mu.Unlock()
	var errs []error
	for _, f := range files {
		f.leave()
		f.users.Wait()
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
