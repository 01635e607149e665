package tsdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/compact"
	"daybook/tsdb/fault"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// legacySums are a legacy file's rollups, which count its tasks as if nobody
// else knew them, and what has to be known to use them beside days: the hours
// in which some task of it is also known to the head, the parked file, a day or
// a newer legacy file. These hours are counted from rows, the others from
// rollups. An hour is noted before what makes it shared becomes visible, and
// stays noted.
//
// They exist once the file has been read in the background (run), and are kept
// in legacy/rollups of the data directory. Until then everything is counted
// from rows.
type legacySums struct {
	saving sync.Mutex // across the writing of what is shared; before mu
	mu     sync.Mutex
	file   *blocks.LegacySums // nil until they are there
	shared map[int64]bool     // first microseconds of hours
	// building: the file is being read. What becomes known meanwhile is
	// noted, and looked up in the end.
	building bool
	newIDs   []string
	overflow bool
	days     map[task.Day]bool // of which it is known what they share
	newer    []string          // fingerprints of newer files, the same
	unsaved  bool
}

// maxNewIDs bounds the ids that are noted while a file is being read.
const maxNewIDs = 1 << 20

const legacyRollups = "legacy/rollups"

// sumsPath is where a file's rollups are kept.
func (db *DB) sumsPath(f *legacyFile) string {
	sum := sha256.Sum256([]byte(f.Path()))
	return filepath.Join(db.opts.Dir, legacyRollups, hex.EncodeToString(sum[:12])+".db")
}

// sharedNote is what is kept beside the rollups: what is shared with which days.
type sharedNote struct {
	Rollups string  `json:"rollups"` // the checksum line of the file it belongs to
	Days    []int64 `json:"days"`
	// Newer are the fingerprints of the legacy files that hide rows of this one.
	Newer []string `json:"newer,omitempty"`
	Hours []int64  `json:"hours"`
}

// loadSums takes a file's rollups into use if they are there, whole, and of
// this state of the file, and if every day and every newer legacy file that is
// here was here when what is shared was last noted.
func (db *DB) loadSums(f *legacyFile, newer []*legacyFile) {
	s, note, err := db.readSums(f, newer)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			level.Info(db.logger).Log("msg", "the rollups of a legacy file will be computed again", "path", f.Path(), "err", err)
		}
		return
	}
	f.sums.mu.Lock()
	defer f.sums.mu.Unlock()
	f.sums.file, f.sums.shared, f.sums.days = s, map[int64]bool{}, map[task.Day]bool{}
	for _, h := range note.Hours {
		f.sums.shared[h] = true
	}
	f.sums.newer = note.Newer
	for _, d := range note.Days {
		f.sums.days[task.Day(d)] = true
	}
}

func (db *DB) readSums(f *legacyFile, newer []*legacyFile) (s *blocks.LegacySums, note sharedNote, err error) {
	path := db.sumsPath(f)
	b, err := readFile(path + ".shared")
	if err != nil {
		return nil, note, err
	}
	if len(b) < 9 || fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(b[9:])) != string(b[:9]) {
		return nil, note, fmt.Errorf("%s.shared is damaged", path)
	}
	if err := json.Unmarshal(b[9:], &note); err != nil {
		return nil, note, err
	}
	if sum, err := readFile(path + ".sha256"); err != nil || string(sum) != note.Rollups {
		return nil, note, errors.Join(fmt.Errorf("%s.shared is of other rollups", path), err)
	}
	for d := range db.daysHere() {
		if !slices.Contains(note.Days, int64(d)) {
			return nil, note, fmt.Errorf("the day %s has been added since", d)
		}
	}
	for _, g := range newer {
		if !slices.Contains(note.Newer, g.Fingerprint()) {
			return nil, note, fmt.Errorf("%s has been attached since", g.Path())
		}
	}
	s, err = blocks.OpenLegacySums(path, f.Legacy)
	return s, note, err
}

func (db *DB) daysHere() map[task.Day]bool {
	view := db.catalog.View()
	defer view.Release()
	days := map[task.Day]bool{}
	for _, d := range view.Days() {
		days[d.Day] = true
	}
	return days
}

// saveShared makes durable what is shared. It comes before the record of a
// cut: a replay does not look at what the files know to be cut. Where it cannot
// be written the rollups are given up, so that storing does not depend on it.
func (db *DB) saveShared() {
	files, done := db.legacy.use()
	defer done()
	for _, f := range files {
		if err := db.saveSharedOf(f); err != nil {
			db.tried(opLegacySums, fmt.Errorf("they are given up for now: %s: %w", f.Path(), err))
			f.sums.drop()
		}
	}
}

func (db *DB) saveSharedOf(f *legacyFile) error {
	s := &f.sums
	s.saving.Lock()
	defer s.saving.Unlock()
	days := db.daysHere()
	s.mu.Lock()
	for d := range days {
		s.unsaved = s.unsaved || !s.days[d]
	}
	if s.file == nil || !s.unsaved {
		s.mu.Unlock()
		return nil
	}
	s.days, s.unsaved = days, false
	note := sharedNote{Newer: s.newer}
	for d := range days {
		note.Days = append(note.Days, int64(d))
	}
	for h := range s.shared {
		note.Hours = append(note.Hours, h)
	}
	s.mu.Unlock()
	if err := db.writeShared(f, note); err != nil {
		// What is written there is not true any more.
		gone := remove(db.sumsPath(f) + ".shared")
		return errors.Join(fmt.Errorf("noting what a legacy file shares with days: %w", err), gone)
	}
	return nil
}

func (db *DB) writeShared(f *legacyFile, note sharedNote) error {
	path := db.sumsPath(f)
	sum, err := readFile(path + ".sha256")
	if err != nil {
		return err
	}
	note.Rollups = string(sum)
	body, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if err := fault.Op("create", filepath.Join(db.opts.Dir, "tmp", "shared")); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Join(db.opts.Dir, "tmp"), "shared.*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(fault.Writer(tmp, tmp.Name()), "%08x\n%s", crc32.ChecksumIEEE(body), body)
	if err = errors.Join(err, fault.Op("sync", tmp.Name()), tmp.Sync(), tmp.Close()); err == nil {
		err = rename(tmp.Name(), path+".shared")
	}
	if err != nil {
		return errors.Join(err, remove(tmp.Name()))
	}
	return blocks.SyncDir(filepath.Dir(path))
}

var sumsName = regexp.MustCompile(`^([0-9a-f]{24}\.db)(\.sha256|\.shared)?$`)

// sweepSums deletes the rollups of files that are not attached any more.
func (db *DB) sweepSums() error {
	dir := filepath.Join(db.opts.Dir, legacyRollups)
	entries, err := readDir(dir)
	if db.readOnly || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	keep := map[string]bool{}
	for _, f := range db.legacy.files {
		keep[filepath.Base(db.sumsPath(f))] = true
	}
	for _, e := range entries {
		if m := sumsName.FindStringSubmatch(e.Name()); m != nil && !keep[m[1]] {
			err = errors.Join(err, remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// noteNew is told of ids that become known to the head, before they are: it
// returns those that a file may know although they seem to be too young for it.
func (s *legacySums) noteNew(ids []string) (maybe []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		for _, id := range ids {
			if s.file.MayContain(id) {
				maybe = append(maybe, id)
			}
		}
	case s.building:
		if s.overflow = s.overflow || len(s.newIDs)+len(ids) > maxNewIDs; !s.overflow {
			s.newIDs = append(s.newIDs, ids...)
		}
	}
	return maybe
}

// mayContain is false for an id that the file certainly does not know.
func (s *legacySums) mayContain(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file == nil || s.file.MayContain(id)
}

// mayBeOf are those of ids that the file may know: see mayContain.
func (s *legacySums) mayBeOf(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !s.mayContain(id) })
}

// share notes that the hour of a row time is shared.
func (s *legacySums) share(at int64) {
	h := rollup.Hour.Start(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		s.shared = map[int64]bool{}
	}
	if !s.shared[h] {
		s.shared[h], s.unsaved = true, true
	}
}

// drop lets go of rollups that turned out to be of no use; they are made again.
func (s *legacySums) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = nil
}

// legacyRetry is how long after a failure the rollups are tried again.
const legacyRetry = 10 * time.Minute

// legacyLoop computes the rollups of legacy files that have none.
func (db *DB) legacyLoop(ctx context.Context) {
	for {
		if err := db.sumLegacies(ctx); ctx.Err() == nil {
			db.tried(opLegacySums, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(legacyRetry):
		}
	}
}

func (db *DB) sumLegacies(ctx context.Context) error {
	db.legacy.mu.Lock()
	files := slices.Clone(db.legacy.files)
	db.legacy.mu.Unlock()
	var errs []error
	for _, f := range files {
		errs = append(errs, db.sumIfMissing(ctx, f))
	}
	return errors.Join(errs...)
}

// sumIfMissing computes the rollups of one file. Only this one is pinned, and
// when it is to leave the work is given up.
func (db *DB) sumIfMissing(ctx context.Context, f *legacyFile) error {
	done, ok := db.legacy.pin(f)
	if !ok {
		return nil
	}
	defer done()
	f.sums.mu.Lock()
	have := f.sums.file != nil
	f.sums.mu.Unlock()
	if have || ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.leaving, cancel)()
	if err := db.sumLegacy(ctx, f); err != nil && f.leaving.Err() == nil {
		return err
	}
	return nil
}

// sumLegacy reads one file. Tasks that somebody else knows now are found on
// the way; those that become known meanwhile are noted, and looked up in the end.
func (db *DB) sumLegacy(ctx context.Context, f *legacyFile) (err error) {
	began := time.Now()
	s := &f.sums
	s.mu.Lock()
	s.building, s.newIDs, s.overflow, s.shared = true, nil, false, map[int64]bool{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.building, s.newIDs = false, nil
		s.mu.Unlock()
	}()
	// Whoever was about to add to the head without noting it has done so.
	if err := db.appendGate.drain(ctx); err != nil {
		return err
	}
	path := db.sumsPath(f)
	if err := compact.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	rows := 0
	batch := time.Now()
	err = blocks.BuildLegacySums(ctx, f.Legacy, filepath.Join(db.opts.Dir, "tmp"), path, func(ids []string, at []int64) error {
		rows += len(ids)
		if err := db.shareKnown(ctx, f, ids, at); err != nil {
			return err
		}
		err := db.yieldTo(ctx, time.Since(batch))
		batch = time.Now()
		return err
	})
	if err != nil {
		return err
	}
	file, err := blocks.OpenLegacySums(path, f.Legacy)
	if err != nil {
		return err
	}
	// Files only leave: those that are newer now have been so all the time.
	newer, done := db.legacy.newer(f)
	defer done()
	s.mu.Lock()
	s.newer = nil
	for _, g := range newer {
		s.newer = append(s.newer, g.Fingerprint())
	}
	s.mu.Unlock()
	if err := db.finishSums(ctx, f, file); err != nil {
		return err
	}
	level.Info(db.logger).Log("msg", "computed the rollups of a legacy file", "path", f.Path(), "rows", rows, "took", time.Since(began))
	return db.saveSharedOf(f)
}

// shareKnown notes the hours of rows whose ids are known elsewhere. The head
// is asked first: rows go from there to the parked file and to days.
func (db *DB) shareKnown(ctx context.Context, f *legacyFile, ids []string, at []int64) error {
	s := &f.sums
	newer, done := db.legacy.newer(f)
	defer done()
	for i, id := range ids {
		known, err := db.knownTo(ctx, newer, id)
		if err != nil {
			return err
		}
		if known {
			s.share(at[i])
		}
		if db.head.Get(id) != nil {
			s.share(at[i])
		}
	}
	bases, _, _, err := db.stored(ctx, ids)
	for i, id := range ids {
		if bases[id].Inv != nil {
			s.share(at[i])
		}
	}
	return err
}

// finishSums looks up what became known while the file was read, and takes the
// rollups into use when nothing is left.
func (db *DB) finishSums(ctx context.Context, f *legacyFile, file *blocks.LegacySums) error {
	s := &f.sums
	for {
		s.mu.Lock()
		if s.overflow {
			s.mu.Unlock()
			return errors.New("too many invocations were new while it was read")
		}
		ids := s.newIDs
		s.newIDs = nil
		if len(ids) == 0 {
			s.file, s.unsaved, s.days = file, true, nil
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		ids = slices.DeleteFunc(ids, func(id string) bool { return !file.MayContain(id) })
		rows, err := f.Lookup(ctx, ids)
		if err != nil {
			return err
		}
		for _, v := range rows {
			s.share(v.RowTime())
		}
	}
}

// yieldTo leaves half of the time, and all of it while the head fills, to
// whoever is waiting for an answer.
func (db *DB) yieldTo(ctx context.Context, worked time.Duration) error {
	for pause := worked; ; pause = time.Second {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if db.fullness() < 0.5 {
			return nil
		}
	}
}

// removeSums deletes the rollups of a file that has left.
func (db *DB) removeSums(f *legacyFile) error {
	path := db.sumsPath(f)
	f.sums.mu.Lock()
	s := f.sums.file
	f.sums.file = nil
	f.sums.mu.Unlock()
	if err := remove(path + ".shared"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s == nil {
		if _, err := os.Lstat(path); err != nil {
			return nil
		}
		return blocks.RemoveSealed(path)
	}
	return s.Remove(context.Background(), db.pool)
}
