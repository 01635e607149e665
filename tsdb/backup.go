package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"daybook/compact"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// BackupOptions say what Backup copies where.
type BackupOptions struct {
	Dir   string           // the data directory; a daemon may be using it
	Dest  string           // created if missing; else empty, or made by Backup before
	Prune bool             // remove from Dest the days that Dir has no longer
	Now   func() time.Time // nil is time.Now
	// Progress, which may be nil, is told now and then how many bytes are done
	// and how many there are to read.
	Progress func(done, total int64)
}

// BackupResult says what a backup consists of.
type BackupResult struct {
	Linked, Copied, Unchanged int      // sealed days
	Live                      int      // live files, which are copied every time
	Bytes                     int64    // written; what is linked takes nothing
	Kept, Pruned              []string // days that Dir has no longer
	SetAside                  string   // where what Dest had and Dir has not was moved; empty if nothing
	// Problems are what could not be copied whole: the backup is made of the
	// rest, and what an earlier one has of it stays.
	Problems []error
}

// backupTries bounds how often a backup begins again because its source has
// changed at the wrong moment: a cut takes milliseconds and comes every few
// seconds.
const backupTries = 20

// Backup makes Dest a data directory that answers as Dir does now: everything
// that was acknowledged before the call is in it, once. It needs no daemon and
// does not disturb one. What is unchanged is not copied again. Until everything
// is there, and durable, Dest stays what it was; the switch is marked, so that
// one that was interrupted is seen by verify and mended by the next backup.
//
// An *OptionsError is returned for directories that cannot work, before
// anything is written.
func Backup(ctx context.Context, o BackupOptions) (res BackupResult, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := checkBackup(o.Dir, o.Dest); err != nil {
		if other := (*otherSourceError)(nil); errors.As(err, &other) {
			return res, err
		}
		return res, &OptionsError{err}
	}
	d, err := openDest(o.Dest, o.Dir)
	if err != nil {
		return res, err
	}
	defer func() {
		if err != nil { // an unfinished copy is of no use, and takes room
			err = errors.Join(err, d.sweep())
		}
		err = errors.Join(err, d.close())
	}()
	for try := 1; ; try++ {
		res, err = backupOnce(ctx, o, d)
		if err == nil || !errors.Is(err, compact.ErrMoved) || try == backupTries {
			return res, err
		}
	}
}

func backupOnce(ctx context.Context, o BackupOptions, d *dest) (res BackupResult, err error) {
	stage, err := d.stage()
	if err != nil {
		return res, err
	}
	listing, err := compact.Listing(o.Dir)
	if err != nil {
		return res, fmt.Errorf("reading %s: %w", o.Dir, err)
	}
	// The log first: what leaves it from now on is in the files (compact.Capture).
	damaged, err := copyLog(filepath.Join(o.Dir, "wal"), filepath.Join(stage, "wal"))
	if err != nil {
		return res, fmt.Errorf("copying the log: %w", err)
	}
	fault.Point("backup.logged")
	if d.logged != nil {
		d.logged()
	}
	var conflict error
	k, err := compact.CaptureDir(ctx, o.Dir, listing, compact.CaptureTo{Dir: stage, Skip: func(f compact.Found) bool {
		same, err := d.has(f)
		conflict = errors.Join(conflict, err)
		if same {
			res.Unchanged += countDay(f.Path)
		}
		return same
	}})
	if err != nil {
		return res, fmt.Errorf("reading %s: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if conflict != nil {
		return res, conflict
	}
	var done int64
	if err := k.Copy(ctx, true, func(n int64) {
		if done += n; o.Progress != nil {
			o.Progress(done, k.Left())
		}
	}); err != nil {
		return res, err
	}
	res.Problems = damaged
	for name, err := range k.Unreadable() {
		res.Problems = append(res.Problems, fmt.Errorf("%s is left out: %w", name, err))
	}
	if err := res.count(stage); err != nil {
		return res, err
	}
	if err := ctx.Err(); err != nil {
		return res, err
	}
	fault.Point("backup.copied")
	return res, d.publish(stage, k, o, &res)
}

// count looks at what is about to be published.
func (r *BackupResult) count(stage string) error {
	files, err := filesUnder(stage)
	if err != nil {
		return err
	}
	for _, name := range files {
		fi, err := os.Lstat(filepath.Join(stage, name))
		if err != nil {
			return err
		}
		linked := links(fi) > 1
		switch {
		case filepath.Dir(name) == "live":
			r.Live++
		case countDay(name) == 0:
		case linked:
			r.Linked++
		default:
			r.Copied++
		}
		if !linked {
			r.Bytes += fi.Size()
		}
	}
	return nil
}

// countDay is 1 for the file of a sealed day.
func countDay(rel string) int {
	if filepath.Dir(rel) == "days" && filepath.Ext(rel) == ".db" {
		return 1
	}
	return 0
}

// dayText are days for people, ascending.
func dayText(days []task.Day) []string {
	var out []string
	for _, d := range days {
		out = append(out, d.String())
	}
	return out
}
