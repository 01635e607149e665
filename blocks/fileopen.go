package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// openError gives SQLite's refusal of a file its type, unless it has one.
func openError(path string, err error) error {
	if hasType(err) {
		return err
	}
	var se sqlite3.Error
	if err == nil || !errors.As(err, &se) {
		if ofContent(err) {
			return &DamagedError{path, err}
		}
		return wrapPath(path, err)
	}
	switch se.Code {
	case sqlite3.ErrNotADB:
		return &ForeignError{path, "this is not a SQLite database"}
	case sqlite3.ErrCorrupt:
		return &DamagedError{path, err}
	}
	return wrapPath(path, err)
}

// ofContent reports whether an error is about what a file holds, and not SQLite's.
func ofContent(err error) bool {
	return errors.Is(err, errRow) || errors.Is(err, errChunk) || errors.Is(err, text.ErrPage) || errors.Is(err, rollup.ErrDamaged)
}

// hasType reports whether an error says what is wrong with which file.
func hasType(err error) bool {
	var (
		version *VersionError
		foreign *ForeignError
		unsafe  *UnsafeError
		damaged *DamagedError
	)
	return errors.As(err, &version) || errors.As(err, &foreign) || errors.As(err, &unsafe) || errors.As(err, &damaged)
}

func wrapPath(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("opening %s: %w", path, err)
}

// checkOurs refuses what is not a file of this program's format. It changes nothing: the file is read as immutable, which
// neither locks nor recovers it nor creates anything beside it.
func checkOurs(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return &ForeignError{path, "this is not a regular file"}
	case fi.Size() == 0:
		return &ForeignError{path, "the file is empty"}
	}
	err = checkHeader(path, modeImmutable)
	var damaged *DamagedError
	if wal, statErr := os.Lstat(path + "-wal"); errors.As(err, &damaged) && statErr == nil && wal.Size() > 0 {
		// A checkpoint that was cut short leaves a file that only makes sense
		// together with its WAL.
		err = checkHeader(path, modeRead)
	}
	return err
}

// CheckVersion returns a *VersionError for a file of a newer format, and nil for
// any other, whatever is wrong with it. It changes nothing.
func CheckVersion(path string) error {
	var newer *VersionError
	if err := checkOurs(path); errors.As(err, &newer) {
		return err
	}
	return nil
}

// checkHeader looks at what the first page says.
func checkHeader(path string, mode fileMode) (err error) {
	c, err := openFile(path, mode)
	if err != nil {
		return openError(path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	id, err := pragmaInt(c, "application_id")
	if err != nil {
		return openError(path, err)
	}
	if id != applicationID {
		return &ForeignError{path, "this is a SQLite database, but not one of Daybook's"}
	}
	version, err := pragmaInt(c, "user_version")
	switch {
	case err != nil:
		return openError(path, err)
	case version > FormatVersion:
		return &VersionError{Path: path, Version: int(version), Known: FormatVersion}
	case version < 1:
		return &ForeignError{path, fmt.Sprintf("there is no format version %d", version)}
	}
	return nil
}

// checkMeta compares what the file says of itself with what it should be.
func checkMeta(ctx context.Context, c *conn, path, kind string, day task.Day) error {
	got, err := metaText(ctx, c, metaKind)
	if err != nil {
		return openError(path, err)
	}
	if got != kind {
		return &ForeignError{path, fmt.Sprintf("this is a Daybook file of kind %q, not %q", got, kind)}
	}
	if kind == kindParked {
		return nil
	}
	if d, err := metaDayOf(ctx, c); err != nil || d != day {
		return &ForeignError{path, fmt.Sprintf("the name says %s, but the file is not of that day", day)}
	}
	return nil
}

func pragmaInt(c *conn, name string) (int64, error) {
	var vals [1]driver.Value
	_, err := c.queryRow(context.Background(), vals[:], "PRAGMA main."+name)
	if err != nil {
		return 0, err
	}
	n, _ := vals[0].(int64)
	return n, nil
}
