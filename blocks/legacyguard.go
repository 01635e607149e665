package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// legacyMode says how the connections to a legacy file are opened.
type legacyMode int

const (
	// legacyPlain: no log with content beside it and nobody else has it open,
	// so that nothing can change under an immutable connection.
	legacyPlain legacyMode = iota
	// legacyWithWAL: the -wal holds committed rows. SQLite reads it through an
	// index that it builds in memory (no locking, exclusive mode): mode=ro alone
	// would write a -shm beside the file, and fail where it cannot.
	legacyWithWAL
)

// legacyGuard is what is known of a legacy file outside SQLite: that it is
// safe to read, and that it has not changed since.
type legacyGuard struct {
	path string
	mode legacyMode
	was  legacyPrint
	f    *os.File // kept open: see close
}

// legacyPrint changes when the file or its log does.
type legacyPrint struct {
	dev, ino, size, wal uint64
	mtime, walTime      time.Time
}

// guardLegacy looks at a file before SQLite does. Nothing is changed.
func guardLegacy(path string) (g *legacyGuard, err error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &LegacyError{Path: path, Reason: "there is no such file", Remedy: "check the path given to --storage.legacy", Err: err}
	case err != nil:
		return nil, &LegacyError{Path: path, Reason: err.Error(), Remedy: "let this user reach it: namei -l " + legacyQuote(path) + " shows what is in the way", Err: err}
	case !fi.Mode().IsRegular():
		return nil, &LegacyError{Path: path, Reason: "it is not a regular file", Remedy: "give the path of the database file"}
	}
	// SQLite has no connection to the file yet, or only such as take no locks:
	// opening and closing it here takes nothing from anybody.
	f, err := os.Open(path)
	if err != nil {
		return nil, &LegacyError{Path: path, Reason: err.Error(), Remedy: "let this user read it: chmod a+r " + legacyQuote(path), Err: err}
	}
	g = &legacyGuard{path: path, f: f}
	if err := g.inspect(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return g, nil
}

func (g *legacyGuard) inspect() error {
	var head [100]byte
	if n, err := g.f.ReadAt(head[:], 0); n < len(head) {
		if err != nil && !errors.Is(err, io.EOF) {
			return &LegacyError{Path: g.path, Reason: err.Error(), Err: err}
		}
		return notSQLite(g.path)
	}
	if err := g.header(head[:]); err != nil {
		return err
	}
	if hot, err := hotJournal(g.path + "-journal"); err != nil || hot {
		return &LegacyError{Path: g.path, Reason: "a crash has left " + g.path + "-journal, without which it is not consistent", Remedy: "let SQLite roll it back: " + legacySettle(g.path), Err: err}
	}
	if pid, open := openElsewhere(g.f); open {
		return beingWritten(g.path, pid)
	}
	content, err := walContent(g.path + "-wal")
	if err != nil {
		return &LegacyError{Path: g.path, Reason: "its -wal holds rows and cannot be read: " + err.Error(), Remedy: "let this user read it: chmod a+r " + legacyQuote(g.path+"-wal"), Err: err}
	}
	if content {
		g.mode = legacyWithWAL
		// As long as this lock is held, no program that opens and closes the
		// file folds the -wal in and deletes it.
		holdLegacy(g.f)
	}
	g.was, err = legacyPrintOf(g.path)
	if err != nil {
		return &LegacyError{Path: g.path, Reason: err.Error(), Err: err}
	}
	return nil
}

const sqliteMagic = "SQLite format 3\x00"

// header refuses by the first 100 bytes what SQLite would read, but not as
// meant.
func (g *legacyGuard) header(head []byte) error {
	if string(head[:16]) != sqliteMagic {
		return notSQLite(g.path)
	}
	if binary.BigEndian.Uint32(head[68:]) == uint32(applicationID) {
		return &LegacyError{Path: g.path, Reason: "it is a file of Daybook's own, not a legacy one", Remedy: "copy day files into the days directory of --storage.path"}
	}
	if enc := binary.BigEndian.Uint32(head[56:]); enc > 1 {
		return &LegacyError{Path: g.path, Reason: "its texts are UTF-16, which Phlower never writes", Remedy: "make a copy in UTF-8 and attach that: sqlite3 " + legacyQuote(g.path) + " .dump | sqlite3 " + legacyQuote(g.path+".utf8")}
	}
	return nil
}

func beingWritten(path string, pid int) error {
	stop := "stop the program that has it open: fuser " + legacyQuote(path) + " names it"
	who := "another program"
	if pid > 0 {
		who = fmt.Sprintf("process %d", pid)
		stop = fmt.Sprintf("stop Phlower first: kill %d", pid)
	}
	return &LegacyError{Path: path, Reason: who + " has it open and may still write to it", Remedy: stop}
}

// hotJournal reports whether a rollback journal is to be rolled back: one that
// was finished with is empty or begins with zeros.
func hotJournal(path string) (bool, error) {
	b, err := legacyBytes(path, 8)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(b) == "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", err
}

// walContent reports whether a -wal has a frame that counts: one with the salt
// of the header.
func walContent(path string) (bool, error) {
	b, err := legacyBytes(path, 56)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(b) == 56 && string(b[16:24]) == string(b[40:48]), err
}

// legacyBytes reads the beginning of a file, less if it is shorter.
func legacyBytes(path string, n int) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b = make([]byte, n)
	got, err := io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:got], err
}

// check refuses to go on with a file that has changed since it was opened.
func (g *legacyGuard) check() error {
	now, err := legacyPrintOf(g.path)
	if err == nil && now == g.was {
		return nil
	}
	return &LegacyError{Path: g.path, Reason: "it has changed since it was opened", Remedy: "stop the program that writes to it, then restart daybook", Err: err}
}

// Changed reports whether the file or its -wal has been written, replaced or taken
// away since it was opened. It can be asked after Close, too, and then of a file whose
// -wal the caller has deleted.
func (l *Legacy) Changed(walDeleted bool) (bool, error) {
	was := l.guard.was
	if walDeleted {
		was.wal, was.walTime = 0, time.Time{}
	}
	now, err := legacyPrintOf(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && now != was, err
}

func legacyPrintOf(path string) (p legacyPrint, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return p, err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		p.dev, p.ino = uint64(st.Dev), st.Ino
	}
	p.size, p.mtime = uint64(fi.Size()), fi.ModTime()
	// An empty -wal comes and goes with every reader.
	if w, err := os.Stat(path + "-wal"); err == nil && w.Size() > 0 {
		p.wal, p.walTime = uint64(w.Size()), w.ModTime()
	}
	return p, nil
}

// close lets go of the file. It has to be the last thing: closing any
// descriptor of a file drops the locks that the process has on it.
func (g *legacyGuard) close() error { return g.f.Close() }
