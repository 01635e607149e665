package blocks

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// Sealed is the file of a day that is over. It never changes; all methods may
// be used at the same time.
type Sealed struct {
	path string
	info SealedInfo
	file *sealedMeta

	filterBlocks int
	ids          sealedIDs
	named        bool // it has a run of names; else an index (versions 1 and 2)
	firstWaits   bool // its rollups count waits by the first rule (waitrule.go)
	filter       atomic.Pointer[bloom]
	bytes        int64
}

// SealedInfo is what a sealed file says of itself.
type SealedInfo struct {
	Day            task.Day
	Generation     int
	Rows           int64
	Oldest, Newest int64 // row times, microseconds; 0 without rows
	Gaps           int   // of very many, fewer
}

// sealedMeta is what the file inherits from those it replaces.
type sealedMeta struct {
	cuts     cutSet
	absorbed map[string]uint64
	moved    []Moved
	gaps     []task.Gap // gap.go
	folded   bool       // the gaps: some stand for several
}

// OpenSealed opens a file of days/ and reads what it says of itself. Whatever
// is wrong with it is told by a typed error (fileerror.go); nothing is created
// or changed, and no file stays open.
func OpenSealed(path string) (*Sealed, error) {
	day, generation, ok := ParseSealedName(filepath.Base(path))
	if !ok {
		if name := rightName(path); name != "" {
			return nil, &ForeignError{path, "this is a day file under another name: name it " + name}
		}
		return nil, &ForeignError{path, "this is not the name of a day file, such as 2026-11-22.db"}
	}
	s, err := openSealed(path)
	if err != nil {
		return nil, err
	}
	if s.info.Day != day || s.info.Generation != generation {
		return nil, &ForeignError{path, fmt.Sprintf("the file is generation %d of %s, and its name says otherwise", s.info.Generation, s.info.Day)}
	}
	return s, nil
}

// rightName is the name that a sealed file has to have; "" if it is none.
func rightName(path string) string {
	s, err := openSealed(path)
	if err != nil {
		return ""
	}
	return SealedName(s.info.Day, s.info.Generation)
}

// openSealed is OpenSealed under any name.
func openSealed(path string) (*Sealed, error) {
	for _, side := range sides(path) {
		if _, err := os.Lstat(side); err == nil {
			return nil, &UnsafeError{path, filepath.Base(side)}
		}
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	if err := checkSealedHeader(path); err != nil {
		return nil, err
	}
	c, err := openFile(path, modeImmutable)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Sealed{path: path}
	if err := errors.Join(s.load(context.Background(), c), c.close()); err != nil {
		var foreign *ForeignError
		if errors.As(err, &foreign) {
			return nil, foreign
		}
		return nil, openError(path, err)
	}
	return s, nil
}

// checkSealedHeader looks at what SQLite does not tell of an immutable file:
// that it is whole and does not need a WAL. The bytes of a sealed file may be
// read outside SQLite: no process writes or locks it.
func checkSealedHeader(path string) (err error) {
	if err := fault.Op("open", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var h [100]byte
	if _, err := io.ReadFull(f, h[:]); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("reading the header of %s: %w", path, err) // the disk says nothing of the file
		}
		return &DamagedError{path, fmt.Errorf("reading the header: %w", err)}
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	page := int64(binary.BigEndian.Uint16(h[16:]))
	if page == 1 {
		page = 65536
	}
	if size := page * int64(binary.BigEndian.Uint32(h[28:])); fi.Size() != size {
		return &DamagedError{path, fmt.Errorf("the file has %d bytes, its header says %d", fi.Size(), size)}
	}
	if h[18] != 1 || h[19] != 1 {
		return &ForeignError{path, "this is a live file, not a sealed one"}
	}
	return nil
}

func (s *Sealed) load(ctx context.Context, c *conn) error {
	day, err := metaDayOf(ctx, c)
	if err != nil {
		return err
	}
	s.info.Day = day
	if err := checkMeta(ctx, c, s.path, kindSealed, day); err != nil {
		return err
	}
	var generation, blocks, idPages, keyBytes, rule int64
	for _, m := range []struct {
		key string
		to  *int64
	}{
		{metaGeneration, &generation}, {metaRows, &s.info.Rows}, {metaOldest, &s.info.Oldest},
		{metaNewest, &s.info.Newest}, {metaFilterBlocks, &blocks}, {metaIDPages, &idPages}, {metaIDKeyBytes, &keyBytes}, {metaWaitRule, &rule},
	} {
		if *m.to, err = metaInt(ctx, c, m.key); err != nil {
			return err
		}
	}
	fi, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if blocks < 1 || blocks*filterBlockBytes > fi.Size() || generation < 1 ||
		idPages < 0 || idPages > fi.Size() || idPages > 0 && (keyBytes < 1 || keyBytes > 8) {
		return fmt.Errorf("meta: %w", errRow)
	}
	if s.named, err = hasTable(ctx, c, "main", "name_run"); err != nil {
		return err
	}
	s.firstWaits = rule < waitRule
	s.ids = sealedIDs{int(idPages), int(keyBytes)}
	s.info.Generation, s.filterBlocks, s.bytes = int(generation), int(blocks), allocated(fi)
	if s.file, err = loadSealedMeta(ctx, c); err == nil {
		s.info.Gaps = len(s.file.gaps)
	}
	return err
}

func loadSealedMeta(ctx context.Context, c *conn) (*sealedMeta, error) {
	m := &sealedMeta{absorbed: map[string]uint64{}}
	var err error
	if m.cuts, err = loadCuts(ctx, c, "main"); err != nil {
		return nil, err
	}
	if m.moved, err = loadMoved(ctx, c, "main"); err != nil {
		return nil, err
	}
	if m.gaps, m.folded, err = loadGaps(ctx, c); err != nil {
		return nil, err
	}
	err = c.each(ctx, 2, func(vals []driver.Value) error {
		file, ok1 := vals[0].(string)
		cut, ok2 := vals[1].(int64)
		if !ok1 || !ok2 || cut < 0 {
			return errRow
		}
		m.absorbed[file] = uint64(cut)
		return nil
	}, "SELECT file, last_cut FROM absorbed")
	return m, err
}

// Info is what the file says of itself.
func (s *Sealed) Info() SealedInfo { return s.info }

// Day is the day of the rows.
func (s *Sealed) Day() task.Day { return s.info.Day }

// Generation counts how often the day was sealed, from 1.
func (s *Sealed) Generation() int { return s.info.Generation }

// Path is where the file is.
func (s *Sealed) Path() string { return s.path }

// Name is the file's name.
func (s *Sealed) Name() string { return filepath.Base(s.path) }

// Rows is the number of rows.
func (s *Sealed) Rows() int64 { return s.info.Rows }

// Bounds are the oldest and newest row time, in microseconds; 0 without rows.
func (s *Sealed) Bounds() (oldest, newest int64) { return s.info.Oldest, s.info.Newest }

// Bytes is what the file occupies on the disk, without its checksum.
func (s *Sealed) Bytes() int64 { return s.bytes }

// Absorbed are the files that this one replaces: live files by name with the
// last cut that is here, older generations with 0, and what those replaced.
// The caller must not change it.
func (s *Sealed) Absorbed() map[string]uint64 { return s.file.absorbed }

// Replaces reports whether an older generation is here, by its name: live files may
// have had the same.
func (s *Sealed) Replaces(generation string) bool {
	last, named := s.file.absorbed[generation]
	return named && last == 0
}

// Moved are the ids put here whose rows in another day are superseded. The
// caller must not change it.
func (s *Sealed) Moved() []Moved { return s.file.moved }

// KnowsCut reports whether a cut's rows are here, or were before they moved on.
func (s *Sealed) KnowsCut(cut uint64) bool { return s.file.cuts.has(cut) }

// Covers reports whether everything in a live file is here, so that the live
// file can be removed.
func (s *Sealed) Covers(l *Live) bool {
	last, named := s.file.absorbed[l.Name()]
	cuts := l.state.Load().cuts
	return named && l.day == s.info.Day && last == cuts.last() && s.file.cuts.contains(cuts)
}

// MayContain asks the resident filter; known is false if it is not resident
// (then see probeFilter). maybe false is certain.
func (s *Sealed) MayContain(hash uint64) (maybe, known bool) {
	f := s.filter.Load()
	if f == nil {
		return true, false
	}
	return f.has(hash), true
}

// FilterBlocks is the size of the filter in blocks, for probeFilter.
func (s *Sealed) FilterBlocks() int { return s.filterBlocks }

// FilterBytes is the memory that the filter takes while it is resident.
func (s *Sealed) FilterBytes() int64 { return int64(s.filterBlocks) * filterBlockBytes }

// FilterResident reports whether the filter is in memory.
func (s *Sealed) FilterResident() bool { return s.filter.Load() != nil }

// LoadFilter makes the filter resident.
func (s *Sealed) LoadFilter() error {
	if s.filter.Load() != nil {
		return nil
	}
	c, err := openFile(s.path, modeImmutable)
	if err != nil {
		return openError(s.path, err)
	}
	f, err := loadBloom(context.Background(), c, s.filterBlocks)
	if err := errors.Join(err, c.close()); err != nil {
		return openError(s.path, err)
	}
	s.filter.Store(f)
	return nil
}

// DropFilter frees the filter's memory.
func (s *Sealed) DropFilter() { s.filter.Store(nil) }

// Close frees what is in memory. No file is open between calls.
func (s *Sealed) Close() error {
	s.DropFilter()
	return nil
}
