package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// entry is one segment or checkpoint as found in the directory.
type entry struct {
	num    uint64
	path   string
	size   int64
	header header
	bad    string // why there is no header
}

// inventory is what a directory holds. Making one changes nothing.
type inventory struct {
	segments    []entry // ascending
	checkpoints []entry // ascending
	tmp         []string
	unknown     []string // paths, including what was set aside as damaged
	max         uint64   // highest number in any name that is ours
}

// list reads the directory and all file headers. A file that vanishes meanwhile makes it return
// an error that is fs.ErrNotExist. A *VersionError is returned for a newer format.
func list(fsys FS, dir string) (inventory, error) {
	var inv inventory
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return inv, fmt.Errorf("wal: listing: %w", err)
	}
	for _, d := range names {
		path := filepath.Join(dir, d.Name())
		k, n := parseName(d.Name())
		if !d.Type().IsRegular() {
			k = kindUnknown
		}
		inv.max = max(inv.max, n)
		switch k {
		case kindSegment, kindCheckpoint:
			e, err := readEntry(fsys, path, n, k)
			if err != nil {
				return inv, err
			}
			if k == kindSegment {
				inv.segments = append(inv.segments, e)
			} else {
				inv.checkpoints = append(inv.checkpoints, e)
			}
		case kindTmp:
			inv.tmp = append(inv.tmp, path)
		default:
			inv.unknown = append(inv.unknown, path)
		}
	}
	// Names of more than eight digits do not sort as text.
	byNumber := func(a, b entry) int {
		if a.num < b.num {
			return -1
		}
		return 1
	}
	slices.SortFunc(inv.segments, byNumber)
	slices.SortFunc(inv.checkpoints, byNumber)
	return inv, nil
}

// Size is what Log.Bytes is of a log in dir that is not open here: of its segments and
// checkpoints.
func Size(dir string) (n int64, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("wal: listing: %w", err)
	}
	for _, d := range names {
		if k, _ := parseName(d.Name()); k != kindSegment && k != kindCheckpoint {
			continue
		}
		fi, err := d.Info()
		switch {
		case err == nil:
			n += fi.Size()
		case !errors.Is(err, fs.ErrNotExist): // else a checkpoint has replaced it
			return 0, fmt.Errorf("wal: listing: %w", err)
		}
	}
	return n, nil
}

// CheckVersion returns a *VersionError if a file of the log in dir, which need not be there, is of a
// newer format; and an error if that cannot be told. It changes nothing: whoever opens other files
// before the log asks first. A nil FS is the real one.
func CheckVersion(fsys FS, dir string) error {
	if fsys == nil {
		fsys = osFS{}
	}
	_, err := list(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func readEntry(fsys FS, path string, n uint64, k kind) (entry, error) {
	e := entry{num: n, path: path}
	f, err := fsys.Open(path)
	if err != nil {
		return e, fmt.Errorf("wal: opening: %w", err)
	}
	defer f.Close()
	if e.size, err = f.Size(); err != nil {
		return e, fmt.Errorf("wal: size of %s: %w", path, err)
	}
	b := make([]byte, min(headerSize, e.size))
	if got, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return e, fmt.Errorf("wal: reading the header of %s: %w", path, err)
	} else {
		b = b[:got]
	}
	magic := segmentMagic
	if k == kindCheckpoint {
		magic = checkpointMagic
	}
	var newer uint32
	e.header, newer, e.bad = decodeHeader(b, magic)
	if newer != 0 {
		return e, &VersionError{File: path, Version: newer, Supported: formatVersion}
	}
	if e.bad == "" && e.header.number != n {
		e.bad, e.header = fmt.Sprintf("the header belongs to number %d", e.header.number), header{}
	}
	return e, nil
}

// extent says how much of segments[i] was acknowledged.
type extent int

const (
	// extentLast: the last segment. What is torn at its end was never acknowledged.
	extentLast extent = iota
	// extentExact: a later segment states the length.
	extentExact
	// extentNothing: a later segment says that this one holds nothing acknowledged.
	extentNothing
	// extentUnknown: the segment that would say so is damaged or missing.
	extentUnknown
)

// extent returns the extent of segments[i] and, if it is exact, the length.
func (inv inventory) extent(i int) (extent, int64) {
	if i == len(inv.segments)-1 {
		return extentLast, 0
	}
	for _, next := range inv.segments[i+1:] {
		switch {
		case next.bad != "":
			continue // the one after it may say more
		case next.header.prev == inv.segments[i].num:
			return extentExact, next.header.prevLen
		case next.header.prev < inv.segments[i].num:
			return extentNothing, 0
		default:
			return extentUnknown, 0
		}
	}
	return extentUnknown, 0
}

// missing returns the numbers and lengths of the segments from number from on that others refer
// to and that are not there.
func (inv inventory) missing(from uint64) []header {
	var gone []header
	have := func(n uint64) bool {
		return slices.ContainsFunc(inv.segments, func(e entry) bool { return e.num == n })
	}
	if from > 0 && inv.since(from) == len(inv.segments) {
		// A checkpoint is written after its segment was started.
		gone = append(gone, header{number: from})
	}
	for _, e := range inv.segments {
		h := e.header
		if e.num < from || e.bad != "" || h.prev == 0 || h.prev < from || have(h.prev) {
			continue
		}
		if !slices.ContainsFunc(gone, func(g header) bool { return g.number == h.prev }) {
			gone = append(gone, header{number: h.prev, prevLen: h.prevLen})
		}
	}
	return gone
}

// unbroken reports whether the segments from number from (0: the beginning of the log) up to the
// one with number to are all there, and are known to be all.
func (inv inventory) unbroken(from, to uint64) bool {
	first, last := inv.since(from), inv.since(to)
	if first == last || last == len(inv.segments) {
		return false
	}
	if from == 0 && inv.segments[first].header.prev != 0 {
		return false
	}
	for _, e := range inv.segments[first : last+1] {
		if e.bad != "" {
			return false
		}
	}
	for _, h := range inv.missing(from) {
		if h.number < to {
			return false
		}
	}
	return true
}

// since returns the index of the first segment with number n or above.
func (inv inventory) since(n uint64) int {
	i := slices.IndexFunc(inv.segments, func(e entry) bool { return e.num >= n })
	if i < 0 {
		return len(inv.segments)
	}
	return i
}
