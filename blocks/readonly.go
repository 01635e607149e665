package blocks

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ErrFileReadOnly is returned by what would change a file that was opened to
// be read.
var ErrFileReadOnly = errors.New("the file was opened to be read")

// LastCut is the greatest cut id in the file, 0 if there is none.
func (s *Sealed) LastCut() uint64 { return s.file.cuts.last() }

// LastCut is the greatest cut id in the file, 0 if there is none.
func (p *Parked) LastCut() uint64 { return p.state.Load().cuts.last() }

// IsLive tells a day's live file from a sealed one: their names may be the same.
func IsLive(path string) bool {
	if _, _, ok := ParseLiveName(filepath.Base(path)); !ok {
		return false
	}
	// In live/ it is not opened beside SQLite: closing it would end the locks that this
	// process has on it.
	if abs, err := filepath.Abs(path); err == nil && filepath.Base(filepath.Dir(abs)) == "live" {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false // whoever opens it says why
	}
	defer f.Close()
	var head [20]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:16]) == sqliteMagic && head[18] == 2 // in WAL mode
}

// OpenLiveReadOnly is OpenLive for a process that is not the file's writer. It
// changes no byte of the file, and what Rows, Bounds, Masked and Knows say is
// what was true when it was opened; Find sees what the writer committed since.
func OpenLiveReadOnly(path string) (*Live, error) {
	day, seq, ok := ParseLiveName(filepath.Base(path))
	if !ok {
		return nil, &ForeignError{path, "this is not the name of a live file"}
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	l := &Live{path: path, day: day, seq: seq, readOnly: true, mode: readMode(path),
		writer: make(chan *liveWriter, 1), reader: make(chan *liveReader, 1), closed: make(chan struct{})}
	c, err := openFile(path, l.mode)
	if err != nil {
		return nil, openError(path, err)
	}
	// One transaction, so that all of the state is of one commit.
	err = c.transactionOf("BEGIN", func() error {
		_, err := l.load(c)
		return err
	})
	if err != nil {
		return nil, errors.Join(openError(path, err), c.close())
	}
	l.reader <- &liveReader{c: c, chunks: newChunkReader(1 << 20)}
	return l, nil
}

// OpenParkedReadOnly is OpenParked for a process that is not the file's writer.
func OpenParkedReadOnly(path string) (*Parked, error) { return openParked(path, readMode(path)) }

// readMode is how a file is read that this process does not write. Without a
// WAL beside it nobody has it open, and it is read without creating one.
func readMode(path string) fileMode {
	if _, err := os.Lstat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		return modeImmutable
	}
	return modeRead
}

// attachment is how the file is attached.
func (l *Live) attachment() attachment { return attachment{l.path, l.mode} }
