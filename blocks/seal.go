package blocks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

const (
	// sealedPageBytes is measured (docs/adr/0004-block-format.md).
	sealedPageBytes = 4096
	// sealCacheKiB is the page cache, and the sort buffer, of a build.
	sealCacheKiB = 64 << 10
	// sealChunkCache is how much of the sources' details stays decompressed.
	// Rows of one cut are in order, so that a chunk a cut is enough.
	sealChunkCache = 32 << 20
)

// SealInput says what becomes a new sealed file.
type SealInput struct {
	Day        task.Day
	Generation int     // of the new file
	Live       *Live   // may be nil
	Sealed     *Sealed // the previous generation; may be nil
	// MaskedBy names rows of the previous generation that are superseded
	// elsewhere and left out; may be nil.
	MaskedBy func(id string) bool
	By       string // who seals, for people
	Version  string // of the program, for people
	At       time.Time
	// Rest is called between rows, often, and may sleep; nil does not.
	Rest func(context.Context)
}

// UseTempDir has SQLite sort in dir, which should be on the disk of the data,
// instead of /var/tmp. It changes the environment: call it before any file is
// opened.
func UseTempDir(dir string) error { return os.Setenv("SQLITE_TMPDIR", dir) }

// BuildSealed merges a live file and the previous generation into a new sealed
// file under tmpDir, checks it and makes it durable; PublishSealed gives it its
// name. The sources are not changed, and may be read and written meanwhile:
// what the new file has of the live one is told by SealedInfo and Absorbed.
// When ctx ends or anything fails, nothing is left in tmpDir.
func BuildSealed(ctx context.Context, tmpDir string, in SealInput) (tmpPath string, info SealedInfo, err error) {
	if in.Live == nil && in.Sealed == nil || in.Generation < 1 ||
		in.Live != nil && in.Live.day != in.Day || in.Sealed != nil && in.Sealed.info.Day != in.Day {
		return "", info, fmt.Errorf("sealing %s: the sources are not of that day", in.Day)
	}
	if err := fault.Op("create", tmpDir); err != nil {
		return "", info, err
	}
	f, err := os.CreateTemp(tmpDir, "seal-"+in.Day.String()+".*.db")
	if err != nil {
		return "", info, err
	}
	tmpPath = f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sealing %s: %w", in.Day, err), removeFiles(append(sides(tmpPath), tmpPath)...))
			tmpPath = ""
		}
	}()
	if err := f.Close(); err != nil {
		return "", info, err
	}
	if err := build(ctx, tmpPath, in); err != nil {
		return tmpPath, info, err
	}
	r := &report{path: tmpPath}
	s, err := r.sealed(ctx, false)
	if err != nil {
		return tmpPath, info, err
	}
	for _, f := range r.findings {
		return tmpPath, info, fmt.Errorf("the new file is wrong: %s", f.Problem)
	}
	if err := errors.Join(fault.Op("chmod", tmpPath), os.Chmod(tmpPath, 0o444)); err != nil {
		return tmpPath, info, err
	}
	return tmpPath, s.info, syncFile(tmpPath)
}

// build writes the new file.
func build(ctx context.Context, path string, in SealInput) (err error) {
	out, err := openFile(path, modeCreate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	if err := out.script(fmt.Sprintf("PRAGMA main.page_size = %d; PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF; "+
		"PRAGMA main.locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY; PRAGMA main.cache_size = -%d; PRAGMA main.application_id = %d; PRAGMA main.user_version = %d;",
		sealedPageBytes, sealCacheKiB, applicationID, FormatVersion)); err != nil {
		return err
	}
	b := &builder{out: out, in: in, rows: newRowInserter(), dicts: newDicts(), ids: newEntrySorter(filepath.Dir(path)), names: newEntrySorter(filepath.Dir(path)), words: newWordWriter(in.Day), file: &sealedMeta{absorbed: map[string]uint64{}}}
	if b.details.enc, err = sealEncoder(); err != nil {
		return err
	}
	if err := b.open(ctx); err != nil {
		return errors.Join(err, b.close())
	}
	err = out.transaction(func() error { return b.write(ctx) })
	if err = errors.Join(err, b.close()); err != nil {
		return err
	}
	// Inserts keep pages in memory (live.go), sorts do not.
	if err := out.scripts(ctx, "PRAGMA temp_store = FILE;"+rowIndexes+"ANALYZE;"); err != nil {
		return err
	}
	return out.script("PRAGMA main.journal_mode = DELETE")
}

// builder is one build under way.
type builder struct {
	in     SealInput
	out    *conn
	live   *sealSource
	sealed *sealSource
	mask   *MaskSet

	rows    *rowInserter
	dicts   *dicts
	details chunkBuilder
	encoded []byte
	chunk   int64
	filter  *bloom
	ids     *entrySorter
	names   *entrySorter // entries of name and time
	crowds  keyCrowds
	idPages sealedIDs
	words   *wordWriter
	file    *sealedMeta

	rollups     sealTally
	taken       map[string]bool // ids that the sources say moved here: whether a row of them is in the new file
	count       int64
	first, last int64 // keys
}

// open begins a read transaction on each source.
func (b *builder) open(ctx context.Context) (err error) {
	rows := int64(0)
	if s := b.in.Sealed; s != nil {
		if b.sealed, err = openSource(ctx, s.path, modeImmutable, b.in.Day); err != nil {
			return err
		}
		rows += s.info.Rows
		for name, cut := range s.file.absorbed {
			b.file.absorbed[name] = cut
		}
		b.file.absorbed[s.Name()] = 0
		b.file.cuts = b.file.cuts.union(s.file.cuts)
		b.file.moved = append(b.file.moved, s.file.moved...)
	}
	b.mask = &MaskSet{}
	if l := b.in.Live; l != nil {
		if b.live, err = openSource(ctx, l.path, modeRead, b.in.Day); err != nil {
			return err
		}
		b.live.ids = l
		rows += l.Rows()
		cuts, err := loadCuts(ctx, b.live.c, "main")
		if err != nil {
			return err
		}
		b.file.absorbed[l.Name()] = cuts.last()
		b.file.cuts = b.file.cuts.union(cuts)
		moved, err := loadMoved(ctx, b.live.c, "main")
		if err != nil {
			return err
		}
		b.file.moved = append(b.file.moved, moved...)
		if b.mask, err = loadMask(ctx, b.live.c); err != nil {
			return err
		}
	}
	b.filter = newBloom(filterBlocks(rows, sealedFilterBits))
	b.taken = make(map[string]bool, len(b.file.moved))
	for _, m := range b.file.moved {
		b.taken[m.ID] = false
	}
	return nil
}

func (b *builder) close() error {
	errs := []error{b.ids.close(), b.names.close()}
	for _, s := range []*sealSource{b.live, b.sealed} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// write fills the tables.
func (b *builder) write(ctx context.Context) error {
	if err := b.out.script(tables + gapTable + sealedRollups + sealedTables + nameTables + stateRows() + viewSQL(b.in.Day)); err != nil {
		return err
	}
	if err := b.merge(ctx); err != nil {
		return err
	}
	if err := b.filter.store(b.out); err != nil {
		return err
	}
	var err error
	if b.idPages, err = storeIDs(b.out, b.ids, b.crowds.bytes()); err != nil {
		return err
	}
	if err := storeNames(b.out, b.names); err != nil {
		return err
	}
	for _, r := range b.file.cuts {
		if err := storeCut(b.out, r); err != nil {
			return err
		}
	}
	for file, cut := range b.file.absorbed {
		if err := b.out.exec("INSERT INTO absorbed (file, last_cut) VALUES (?, ?)", file, int64(cut)); err != nil {
			return err
		}
	}
	for _, m := range b.file.moved {
		if !b.taken[m.ID] {
			continue // it has moved on: its new day says so
		}
		if err := storeMoved(b.out, m); err != nil {
			return err
		}
	}
	if err := b.copyGaps(ctx); err != nil {
		return err
	}
	return b.meta()
}

func (b *builder) meta() error {
	var oldest, newest int64
	if b.count > 0 {
		oldest, newest = keyTime(b.in.Day, b.first), keyTime(b.in.Day, b.last)
	}
	for _, m := range []struct {
		key   string
		value any
	}{
		{metaKind, kindSealed}, {metaFormat, int64(FormatVersion)}, {metaDay, b.in.Day.String()},
		{metaGeneration, int64(b.in.Generation)}, {metaRows, b.count}, {metaOldest, oldest}, {metaNewest, newest},
		{metaFilterBlocks, int64(b.filter.blocks())}, {metaIDPages, int64(b.idPages.pages)},
		{metaIDKeyBytes, int64(b.idPages.keyBytes)}, {metaSealedAt, b.in.At.UTC().Format(time.RFC3339)},
		{metaSealedBy, b.in.By}, {metaVersion, b.in.Version}, {metaWaitRule, int64(waitRule)},
	} {
		if err := setMeta(b.out, m.key, m.value); err != nil {
			return err
		}
	}
	return nil
}
