package blocks

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/task"
)

// View is one generation of the catalog, pinned: its files stay readable until
// Release. It is safe for concurrent use; after Release it is not used any
// more.
type View struct {
	catalog *Catalog
	gen     *generation
	release sync.Once
	mu      struct {
		sync.Mutex
		unreadable LeftOut
	}
}

func newView(c *Catalog, g *generation) *View {
	v := &View{catalog: c, gen: g}
	v.mu.unreadable = LeftOut{}
	return v
}

// Release lets go of the generation.
func (v *View) Release() { v.release.Do(func() { v.catalog.release(v.gen) }) }

// Days are the days with their files, newest first.
func (v *View) Days() []DayFiles { return slices.Clone(v.gen.days) }

// Rows counts the stored rows. The count is exact unless an overlay hides
// sealed rows, of which it does not know whether they exist, or days repeat
// each other's ids.
func (v *View) Rows() (n int64, exact bool) {
	hidden := v.gen.superseded.Load()
	exact = hidden == nil || len(*hidden) == 0
	for _, d := range v.gen.days {
		if d.Sealed != nil {
			n += d.Sealed.Rows()
		}
		if d.Live != nil {
			n += d.Live.Rows()
		}
		if d.Sealed != nil && d.Live != nil {
			n -= d.Live.Masks()
			exact = exact && d.Live.Masks() == 0
		}
	}
	return max(n, 0), exact
}

// Unreadable names the files that could not be read when they were needed, in
// order. Answers leave them out.
func (v *View) Unreadable() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]string, 0, len(v.mu.unreadable))
	for path := range v.mu.unreadable {
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return names
}

// Passing returns an error that says nothing of what is in a file: it could not
// be opened for want of a descriptor or of memory, or because the disk failed.
// Who must not miss a row begins again later with those of the ids that such a
// file may hold. The error is nil if there is none such among those that are LeftOut.
func (v *View) Passing(ids []string) (may map[string]bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.gen.days {
		var in []func(hash uint64) bool
		if d.Sealed != nil && passing(v.mu.unreadable[d.Sealed.Path()]) {
			err = v.mu.unreadable[d.Sealed.Path()]
			in = append(in, func(hash uint64) bool {
				maybe, known := d.Sealed.MayContain(hash)
				return maybe || !known
			})
		}
		if d.Live != nil && passing(v.mu.unreadable[d.Live.Path()]) {
			err = v.mu.unreadable[d.Live.Path()]
			in = append(in, d.Live.MayContain)
		}
		for _, holds := range in {
			for _, id := range ids {
				if !may[id] && holds(task.HashID(id)) {
					if may == nil {
						may = map[string]bool{}
					}
					may[id] = true
				}
			}
		}
	}
	return may, err
}

// passing reports whether an error is over when others let go of what they
// have. A file that may not be read, or is not one any more, stays so: what
// waited for it would fill the head.
func passing(err error) bool {
	var se sqlite3.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case sqlite3.ErrCantOpen:
		switch se.SystemErrno {
		case syscall.EACCES, syscall.EPERM, syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENXIO:
			return false
		}
		return true // a disk that failed once is no reason to forget what it holds
	case sqlite3.ErrNomem, sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrProtocol, sqlite3.ErrFull:
		return true
	}
	return false
}

// Lasting reports whether an error says that a file will not be read next time
// either: the disk does not give it, or it may not be read. A file that is gone
// is another matter.
func Lasting(err error) bool {
	var se sqlite3.Error
	if errors.As(err, &se) && se.SystemErrno == 0 {
		return se.Code == sqlite3.ErrIoErr && se.ExtendedCode != sqlite3.ErrIoErrNoMem
	}
	for _, lasting := range []syscall.Errno{syscall.EIO, syscall.EACCES, syscall.EPERM} {
		if se.SystemErrno == lasting || errors.Is(err, lasting) {
			return true
		}
	}
	return false
}

// Exhausted reports whether an error is for want of descriptors or of memory, and
// says nothing of the file that it is about.
func Exhausted(err error) bool {
	var se sqlite3.Error
	if errors.As(err, &se) && se.Code == sqlite3.ErrNomem {
		return true
	}
	for _, none := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if se.SystemErrno == none || errors.Is(err, none) {
			return true
		}
	}
	return false
}

// NoRoom reports whether an error is for want of room on the disk, or of quota. Where
// a file is opened it says nothing of it: SQLite has an index of 32 KiB beside a live one.
func NoRoom(err error) bool {
	var se sqlite3.Error
	if errors.As(err, &se) && se.Code == sqlite3.ErrFull {
		return true
	}
	for _, none := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if se.SystemErrno == none || errors.Is(err, none) {
			return true
		}
	}
	return false
}

// LeftOut are the files that a view leaves out, by path, and why.
type LeftOut map[string]error

// LeaveOut makes the view leave out what another one could not read, before it
// is asked anything.
func (v *View) LeaveOut(files LeftOut) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.gen.days {
		for _, a := range d.attachments() {
			if err := files[a.path]; err != nil {
				v.mu.unreadable[a.path] = err
			}
		}
	}
}

// LeftOut are the files that could not be read so far.
func (v *View) LeftOut() LeftOut {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.mu.unreadable)
}

// leaveOut records the file that an error blames, and reports whether there is
// one: then the others can be asked again without it.
func (v *View) leaveOut(err error) bool {
	var fe *fileError
	if !errors.As(err, &fe) {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.unreadable[fe.path] = err
	return true
}

// readable returns the day without the files that were left out; false if none
// is left.
func (v *View) readable(d DayFiles) (DayFiles, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d.Sealed != nil && v.mu.unreadable[d.Sealed.Path()] != nil {
		d.Sealed = nil
	}
	if d.Live != nil && v.mu.unreadable[d.Live.Path()] != nil {
		d.Live = nil
	}
	return d, d.Sealed != nil || d.Live != nil
}

// Leaves reports whether a file of a day was left out.
func (v *View) Leaves(d DayFiles) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return d.Sealed != nil && v.mu.unreadable[d.Sealed.Path()] != nil || d.Live != nil && v.mu.unreadable[d.Live.Path()] != nil
}

// LeavesSealed reports whether the sealed file of a day was left out.
func (v *View) LeavesSealed(d DayFiles) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return d.Sealed != nil && v.mu.unreadable[d.Sealed.Path()] != nil
}

// attachments are the day's files as they are attached.
func (d DayFiles) attachments() []attachment {
	var out []attachment
	if d.Sealed != nil {
		out = append(out, attachment{d.Sealed.Path(), modeImmutable})
	}
	if d.Live != nil {
		out = append(out, d.Live.attachment())
	}
	return out
}
