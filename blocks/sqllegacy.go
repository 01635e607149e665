package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/task"
)

// sqlLegacy is an attached legacy file. The connection only counts its rows
// off; what a row says is told by the same code as everywhere, through the
// file's own connections: which of several rows stands for its task, which
// state it tells of, and what is cut and mended are no business of SQL.
type sqlLegacy struct {
	l      *Legacy
	s      *SQL
	n      int // index in SQL.old
	schema string
	c      *conn // the file's own; nil until it is needed
	probes int
	twice  *legacyTwice
	byRow  []string // the statement that reads a row, by table

	at struct { // the row that was asked for last
		known, shown bool
		table, row   int64
		place        legacyFound
		details      bool
		cols         []any // nil until one is wanted
	}
}

func (s *SQL) attachLegacy(ctx context.Context, schema string, l *Legacy) error {
	if err := l.guard.check(); err != nil {
		return err
	}
	if l.guard.mode == legacyPlain {
		if err := s.c.exec("ATTACH ? AS "+schema, fileURI(l.path, modeImmutable)); err != nil {
			return legacyError(ctx, l.path, err)
		}
	} else if err := s.attachWithWAL(schema, l.path); err != nil {
		return legacyError(ctx, l.path, err)
	}
	s.old = append(s.old, &sqlLegacy{l: l, s: s, n: len(s.old), schema: schema, twice: l.twiceIfBegun()})
	s.named[schema] = l.path
	return nil
}

// attachWithWAL attaches a file as openLegacyConn opens one. The locking mode
// without a schema's name is that of what is attached next; afterwards, it
// leaves one alone whose WAL has its index in memory. No other file may be
// attached yet: for a live one it would be wrong.
func (s *SQL) attachWithWAL(schema, path string) error {
	if err := s.c.script("PRAGMA locking_mode = EXCLUSIVE"); err != nil {
		return err
	}
	if err := s.c.exec("ATTACH ? AS "+schema, fileURI(path, modeRead)+"&vfs=unix-none"); err != nil {
		return err
	}
	if err := s.c.c.SetFileControlInt(schema, sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1); err != nil {
		return err
	}
	return s.c.script("PRAGMA locking_mode = NORMAL")
}

// armTexts are the SELECTs of its tables.
func (o *sqlLegacy) armTexts() []string {
	var arms []string
	for _, t := range o.l.tables {
		text := "SELECT "
		for i, c := range sqlColumns {
			if i > 0 {
				text += ", "
			}
			col := fmt.Sprintf("daybook_legacy(%d, %d, t._rowid_, %d)", o.n, t.n, i)
			if c.typ != "" {
				col = "CAST(" + col + " AS " + c.typ + ")"
			}
			text += col + " AS " + c.name
		}
		arms = append(arms, fmt.Sprintf("%s FROM %s.%s AS t NOT INDEXED WHERE daybook_legacy(%d, %d, t._rowid_, -1)", text, o.schema, t.name, o.n, t.n))
	}
	return arms
}

// column is one column of a row, or with -1 whether it is shown.
func (o *sqlLegacy) column(table, row, col int64) (any, error) {
	if table < 0 || table >= int64(len(o.l.tables)) || col < -1 || col >= int64(len(sqlColumns)) {
		return nil, errors.New("there is no such column")
	}
	// The statement's context interrupts SQLite; what runs inside of it is short.
	ctx := context.Background()
	if !o.at.known || o.at.table != table || o.at.row != row {
		if err := o.seek(ctx, table, row); err != nil {
			return nil, legacyError(ctx, o.l.path, err)
		}
	}
	switch {
	case col < 0 && o.at.shown:
		return int64(1), nil
	case col < 0:
		return int64(0), nil
	case !o.at.shown:
		return nil, nil
	case o.at.cols == nil:
		o.at.cols = sqlRow(&o.at.place.inv)
	}
	if int(col) >= len(sqlColumns)-sqlDetails && !o.at.details {
		f := o.at.place
		if err := (legacyReader{o.l, o.c}).complete(ctx, &f); err != nil {
			return nil, legacyError(ctx, o.l.path, err)
		}
		o.at.details, o.at.cols = true, sqlRow(&f.inv)
	}
	return o.at.cols[col], nil
}

// seek reads a row and decides whether it is shown.
func (o *sqlLegacy) seek(ctx context.Context, table, row int64) error {
	if o.c == nil {
		c, err := openLegacyConn(o.l.path, o.l.guard.mode)
		if err != nil {
			return err
		}
		o.c = c
		for _, t := range o.l.tables {
			o.byRow = append(o.byRow, t.byRowText())
		}
	}
	o.at.known = false
	f, ok, err := o.stands(ctx, o.l.tables[table], row)
	if err != nil {
		return err
	}
	o.at.table, o.at.row, o.at.known, o.at.shown, o.at.place = table, row, true, ok, f
	o.at.details, o.at.cols = false, nil
	return nil
}

// stands reads a row and reports whether it stands for its task, and is in the
// range.
func (o *sqlLegacy) stands(ctx context.Context, t *legacyTable, row int64) (f legacyFound, ok bool, err error) {
	r := legacyReader{o.l, o.c}
	var vals [legacyCoreCount]driver.Value
	found, err := o.c.queryRow(ctx, vals[:], o.byRow[t.n], row)
	if !found || err != nil {
		return f, false, err
	}
	var p legacyPlaced
	if !p.scan(t, vals[:]) {
		return f, false, nil
	}
	if p.at, err = r.place(ctx, &p.legacyRow); err != nil || p.at == 0 {
		return f, false, err
	}
	hash := task.HashID(p.id)
	if p.at < o.s.o.From || o.s.o.To != 0 && p.at >= o.s.o.To {
		return f, false, nil
	}
	if hidden, err := o.s.inDays(ctx, hash, p.id); hidden || err != nil {
		return f, false, err
	}
	if o.s.o.Hidden != nil {
		if hidden, err := o.s.o.Hidden(ctx, o.l, p.id); hidden || err != nil {
			return f, false, err
		}
	}
	f = legacyFound{key: task.Key{At: p.at, Hash: hash, ID: p.id}, inv: p.invocation(p.at), place: p.legacyRow}
	if o.probes++; o.probes >= legacyProbes && o.twice == nil {
		o.twice = o.l.twice()
	}
	if len(o.l.tables) == 1 || o.twice.single(hash) {
		return f, true, nil
	}
	tables, err := r.holders(ctx, p.id)
	if err != nil || len(tables) < 2 {
		return f, true, err
	}
	rows, err := r.rowsOf(ctx, p.id, tables, false)
	if err != nil || len(rows) < 2 {
		return f, true, err
	}
	v, latest := mergeLegacy(rows)
	f.inv, f.twice = v, true
	return f, rows[latest].table == t && rows[latest].rowid == row, nil
}

// inDays reports whether memory or a day knows an id: what is known there is
// newer than, or merged from, what a legacy file says.
func (s *SQL) inDays(ctx context.Context, hash uint64, id string) (bool, error) {
	if contains(s.hashes, hash) && s.inMemory(id) {
		return true, nil
	}
	maybe := false
	for _, b := range s.blooms {
		maybe = maybe || b.has(hash)
	}
	for _, d := range s.v.gen.days {
		if d.Sealed != nil && !maybe {
			here, known := d.Sealed.MayContain(hash)
			maybe = here || !known
		}
	}
	if !maybe {
		return false, nil
	}
	found, err := s.v.Lookup(ctx, []string{id})
	return len(found) > 0, err
}

// filterLive makes filters of the ids of all live files.
func (s *SQL) filterLive(ctx context.Context) error {
	for _, d := range s.v.gen.days {
		if len(s.old) == 0 || d.Live == nil {
			continue
		}
		b := newBloomChain(d.Live.Rows())
		err := d.Live.withReader(ctx, func(r *liveReader) error {
			_, err := loadIDs(ctx, r.c, b.add)
			return err
		})
		if err != nil {
			return blame(ctx, d.Live.Path(), err)
		}
		s.blooms = append(s.blooms, b)
	}
	return nil
}
