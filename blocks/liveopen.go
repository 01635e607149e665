package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// CreateLive creates the file of a day in dir and opens it. It is an error if
// anything has that name; a crash leaves nothing but a .tmp file.
func CreateLive(dir string, day task.Day, seq int) (*Live, error) {
	return CreateOverlay(dir, day, seq, nil)
}

// CreateOverlay is CreateLive over the day's sealed file, if it has one.
func CreateOverlay(dir string, day task.Day, seq int, s *Sealed) (*Live, error) {
	path := filepath.Join(dir, liveName(day, seq))
	if err := createFile(path, liveSchema(day, seq)+insertWaitRule(s)); err != nil {
		return nil, fmt.Errorf("creating a live file: %w", err)
	}
	return OpenLive(path)
}

// liveSchema fills a new live file.
func liveSchema(day task.Day, seq int) string {
	return tables + gapTable + liveRollups + liveTables + nameTables + rowIndexes + stateRows() + viewSQL(day) +
		fmt.Sprintf("INSERT INTO meta (key, value) VALUES ('%s', '%s'), ('%s', %d), ('%s', '%s'), ('%s', %d), ('%s', %d);",
			metaKind, kindLive, metaFormat, FormatVersion, metaDay, day, metaSeq, seq, metaHoursTo, day.Start())
}

// createFile makes a WAL-mode database of the format under its name. It is
// complete before it has the name, and its first page tells what it is without
// the WAL.
func createFile(path, schema string) (err error) {
	if err := absent(path); err != nil {
		return err
	}
	tmp := path + ".tmp"
	defer func() {
		if err != nil { // a full disk must not get fuller
			err = errors.Join(err, removeFiles(append(sides(tmp), tmp)...))
		}
	}()
	if err := removeFiles(append(sides(tmp), tmp)...); err != nil {
		return err
	}
	c, err := openFile(tmp, modeCreate)
	if err != nil {
		return err
	}
	err = c.script(fmt.Sprintf("PRAGMA main.page_size = %d; PRAGMA main.application_id = %d; PRAGMA main.user_version = %d;",
		livePageBytes, applicationID, FormatVersion))
	if err == nil {
		err = c.transaction(func() error { return c.script(schema) })
	}
	if err == nil {
		err = c.toWAL()
	}
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	fault.Point("live.created")
	return publish(tmp, path)
}

// toWAL makes a database a WAL-mode file. The PRAGMA answers with a row, and is
// committed behind it: who does not step on, as script, misses the error. Where
// it cannot change the mode at all there is none, only the mode that stays.
func (c *conn) toWAL() error {
	var mode [1]driver.Value
	if _, err := c.queryRow(context.Background(), mode[:], "PRAGMA main.journal_mode = WAL"); err != nil {
		return err
	}
	if got, _ := mode[0].(string); got != "wal" {
		return fmt.Errorf("SQLite could not make it a WAL-mode file, it is in mode %q: is there room, and can the disk be written?", got)
	}
	return nil
}

// OpenLive opens a file that CreateLive made. What is not one is refused with
// a typed error (fileerror.go) and not changed.
func OpenLive(path string) (*Live, error) {
	day, seq, ok := ParseLiveName(filepath.Base(path))
	if !ok {
		return nil, &ForeignError{path, "this is not the name of a live file"}
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	l := &Live{path: path, day: day, seq: seq, mode: modeRead, writer: make(chan *liveWriter, 1), reader: make(chan *liveReader, 1), closed: make(chan struct{})}
	w, err := l.openWriter()
	if err != nil {
		return nil, openError(path, err)
	}
	c, err := openFile(path, modeRead)
	if err != nil {
		return nil, errors.Join(openError(path, err), w.c.close())
	}
	l.writer <- w
	l.reader <- &liveReader{c: c, chunks: newChunkReader(1 << 20)}
	return l, nil
}

// openWriter opens the writing connection and reads the state.
func (l *Live) openWriter() (w *liveWriter, err error) {
	c, err := openFile(l.path, modeWrite)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	// An INSERT of many rows keeps the pages it changes until it is through; in a
	// temporary file that costs a third of the speed.
	if err := c.script(fmt.Sprintf("PRAGMA main.wal_autocheckpoint = %d; PRAGMA main.journal_size_limit = %d; PRAGMA main.cache_size = -%d; PRAGMA temp_store = MEMORY",
		liveWALPages, liveWALKeep, liveCacheKiB)); err != nil {
		return nil, err
	}
	if w, err = l.load(c); err != nil {
		return nil, err
	}
	return w, writable(c, l.path)
}

// writable makes sure of what SQLite does not tell when a writer is opened. A file
// or a -wal that the disk does not open is opened once more to be read only, and
// would be for ever; and the name of the -wal, which the first read has created, is
// made durable with the first commit, but not if that fails.
func writable(c *conn, path string) error {
	return errors.Join(c.exec("DELETE FROM main.cut WHERE false"), SyncDir(filepath.Dir(path)))
}

// load reads the state of the file, and what a writer needs.
func (l *Live) load(c *conn) (w *liveWriter, err error) {
	ctx := context.Background()
	if err := checkMeta(ctx, c, l.path, kindLive, l.day); err != nil {
		return nil, err
	}
	rule, err := metaInt(ctx, c, metaWaitRule)
	if err != nil {
		return nil, err
	}
	l.firstWaits = rule < waitRule
	version, err := pragmaInt(c, "user_version")
	if err != nil {
		return nil, err
	}
	l.short = version >= 5
	w = &liveWriter{l: l, c: c, rows: newRowInserter()}
	w.rollups.reset(true)
	s := &liveState{}
	if s.cuts, err = loadCuts(ctx, c, "main"); err != nil {
		return nil, err
	}
	if s.mask, err = loadMask(ctx, c); err != nil {
		return nil, err
	}
	if s.gaps, s.folded, err = loadGaps(ctx, c); err != nil {
		return nil, err
	}
	if s.hours, err = loadHoursState(ctx, c); err != nil {
		return nil, err
	}
	if w.dicts, err = loadDicts(ctx, c); err != nil {
		return nil, err
	}
	var vals [1]driver.Value
	if _, err = c.queryRow(ctx, vals[:], "SELECT count(*) FROM moved"); err != nil {
		return nil, err
	}
	s.moved, _ = vals[0].(int64)
	if _, err = c.queryRow(ctx, vals[:], "SELECT ifnull(max(id), 0) FROM chunk"); err != nil {
		return nil, err
	}
	w.chunk, _ = vals[0].(int64)
	if s.oldest, s.newest, err = rowBounds(ctx, c, l.day); err != nil {
		return nil, err
	}
	if w.words, err = loadWordWriter(ctx, c, l.day); err != nil {
		return nil, err
	}
	if w.names, err = loadNameWriter(ctx, c); err != nil {
		return nil, err
	}
	if l.named = w.names != nil; !l.named {
		if w.details.enc, err = oldEncoder(); err != nil {
			return nil, err
		}
	}
	if s.rows, err = liveRows(ctx, c, l.named); err != nil {
		return nil, err
	}
	l.filter = newBloomChain(s.rows)
	if w.ids, err = loadIDs(ctx, c, l.filter.add); err != nil {
		return nil, err
	}
	l.indexes.Store(&[]*idIndex{w.ids})
	l.state.Store(s)
	return w, nil
}

// liveRows is the number of rows: what the last cut says, as counting reads the
// whole table, or in files of version 2 an index.
func liveRows(ctx context.Context, c *conn, told bool) (int64, error) {
	if told {
		return metaInt(ctx, c, metaRows)
	}
	var vals [1]driver.Value
	_, err := c.queryRow(ctx, vals[:], "SELECT count(*) FROM invocation")
	n, _ := vals[0].(int64)
	return n, err
}

// rowBounds are the row times of the first and the last row of the main
// schema; 0 without rows.
func rowBounds(ctx context.Context, c *conn, day task.Day) (oldest, newest int64, err error) {
	var vals [2]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT (SELECT min(key) FROM invocation), (SELECT max(key) FROM invocation)"); err != nil {
		return 0, 0, err
	}
	first, ok1 := vals[0].(int64)
	last, ok2 := vals[1].(int64)
	if !ok1 || !ok2 {
		return 0, 0, nil
	}
	return keyTime(day, first), keyTime(day, last), nil
}
