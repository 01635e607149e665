package blocks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"daybook/tsdb/fault"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// The rollups of a legacy file are computed once and kept beside it, not in it:
// in a small file of our own, like a sealed day without rows. It never changes,
// says which state of the legacy file it is of, and is made anew whenever
// anything about it is in doubt. docs/format/directory.md describes it.

const (
	kindLegacySums = "legacy-rollups"
	metaPrint      = "fingerprint" // of the legacy file
	// legacyFilterBytes bounds the id filter in memory; of more ids than it is
	// made for it says more often that it may know one.
	legacyFilterBytes = 64 << 20
	// legacySumsBatch is how many rows are asked about and counted between two
	// looks at whether to go on.
	legacySumsBatch = 2000
)

const legacySumsTables = `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE task_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE id_filter (page INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
`

// LegacySums are the rollups of a legacy file by hour and by day, and a filter
// of its ids. It is safe for concurrent use.
type LegacySums struct {
	path   string
	filter *bloom
}

// LegacySumsStep is called with the rows of each batch as they are counted: their ids
// and row times. It may take its time, and its error ends the work.
type LegacySumsStep func(ids []string, at []int64) error

// BuildLegacySums reads a legacy file once, four hours of data in a read
// transaction, and writes its sums to path by way of tmpDir. Nothing is left
// of it when it fails.
func BuildLegacySums(ctx context.Context, l *Legacy, tmpDir, path string, step LegacySumsStep) (err error) {
	if err := fault.Op("create", filepath.Join(tmpDir, "legacy-rollups.db")); err != nil {
		return err
	}
	f, err := os.CreateTemp(tmpDir, "legacy-rollups.*.db")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("computing the rollups of %s: %w", l.path, err), removeFiles(append(sides(tmp), tmp)...))
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	if err := writeLegacySums(ctx, l, tmp, step); err != nil {
		return err
	}
	if err := fault.Op("chmod", tmp); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o444); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	if err := RemoveSealed(path); err != nil {
		return err
	}
	if err := publish(tmp, path); err != nil {
		return err
	}
	return WriteChecksum(path, tmpDir)
}

func writeLegacySums(ctx context.Context, l *Legacy, path string, step LegacySumsStep) (err error) {
	c, err := openFile(path, modeCreate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.script(fmt.Sprintf("PRAGMA main.page_size = %d; PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF; "+
		"PRAGMA main.locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; PRAGMA main.cache_size = -4096; PRAGMA main.application_id = %d; PRAGMA main.user_version = %d;",
		sealedPageBytes, applicationID, FormatVersion) + legacySumsTables + sealedRollups); err != nil {
		return err
	}
	w := legacySumsWriter{c: c, step: step, names: map[string]int64{}, filter: newBloom(min(filterBlocks(l.rows, sealedFilterBits), legacyFilterBytes/filterBlockBytes))}
	if err := c.transaction(func() error { return w.write(ctx, l) }); err != nil {
		return err
	}
	return c.script("PRAGMA main.journal_mode = DELETE")
}

// legacySumsWriter is one pass over a legacy file.
type legacySumsWriter struct {
	c      *conn
	step   LegacySumsStep
	names  map[string]int64 // up to one more than are counted apart
	filter *bloom
	day    task.Day
	tally  sealTally
	ids    []string
	at     []int64
}

func (w *legacySumsWriter) write(ctx context.Context, l *Legacy) error {
	err := l.Select(ctx, Select{Oldest: true}, func(v *task.Invocation) (bool, error) {
		return true, w.add(v)
	})
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.tally.finish(w.c, w.day)
	}
	if err == nil {
		err = w.filter.store(w.c)
	}
	if err != nil {
		return err
	}
	return errors.Join(setMeta(w.c, metaKind, kindLegacySums), setMeta(w.c, metaFormat, int64(FormatVersion)),
		setMeta(w.c, metaWaitRule, int64(waitRule)), setMeta(w.c, metaPrint, l.guard.was.String()), setMeta(w.c, metaFilterBlocks, int64(w.filter.blocks())), l.guard.check())
}

func (w *legacySumsWriter) add(v *task.Invocation) error {
	at := v.RowTime()
	if d := task.DayOf(at); d != w.day {
		if err := w.tally.finish(w.c, w.day); err != nil {
			return err
		}
		w.day, w.tally = d, sealTally{buf: w.tally.buf}
	}
	name, err := w.name(v.TaskName)
	if err != nil {
		return err
	}
	if err := w.tally.add(w.c, v, name); err != nil {
		return err
	}
	w.filter.add(task.HashID(v.TaskID))
	if w.ids, w.at = append(w.ids, strings.Clone(v.TaskID)), append(w.at, at); len(w.ids) < legacySumsBatch {
		return nil
	}
	return w.flush()
}

// name is the id of a task name; all that there is no room for have the same.
func (w *legacySumsWriter) name(name string) (int64, error) {
	if id := w.names[name]; id != 0 {
		return id, nil
	}
	id := int64(len(w.names) + 1)
	if id > maxRollupNames+1 {
		return id, nil
	}
	name = strings.Clone(name)
	w.names[name] = id
	return id, w.c.exec("INSERT INTO task_name (id, name) VALUES (?, ?)", id, name)
}

func (w *legacySumsWriter) flush() error {
	err := w.step(w.ids, w.at)
	clear(w.ids)
	w.ids, w.at = w.ids[:0], w.at[:0]
	return err
}

// Fingerprint is another one when the file has changed.
func (l *Legacy) Fingerprint() string { return l.guard.was.String() }

func (p legacyPrint) String() string {
	wal := int64(0)
	if p.wal != 0 {
		wal = p.walTime.UnixNano()
	}
	return fmt.Sprint(p.size, " ", p.mtime.UnixNano(), " ", p.wal, " ", wal)
}

// OpenLegacySums opens what BuildLegacySums has written, if it is whole and of
// the legacy file as it is now.
func OpenLegacySums(path string, l *Legacy) (s *LegacySums, err error) {
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	if err := fault.Op("open", path+checksumSuffix); err != nil {
		return nil, err
	}
	want, err := os.ReadFile(path + checksumSuffix)
	if err != nil {
		return nil, err
	}
	sum, err := fileSum(path)
	if err != nil {
		return nil, err
	}
	if string(want) != sum+"  "+filepath.Base(path)+"\n" {
		return nil, &DamagedError{path, errors.New("its checksum is another")}
	}
	c, err := openFile(path, modeImmutable)
	if err != nil {
		return nil, openError(path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	ctx := context.Background()
	kind, err := metaText(ctx, c, metaKind)
	if err != nil || kind != kindLegacySums {
		return nil, errors.Join(&ForeignError{path, "it holds no rollups of a legacy file"}, err)
	}
	if print, err := metaText(ctx, c, metaPrint); err != nil || print != l.guard.was.String() {
		return nil, errors.Join(fmt.Errorf("%s is of another state of %s", path, l.path), err)
	}
	if rule, err := metaInt(ctx, c, metaWaitRule); err != nil || rule != waitRule {
		return nil, errors.Join(fmt.Errorf("%s counts waits as an older version did", path), err)
	}
	blocks, err := metaInt(ctx, c, metaFilterBlocks)
	if err != nil || blocks < 1 || blocks > legacyFilterBytes/filterBlockBytes {
		return nil, &DamagedError{path, errors.Join(errFilter, err)}
	}
	s = &LegacySums{path: path}
	if s.filter, err = loadBloom(ctx, c, int(blocks)); err != nil {
		return nil, openError(path, err)
	}
	return s, nil
}

// MayContain reports whether the legacy file may know an id; false is certain.
func (s *LegacySums) MayContain(id string) bool { return s.filter.has(task.HashID(id)) }

// Bytes is the memory that it takes.
func (s *LegacySums) Bytes() int64 { return int64(len(s.filter.words)) * 8 }

// Rollups calls fn for the rollups of a range, by hours or by days. After an
// error some may have been handed over; none after ErrFolded.
func (s *LegacySums) Rollups(ctx context.Context, p *Pool, q RollupQuery, fn func(RollupPart) error) (err error) {
	if q.Width != rollup.Hour && q.Width != rollup.Day {
		return fmt.Errorf("there are no rollups of width %d", q.Width)
	}
	conn, err := p.acquire(ctx, attachment{s.path, modeImmutable})
	if err != nil {
		return err
	}
	defer func() { p.release(conn, err) }()
	if err = conn.begin(); err != nil {
		return err
	}
	if q.Name != "" {
		id, most, err := nameID(ctx, conn.c, conn.schema(s.path), q.Name)
		if err == nil && most > maxRollupNames && (id == 0 || id > maxRollupNames) {
			err = ErrFolded
		}
		if err != nil {
			return err
		}
	}
	return readRollups(ctx, conn.c, conn.schema(s.path), q, q.Width, onlyAdded(fn))
}

// Remove deletes the file once no reader has it attached.
func (s *LegacySums) Remove(ctx context.Context, p *Pool) error {
	p.retire([]string{s.path})
	if err := p.drained(ctx, s.path); err != nil {
		return err
	}
	return RemoveSealed(s.path)
}
