package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

const (
	// maxUses bounds the names that an Analysis counts apart, of each kind;
	// the others are counted together as rollup.Other.
	maxUses = 10_000
	// largestRows is how many of the largest rows an Analysis names.
	largestRows = 10
)

// Use is what the rows of one name take: bytes of the row itself, of its long
// fields as text, and its share of the compressed chunks they are in.
type Use struct {
	Name         string // "" are rows without one
	Rows         int64
	RowBytes     int64
	DetailBytes  int64
	DetailStored int64
}

// Stored is what the rows take in the file, indexes aside.
func (u *Use) Stored() int64 { return u.RowBytes + u.DetailStored }

func (u *Use) add(o *Use) {
	u.Rows += o.Rows
	u.RowBytes += o.RowBytes
	u.DetailBytes += o.DetailBytes
	u.DetailStored += o.DetailStored
}

// DetailFields are the long fields, in the order of Analysis.Fields.
var DetailFields = [chunkFields]string{"args", "kwargs", "result", "exception_message", "traceback"}

// LargeRow is one of the largest invocations.
type LargeRow struct {
	TaskID   string
	TaskName string
	State    task.State
	At       int64 // row time
	Use
	Fields [chunkFields]int64 // bytes of each long field
}

// Part is a part of a file: a table or its indexes.
type Part struct {
	Name      string
	Entries   int64
	Bytes     int64
	Estimated bool // from the sizes of values; SQLite was not asked for pages
}

// FileUse is one file that was read.
type FileUse struct {
	Path     string
	Kind     string   // live, sealed or legacy
	Day      task.Day // of a legacy file, of its newest row
	Bytes    int64    // of the file on disk
	WALBytes int64    // beside it
	Rows     int64
	Parts    []Part // the largest first
}

// Analysis is what fills some files. Rows that an overlay hides take space and
// count too.
type Analysis struct {
	Files   []FileUse
	All     Use
	By      [4][]Use // by task name, worker, queue and exception type; the largest first
	Fields  [chunkFields]int64
	Largest []LargeRow
}

// Analyze reads the rows of files, once, without opening any other. It
// changes nothing, may run beside a daemon, and its memory is bounded: by the
// names that are counted apart, not by rows.
func Analyze(ctx context.Context, paths ...string) (*Analysis, error) {
	a, sums := &Analysis{}, [4]*uses{newUses(), newUses(), newUses(), newUses()}
	for _, path := range paths {
		if err := a.file(ctx, path, &sums); err != nil {
			return nil, err
		}
	}
	for i, u := range sums {
		a.By[i] = u.list()
	}
	return a, nil
}

// file adds one file, in one read transaction.
func (a *Analysis) file(ctx context.Context, path string, sums *[4]*uses) (err error) {
	f, mode := FileUse{Path: path}, modeImmutable
	if day, _, live := ParseLiveName(filepath.Base(path)); live && isLive(path) {
		f.Kind, f.Day, mode = kindLive, day, readMode(path)
		if err := checkOurs(path); err != nil {
			return err
		}
	} else {
		s, err := OpenSealed(path)
		if err != nil {
			l, err := tryLegacy(path, err)
			if err != nil {
				return err
			}
			return errors.Join(a.legacyFile(ctx, l, sums), l.Close())
		}
		f.Kind, f.Day = kindSealed, s.Day()
		if err := s.Close(); err != nil {
			return err
		}
	}
	before := stampOf(path)
	c, err := openFile(path, mode)
	if err != nil {
		return openError(path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	err = c.transactionOf("BEGIN", func() error {
		if err := checkMeta(ctx, c, path, f.Kind, f.Day); err != nil {
			return err
		}
		r := &rowAnalysis{a: a, c: c, day: f.Day, chunks: map[int64]*chunkUse{}}
		if err := r.run(ctx, sums); err != nil {
			return err
		}
		f.Rows = r.rows
		f.Parts, err = r.parts(ctx, f.Kind)
		return err
	})
	if f.Kind == kindLive && mode == modeImmutable && stampOf(path) != before {
		return fmt.Errorf("%s: %w", path, ErrChanged) // a daemon has begun to write it
	}
	if err != nil {
		return openError(path, err)
	}
	for _, p := range append(sides(path), path) {
		fi, err := os.Stat(p)
		switch {
		case err == nil && p == path:
			f.Bytes = fi.Size()
		case err == nil:
			f.WALBytes += fi.Size()
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	a.Files = append(a.Files, f)
	return nil
}

// large keeps the largest rows.
func (a *Analysis) large(u *Use, make func() (LargeRow, error)) error {
	size := func(r LargeRow) int64 { return r.RowBytes + r.DetailBytes }
	if len(a.Largest) == largestRows && size(a.Largest[largestRows-1]) >= u.RowBytes+u.DetailBytes {
		return nil
	}
	row, err := make()
	if err != nil {
		return err
	}
	row.Use = *u
	i, _ := slices.BinarySearchFunc(a.Largest, row, func(x, y LargeRow) int { return cmp.Or(cmp.Compare(size(y), size(x)), -1) })
	a.Largest = slices.Insert(a.Largest, i, row)
	a.Largest = a.Largest[:min(len(a.Largest), largestRows)]
	return nil
}

// uses adds up by name.
type uses struct {
	byName map[string]*Use
	rest   Use
}

func newUses() *uses { return &uses{byName: map[string]*Use{}} }

func (u *uses) add(name string, o *Use) {
	x := u.byName[name]
	if x == nil {
		if len(u.byName) >= maxUses {
			u.rest.add(o)
			return
		}
		x = &Use{Name: name}
		u.byName[name] = x
	}
	x.add(o)
}

// list is the largest first, what is not counted apart at the end.
func (u *uses) list() []Use {
	out := make([]Use, 0, len(u.byName)+1)
	for _, x := range u.byName {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.Stored(), a.Stored()), cmp.Compare(a.Name, b.Name))
	})
	if u.rest.Rows > 0 {
		u.rest.Name = rollup.Other
		out = append(out, u.rest)
	}
	return out
}

// byID adds up by dictionary id; 0 is no name, -1 what is not counted apart.
type byID map[int64]*Use

func (m byID) add(id int64, o *Use) {
	x := m[id]
	if x == nil {
		if len(m) >= maxUses {
			id = -1
		}
		if x = m[id]; x == nil {
			x = &Use{}
			m[id] = x
		}
	}
	x.add(o)
}

// into adds everything to the sums by name.
func (m byID) into(ctx context.Context, c *conn, table string, sum *uses) error {
	for id, u := range m {
		name, err := dictName(ctx, c, table, id)
		if err != nil {
			return err
		}
		if id < 0 {
			sum.rest.add(u)
		} else {
			sum.add(name, u)
		}
	}
	return nil
}

func dictName(ctx context.Context, c *conn, table string, id int64) (string, error) {
	if id <= 0 {
		return "", nil
	}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT name FROM "+table+" WHERE id = ?", id); err != nil {
		return "", err
	}
	name, ok := vals[0].(string)
	if !ok {
		return "", fmt.Errorf("%s %d: %w", table, id, errRow)
	}
	return name, nil
}
