package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"daybook/blocks"
	"daybook/compact"
	"daybook/head"
	"daybook/tsdb/task"
)

// Finding is something that Verify found. A Note is worth knowing and no fault.
type Finding = blocks.Finding

// Verify checks days (YYYY-MM-DD), files (paths), or with no targets
// everything: checksums, SQLite's integrity, rows, ids, ranges, the log. It
// changes nothing, and may run beside a daemon.
func (db *DB) Verify(ctx context.Context, targets []string, report func(Finding)) error {
	if err := db.usable(); err != nil {
		return err
	}
	if len(targets) == 0 {
		return db.verifyAll(ctx, report)
	}
	for _, target := range targets {
		d, err := task.ParseDay(target)
		if err != nil {
			if err := VerifyFile(ctx, target, report); err != nil {
				return err
			}
			continue
		}
		paths := db.pathsOf(d)
		if len(paths) == 0 {
			return fmt.Errorf("there is no day %s here: daybook ls shows the days", d)
		}
		for _, p := range paths {
			if err := checkFile(ctx, p, report); err != nil {
				return err
			}
		}
	}
	return nil
}

// VerifyFile checks one file, wherever it is: one of Daybook's, or a legacy one,
// as which everything is taken that is not Daybook's by name or by content.
func VerifyFile(ctx context.Context, path string, report func(Finding)) error {
	if err := oneFile(path); err != nil {
		return err
	}
	if blocks.IsOurs(path) {
		return checkFile(ctx, path, report)
	}
	return checkLegacy(ctx, path, report)
}

// oneFile refuses what is not to be read by itself.
func oneFile(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s is neither a day (YYYY-MM-DD; daybook ls shows them) nor a file: %w", path, err)
	case fi.IsDir():
		return fmt.Errorf("%s is a directory: a data directory is given as --storage.path", path)
	case head.IsLog(path):
		return fmt.Errorf("%s is a piece of the log, which is read as a whole: daybook verify --storage.path=DIR checks it", path)
	}
	return nil
}

func checkLegacy(ctx context.Context, path string, report func(Finding)) error {
	found, err := blocks.CheckLegacy(ctx, path)
	for _, f := range found {
		report(f)
	}
	return err
}

// gapsListed bounds the notes about gaps of one file.
const gapsListed = 30

// noteGaps reports what is known to be missing.
func noteGaps(path string, gaps []task.Gap, report func(Finding)) {
	for i, g := range gaps {
		if i == gapsListed {
			report(Finding{Path: path, Note: true, Problem: fmt.Sprintf("%d more gaps", len(gaps)-i)})
			return
		}
		count := "not known"
		if g.Count > 0 {
			count = fmt.Sprint(g.Count)
		}
		report(Finding{Path: path, Note: true, Problem: fmt.Sprintf("gap from %s to %s: %s (%s), records missing: %s", stamp(g.From), stamp(g.To), g.Cause, g.Source, count)})
	}
}

// pathsOf lists the files of a day.
func (db *DB) pathsOf(d task.Day) []string {
	view := db.catalog.View()
	defer view.Release()
	var out []string
	for _, f := range view.Days() {
		if f.Day != d {
			continue
		}
		if f.Live != nil {
			out = append(out, f.Live.Path())
		}
		if f.Sealed != nil {
			out = append(out, f.Sealed.Path())
		}
	}
	return out
}

func (db *DB) verifyAll(ctx context.Context, report func(Finding)) error {
	for name, err := range db.compact.Unreadable() {
		problem := err.Error()
		var advised *compact.AdvisedError
		if errors.As(err, &advised) {
			problem = advised.Reason
		}
		report(Finding{Path: name, Problem: problem, Remedy: remedy(err)})
	}
	view := db.catalog.View()
	days := view.Days()
	view.Release()
	for _, f := range days {
		for _, p := range db.pathsOf(f.Day) {
			err := checkFile(ctx, p, report)
			if errors.Is(err, os.ErrNotExist) && !exists(p) {
				continue // a daemon has sealed or deleted it meanwhile
			}
			if err != nil {
				return err
			}
		}
	}
	if p := db.compact.Parked(); p != nil {
		if err := checkFile(ctx, p.Path(), report); err != nil && !(errors.Is(err, os.ErrNotExist) && !exists(p.Path())) {
			return err
		}
	}
	for path, err := range db.legacyErrors {
		if db.legacyMissing(path, err) {
			report(Finding{Path: path, Problem: "a legacy file that was attached is not there any more", Note: true})
			continue
		}
		report(Finding{Path: path, Problem: err.Error(), Remedy: "mend it as the message says, or take it away"})
	}
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		if err := checkLegacy(ctx, f.Path(), report); err != nil {
			return err
		}
	}
	if err := db.verifyOnce(ctx, report); err != nil {
		return err
	}
	db.verifyBackup(report)
	return db.verifyLog(report)
}

// verifyBackup reports a backup that was killed before it had marked the
// directory as unfinished: there is nothing in it that could look wrong.
func (db *DB) verifyBackup(report func(Finding)) {
	_, marked := db.compact.Unreadable()[filepath.Join("days", compact.UnfinishedBackup)]
	text, err := os.ReadFile(filepath.Join(db.opts.Dir, backupMarker))
	if err == nil && !marked && !strings.Contains(string(text), markCompleted) {
		report(Finding{Path: backupMarker, Problem: "a backup into this directory was begun and never completed", Remedy: unfinishedRemedy})
	}
}

const unfinishedRemedy = "run `daybook backup` into this directory again; do not take the mark away, it is all that tells a part of a backup from a whole one"

// remedy says what to do about a file that is left out.
func remedy(err error) string {
	var newer *blocks.VersionError
	var damaged *blocks.DamagedError
	var advised *compact.AdvisedError
	var unsafe *blocks.UnsafeError
	if system := blocks.SystemRemedy(err); system != "" {
		return system
	}
	switch {
	case errors.As(err, &advised):
		return advised.Advice
	case errors.Is(err, compact.ErrUnfinishedBackup):
		return unfinishedRemedy
	case errors.As(err, &newer):
		return "run a newer daybook on this directory"
	case errors.As(err, &unsafe):
		return unsafe.Advice()
	case errors.As(err, &damaged):
		return "restore the file from a backup; if there is none, `sqlite3 FILE .recover` may save rows"
	}
	return "move it out of the data directory if it is not Daybook's, or restore it from a backup"
}

func checkFile(ctx context.Context, path string, report func(Finding)) error {
	found, err := blocks.CheckFile(ctx, path, true)
	for _, f := range found {
		report(f)
	}
	if err != nil {
		return err
	}
	gaps, err := blocks.FileGaps(ctx, path)
	if err == nil { // else it is among the findings
		noteGaps(path, gaps, report)
	}
	return nil
}

// verifyOnce walks over all rows and reports ids that an answer would show
// twice. It remembers 8 bytes a row; what collides is looked up.
func (db *DB) verifyOnce(ctx context.Context, report func(Finding)) error {
	seen := map[uint64]struct{}{}
	var again []string
	_, err := db.walk(ctx, Query{Oldest: true}, anyOrder, func(v *task.Invocation) (bool, error) {
		h := task.HashID(v.TaskID)
		if _, ok := seen[h]; ok && len(again) < 1000 {
			again = append(again, v.TaskID)
		}
		seen[h] = struct{}{}
		return true, nil
	})
	if err != nil || len(again) == 0 {
		return err
	}
	view := db.catalog.View()
	defer view.Release()
	rows, err := view.Lookup(ctx, again)
	for id, r := range rows {
		if len(r.Where) > 1 {
			report(Finding{Path: "days", Problem: fmt.Sprintf("task_id %q is in more than one day: %v", id, r.Where), Remedy: "start the daemon on the directory: it deletes superseded rows; report it if it comes back"})
		}
	}
	return err
}

func (db *DB) verifyLog(report func(Finding)) error {
	dir := filepath.Join(db.opts.Dir, "wal")
	found, err := head.VerifyLog(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a directory of day files
	}
	noteGaps("wal", db.headGaps(), report)
	for _, f := range found {
		problem := f.Reason
		if f.Length > 0 {
			problem = fmt.Sprintf("%s (%d bytes at offset %d)", f.Reason, f.Length, f.Offset)
		}
		report(Finding{Path: filepath.Join("wal", filepath.Base(f.File)), Problem: problem, Remedy: f.Advice, Note: !f.Damage})
	}
	return err
}
