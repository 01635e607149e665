package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// gapTable is in live and sealed files: the stretches of time that end in the
// day and of which records are missing. Files from before it have none, and
// read as having no gaps; a live one gets it with its first gap.
const gapTable = `
CREATE TABLE IF NOT EXISTS gap (source TEXT, cause TEXT, start INTEGER, "end" INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (source, cause, start)) STRICT, WITHOUT ROWID;
`

const (
	// maxFileGaps is how many gaps of one file are kept in memory; beyond it
	// neighbours are taken together.
	maxFileGaps = 200
	// maxGapText bounds source and cause, in bytes.
	maxGapText = 1024
)

// storeGap merges a gap into the table: the longer and the larger win.
const storeGap = `INSERT INTO gap (source, cause, start, "end", count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, cause, start) DO UPDATE SET "end" = max("end", excluded."end"), count = max(count, excluded.count)`

// PutGaps stores gaps that end in this day, in one transaction that is on disk
// when it returns nil. What the file has already is merged.
func (l *Live) PutGaps(ctx context.Context, gaps []task.Gap) error {
	for _, g := range gaps {
		if g.Day() != l.day {
			return fmt.Errorf("a gap that ends on %s does not belong into %s", g.Day(), l.Name())
		}
	}
	w, err := l.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { l.writer <- w }()
	next := *l.state.Load()
	err = w.c.transaction(func() error {
		if err := w.c.script(gapTable); err != nil {
			return err
		}
		for _, g := range gaps {
			if err := putGap(w.c, g); err != nil {
				return err
			}
		}
		var err error
		next.gaps, next.folded, err = loadGaps(ctx, w.c)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing %d gaps in %s: %w", len(gaps), l.Name(), err)
	}
	l.state.Store(&next)
	return nil
}

func putGap(c *conn, g task.Gap) error {
	g = asStored(g)
	return c.exec(storeGap, g.Source, g.Cause, g.From, g.To, g.Count)
}

// asStored is a gap within the bounds of the table.
func asStored(g task.Gap) task.Gap {
	text := func(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxGapText)], "") }
	return task.Gap{Source: text(g.Source), Cause: text(g.Cause), From: g.From, To: max(g.From, g.To), Count: max(g.Count, 0)}
}

// Gaps are the gaps of the file, by start, as of the last commit; of very many,
// neighbours are taken together. The caller must not change them.
func (l *Live) Gaps() []task.Gap { return l.state.Load().gaps }

// Gaps is the same of a sealed file.
func (s *Sealed) Gaps() []task.Gap { return s.file.gaps }

// HasGap reports whether the file has a gap, or a longer statement of it, so that
// PutGaps would change nothing. Of very many gaps it does not know, and says no.
func (l *Live) HasGap(g task.Gap) bool {
	s := l.state.Load()
	return !s.folded && hasGap(s.gaps, g)
}

// HasGap is the same of a sealed file, whose overlay would have to take the gap.
func (s *Sealed) HasGap(g task.Gap) bool { return !s.file.folded && hasGap(s.file.gaps, g) }

func hasGap(gaps []task.Gap, g task.Gap) bool {
	g = asStored(g)
	return slices.ContainsFunc(gaps, func(has task.Gap) bool {
		return has.Source == g.Source && has.Cause == g.Cause && has.From == g.From && has.To >= g.To && has.Count >= g.Count
	})
}

// loadGaps reads what is kept in memory of the main schema's gaps. folded says that
// some stand for several.
func loadGaps(ctx context.Context, c *conn) (gaps []task.Gap, folded bool, err error) {
	fold := func() {
		n := len(gaps)
		gaps = task.FoldGaps(gaps, maxFileGaps)
		folded = folded || len(gaps) < n
	}
	err = eachGap(ctx, c, func(g task.Gap) error {
		if gaps = append(gaps, g); len(gaps) >= 8*maxFileGaps {
			fold()
		}
		return nil
	})
	fold()
	return slices.Clip(gaps), folded, err
}

// eachGap calls fn for every gap of the main schema, by start.
func eachGap(ctx context.Context, c *conn, fn func(task.Gap) error) error {
	var vals [1]driver.Value
	there, err := c.queryRow(ctx, vals[:], "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'gap'")
	if err != nil || !there {
		return err
	}
	return c.each(ctx, 5, func(vals []driver.Value) error {
		g, ok := scanGap(vals)
		if !ok {
			return fmt.Errorf("a gap: %w", errRow)
		}
		return fn(g)
	}, `SELECT source, cause, start, "end", count FROM main.gap ORDER BY start, source, cause`)
}

func scanGap(vals []driver.Value) (g task.Gap, ok bool) {
	var oks [5]bool
	g.Source, oks[0] = vals[0].(string)
	g.Cause, oks[1] = vals[1].(string)
	g.From, oks[2] = vals[2].(int64)
	g.To, oks[3] = vals[3].(int64)
	g.Count, oks[4] = vals[4].(int64)
	return g, !slices.Contains(oks[:], false) && g.To >= g.From && g.Count >= 0 && len(g.Source) <= maxGapText && len(g.Cause) <= maxGapText
}

// copyGaps gives the new file the gaps of the files it replaces.
func (b *builder) copyGaps(ctx context.Context) error {
	for _, from := range []*sealSource{b.sealed, b.live} {
		if from == nil {
			continue
		}
		if err := eachGap(ctx, from.c, func(g task.Gap) error { return putGap(b.out, g) }); err != nil {
			return err
		}
	}
	return nil
}

// AddGaps adds the gaps of all days that touch a range of time to a set; to 0
// is no bound. A gap is kept where it ends, and begins earlier: later days are
// asked too. Nothing is read from files.
func (v *View) AddGaps(set *task.GapSet, from, to int64) {
	add := func(gaps []task.Gap) {
		for _, g := range gaps {
			if to != 0 && g.From >= to {
				return // they are sorted
			}
			if g.Touches(from, to) {
				set.Add(g)
			}
		}
	}
	for _, d := range v.gen.days { // newest first
		if d.Day.End() < from {
			return
		}
		if d.Sealed != nil {
			add(d.Sealed.Gaps())
		}
		if d.Live != nil {
			add(d.Live.Gaps())
		}
	}
}

// FileGaps reads the gaps of a file that CheckFile understands; of one that
// has none by nature, nil.
func FileGaps(ctx context.Context, path string) (gaps []task.Gap, err error) {
	_, _, named := ParseLiveName(filepath.Base(path))
	mode := modeImmutable
	if named && isLive(path) {
		mode = readMode(path)
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	c, err := openFile(path, mode)
	if err != nil {
		return nil, openError(path, err)
	}
	gaps, _, err = loadGaps(ctx, c)
	return gaps, openError(path, errors.Join(err, c.close()))
}
