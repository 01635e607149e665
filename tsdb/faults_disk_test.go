//go:build faults

package tsdb

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// fitting are the errors that an operation can meet, by its name without the
// prefix that says whose it is.
var fitting = map[string][]syscall.Errno{
	"open":     {syscall.EIO, syscall.EMFILE},
	"create":   {syscall.EIO, syscall.ENOSPC, syscall.EMFILE},
	"write":    {syscall.EIO, syscall.ENOSPC},
	"sync":     {syscall.EIO, syscall.ENOSPC},
	"syncdir":  {syscall.EIO, syscall.EMFILE}, // it has to be opened
	"readdir":  {syscall.EIO, syscall.EMFILE},
	"truncate": {syscall.EIO},
	"link":     {syscall.EIO, syscall.ENOSPC},
	"rename":   {syscall.EIO, syscall.ENOSPC},
	"remove":   {syscall.EIO},
	"mkdir":    {syscall.EIO, syscall.ENOSPC},
	"chmod":    {syscall.EIO},
	"chtimes":  {syscall.EIO},
	"read":     {syscall.EIO},
}

func errnosOf(op string) []syscall.Errno {
	return fitting[op[strings.LastIndexByte(op, '.')+1:]]
}

// faultCase is a fault to come.
type faultCase struct {
	kind  string // what is done to what kind of file: the first to fail is the nth of it, or the next one behind that
	nth   int
	long  int // how many operations are in the time of the fault, that one included
	errno syscall.Errno
}

func (c faultCase) String() string {
	return fmt.Sprintf("%s|%d|%d|%d", c.kind, c.nth, c.long, int(c.errno))
}

// parseCases is the reverse of the above, with commas.
func parseCases(text string) (cases []faultCase, err error) {
	for _, one := range strings.Split(text, ",") {
		part := strings.Split(one, "|")
		if len(part) != 4 {
			return nil, fmt.Errorf("%q is not a case", one)
		}
		var n [3]int
		for i := range n {
			if n[i], err = strconv.Atoi(part[i+1]); err != nil {
				return nil, err
			}
		}
		cases = append(cases, faultCase{kind: part[0], nth: n[0], long: n[1], errno: syscall.Errno(n[2])})
	}
	return cases, nil
}

// met is what became of a fault.
type met struct {
	faultCase
	failed map[string]bool // operations, by their kind
	costs  bool            // one of them may cost something: see costs
	told   bool
}

// disk is a hook that counts operations by their kind, and fails some of them.
type disk struct {
	base string // what the kinds of files are relative to

	mu    sync.Mutex
	order []string // the kinds of all operations so far
	count map[string]int
	next  []faultCase
	now   met  // the first of next, as far as it is met
	left  int  // how many operations are still in its time
	hold  bool // no fault comes for the moment
	// clean are the files that have not been written since they were fsynced.
	clean map[string]bool
}

func newDisk(base string, cases ...faultCase) *disk {
	return &disk{base: base, count: map[string]int{}, next: cases, clean: map[string]bool{}}
}

var digits = regexp.MustCompile(`[0-9]+`)

// kindOf leaves out of an operation what tells one from the next: numbers, and
// whether a live file has rows of a day or parked ones.
func (d *disk) kindOf(op, path string) string {
	rel, err := filepath.Rel(d.base, strings.TrimSuffix(path, " (deleted)"))
	if err != nil || !filepath.IsLocal(rel) {
		rel = "elsewhere"
	}
	if in, far := strings.CutPrefix(rel, "far/"); far {
		rel = "backup/" + in
	}
	rel = digits.ReplaceAllString(strings.ReplaceAll(rel, "sha256", "sum"), "N")
	for _, db := range []string{"N-N-N.N.db", "N-N-N.db", "parked.N.db"} {
		rel = strings.Replace(rel, db, "db", 1)
	}
	return op + " " + rel
}

func (d *disk) hook(op, path string) error {
	if op == "point" || path == "/dev/urandom" { // which SQLite opens once
		return nil
	}
	kind := d.kindOf(op, path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if op == "link" && strings.HasPrefix(path, filepath.Join(d.base, "far")+"/") {
		return &fs.PathError{Op: op, Path: path, Err: syscall.EXDEV}
	}
	d.count[kind]++
	d.order = append(d.order, kind)
	if c := d.next; len(c) > 0 && d.now.failed == nil && !d.hold && kind == c[0].kind && d.count[kind] >= c[0].nth {
		d.left, d.now = c[0].long, met{faultCase: c[0], failed: map[string]bool{}}
	}
	clean := d.clean[path]
	switch op {
	case "sqlite.sync":
		d.clean[path] = true
	case "sqlite.write", "sqlite.truncate":
		d.clean[path] = false
	}
	if d.left == 0 {
		return nil
	}
	d.left--
	if !slices.Contains(errnosOf(op), d.now.errno) {
		return nil
	}
	d.clean[path] = clean
	d.now.failed[kind] = true
	d.now.costs = d.now.costs || costs(op, kind, d.now.errno, clean)
	return &fs.PathError{Op: op, Path: path, Err: d.now.errno}
}

// fails reports whether a fault is there, or was and nobody has said mends.
func (d *disk) fails() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now.failed != nil
}

// mends lets everything work again until the next fault comes, and returns what
// became of this one.
func (d *disk) mends() met {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.now
	d.now, d.left = met{}, 0
	if was.failed != nil {
		d.next = d.next[1:]
	}
	return was
}

// more reports whether another fault is to come behind this one.
func (d *disk) more() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.next) > 1
}

// holds keeps faults back, or lets them come.
func (d *disk) holds(hold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = hold
}

// rest are the faults that have not come; none will.
func (d *disk) rest() []faultCase {
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := d.next
	d.next = nil
	return rest
}

// costs is false of what SQLite fails to do and need not tell. Of a live file,
// which is in WAL mode, these are the checkpoint that comes with a commit or the
// end, and is done again with the next (the file itself is written in nothing
// else; the -wal is fsynced once more before, and cut to its limit behind it),
// and the unlinking of what is beside it at the end. The directory is fsynced by
// us before there is a commit.
func costs(op, kind string, errno syscall.Errno, clean bool) bool {
	if kind == "write data/LOCK" && errno == syscall.ENOSPC {
		return false // a full disk is no reason not to start, and the number is a courtesy
	}
	if errno == syscall.ENOSPC && (strings.HasPrefix(kind, "rename data/tmp/snapshots/") || kind == "mkdir data/tmp/snapshots") {
		return false // it is deleted where it is
	}
	if kind == "open backup/days/db.sum" && errno == syscall.EIO {
		return false // a day of the backup that cannot be told from the source's is copied again
	}
	if kind == "sqlite.open data/live" || kind == "sqlite.sync data/live" {
		return false
	}
	if op == "link" && strings.Contains(kind, "/days/db") && !strings.HasPrefix(kind, "link data/days/") {
		return false // it is copied then
	}
	name, live := strings.CutPrefix(kind, op+" data/live/")
	if !live {
		return true
	}
	file, wal := name == "db", name == "db-wal" // not "db.tmp", which is being created
	switch op {
	case "sqlite.open": // it tries again, to read only; a writer looks whether it did
		return !file && !wal
	case "sqlite.write":
		return !file
	case "sqlite.sync":
		return !file && !(wal && clean)
	case "sqlite.truncate":
		return !file && !wal
	case "sqlite.remove":
		return !wal && name != "db-shm"
	}
	return true
}
