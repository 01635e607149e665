package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
)

// ErrChanged is returned by LiveCopy.To and by Analyze when the file was written
// while it was read without locks. Begin again.
var ErrChanged = errors.New("the file changed while it was read")

// LiveCopy is a live file, or one of parked invocations, as one commit left
// it: an open read transaction, to be copied at leisure while the file is
// written. It holds the file's WAL back until it is closed.
type LiveCopy struct {
	path  string
	c     *conn
	pages int64
	bytes int64
	state fileState
	// A file without a WAL beside it has no writer and is read without locks,
	// so that nothing appears beside it; at is what it was then.
	immutable bool
	at        fileStamp
}

// fileState tells one commit of a live file from every other: each has a new
// cut id, except that parked rows also go without one.
type fileState struct{ cut, cuts, rows int64 }

// fileStamp tells one content of a file that nobody has open from another.
type fileStamp struct {
	size     int64
	modified time.Time
}

// BeginCopy pins the file as it is now. The process may have it open itself:
// it is only read through SQLite.
func BeginCopy(ctx context.Context, path string) (*LiveCopy, error) {
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	p := &LiveCopy{path: path}
	if err := p.begin(ctx); err != nil {
		return nil, errors.Join(openError(path, err), p.Close())
	}
	return p, nil
}

func (p *LiveCopy) begin(ctx context.Context) (err error) {
	mode := modeRead
	if p.at, p.immutable = unused(p.path); p.immutable {
		mode = modeImmutable
	}
	if p.c, err = openFile(p.path, mode); err != nil {
		return err
	}
	if err := p.c.exec("BEGIN"); err != nil {
		return err
	}
	if p.state, err = readState(ctx, p.c, p.path); err != nil { // the first read fixes what is seen
		return err
	}
	if p.pages, err = pragmaInt(p.c, "page_count"); err != nil {
		return err
	}
	size, err := pragmaInt(p.c, "page_size")
	p.bytes = p.pages * size
	return err
}

// unused reports whether nobody has the file open, as far as its sides tell.
func unused(path string) (fileStamp, bool) {
	for _, side := range sides(path) {
		if _, err := os.Lstat(side); err == nil {
			return fileStamp{}, false
		}
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return fileStamp{}, false
	}
	return fileStamp{fi.Size(), fi.ModTime()}, true
}

func readState(ctx context.Context, c *conn, path string) (s fileState, err error) {
	query := "SELECT ifnull(max(last), 0), ifnull(sum(last - first + 1), 0), 0 FROM cut"
	if _, parked := ParseParkedName(filepath.Base(path)); parked {
		query = "SELECT ifnull(max(last), 0), ifnull(sum(last - first + 1), 0), (SELECT count(*) FROM parked) FROM cut"
	}
	var vals [3]driver.Value
	if _, err := c.queryRow(ctx, vals[:], query); err != nil {
		return s, err
	}
	for i, to := range []*int64{&s.cut, &s.cuts, &s.rows} {
		*to, _ = vals[i].(int64)
	}
	return s, nil
}

// Name is the file's name.
func (p *LiveCopy) Name() string { return filepath.Base(p.path) }

// Bytes is the size of the copy.
func (p *LiveCopy) Bytes() int64 { return p.bytes }

// Newest reports whether nothing has been committed since BeginCopy.
func (p *LiveCopy) Newest(ctx context.Context) (newest bool, err error) {
	if p.immutable {
		at, still := unused(p.path)
		return still && at == p.at, nil
	}
	c, err := openFile(p.path, modeRead)
	if err != nil {
		return false, openError(p.path, err)
	}
	now, err := readState(ctx, c, p.path)
	return now == p.state, openError(p.path, errors.Join(err, c.close()))
}

// copyPages is how much is copied between two looks at the context.
const copyPages = 1024

// To writes the copy, durable, to a path where nothing is. progress, which may
// be nil, is told bytes as they are done. After an error nothing is left there.
func (p *LiveCopy) To(ctx context.Context, path string, progress func(bytes int64)) (err error) {
	if err := absent(path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copying %s: %w", p.Name(), err), removeFiles(append(sides(path), path)...))
		}
	}()
	out, err := openFile(path, modeCreate)
	if err != nil {
		return err
	}
	if err := errors.Join(p.copyTo(ctx, out, progress), out.close()); err != nil {
		return err
	}
	if p.immutable {
		if at, still := unused(p.path); !still || at != p.at {
			return ErrChanged
		}
	}
	return syncFile(path)
}

// copyTo copies page by page: the copy has the format of a live file, its WAL
// mode included.
func (p *LiveCopy) copyTo(ctx context.Context, out *conn, progress func(bytes int64)) error {
	if err := out.script("PRAGMA main.journal_mode = OFF; PRAGMA main.synchronous = OFF"); err != nil {
		return err
	}
	b, err := out.c.Backup("main", p.c.c, "main")
	if err != nil {
		return err
	}
	return errors.Join(stepThrough(ctx, b, p.bytes/max(p.pages, 1), progress), b.Finish())
}

func stepThrough(ctx context.Context, b *sqlite3.SQLiteBackup, pageBytes int64, progress func(bytes int64)) error {
	for copied := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := b.Step(copyPages)
		if err != nil {
			return err
		}
		now := b.PageCount() - b.Remaining()
		if progress != nil {
			progress(int64(now-copied) * pageBytes)
		}
		if done {
			return nil
		}
		if now == copied { // the driver does not tell that a file is locked
			return errors.New("a file is locked by somebody else")
		}
		copied = now
	}
}

// Close ends the read transaction.
func (p *LiveCopy) Close() error {
	if p.c == nil {
		return nil
	}
	c := p.c
	p.c = nil
	return c.close()
}
