package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// ErrMoved is returned when a data directory has changed in the middle of a
// capture. Begin again.
var ErrMoved = errors.New("the data directory changed while it was being copied")

// Capture is the files of a data directory as they were at one moment, held
// until Copy has put copies of them under a directory: sealed files are linked
// there at once, or open if that is not possible; of live files a read
// transaction is open.
//
// The log is not part of it. Rows move from the log to live files to sealed
// ones, so that a log that was read before the capture, or the head at its
// moment, makes it complete: what has left the log meanwhile is in the files.
type Capture struct {
	to         string
	skip       func(Found) bool
	files      []captured
	live       []*blocks.LiveCopy
	days       map[task.Day]string // the sealed file that counts, by name
	present    map[task.Day]bool   // every day of which there is any file, be it in quarantine
	asideErr   error               // why not all of quarantine is known
	unreadable map[string]error
	beside     bool  // of another process's directory: files that it cannot read are left out
	left       int64 // bytes to be copied or checked
}

// Found is a file that a capture has met.
type Found struct {
	Path string // relative to the data directory
	Info fs.FileInfo
	Sum  string // what the checksum beside a sealed file says; empty if there is none
}

// captured is a file that never changes: a sealed or a legacy one.
type captured struct {
	Found
	open      *os.File // nil if it is linked under to
	sumLinked bool
}

// CaptureTo is where a capture's copies go.
type CaptureTo struct {
	Dir  string           // an existing directory
	Skip func(Found) bool // files that are not wanted; nil wants all
}

func newCapture(to CaptureTo) (*Capture, error) {
	k := &Capture{to: to.Dir, skip: to.Skip, days: map[task.Day]string{}, present: map[task.Day]bool{}, unreadable: map[string]error{}}
	if k.skip == nil {
		k.skip = func(Found) bool { return false }
	}
	for _, sub := range []string{"days", "live"} {
		if err := MkdirAll(filepath.Join(to.Dir, sub)); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Capture holds the present files. at is called at the very moment, while
// nothing is cut, published or deleted: what the head has then is what the
// files have not.
func (c *Compactor) Capture(ctx context.Context, to CaptureTo, at func()) (k *Capture, err error) {
	if k, err = newCapture(to); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
			k = nil
		}
	}()
	c.act.Lock()
	defer c.act.Unlock()
	var live []string
	c.mu.Lock()
	for d, x := range c.days {
		k.present[d] = true
		if x.sealed != nil {
			k.days[d] = x.sealed.Name()
		}
		if x.live != nil {
			live = append(live, x.live.Path())
		}
	}
	c.mu.Unlock()
	if c.parked != nil {
		live = append(live, c.parked.Path())
	}
	at()
	if err := k.holdLive(ctx, live); err != nil {
		return k, err
	}
	return k, k.holdFiles(c.dirs.root)
}

// holdLive begins a read transaction on each live file.
func (k *Capture) holdLive(ctx context.Context, paths []string) error {
	for _, path := range paths {
		p, err := blocks.BeginCopy(ctx, path)
		if notUnderstood(err) {
			k.unreadable[filepath.Join("live", filepath.Base(path))] = err
			continue
		}
		if err != nil {
			return err
		}
		k.live = append(k.live, p)
		k.left += p.Bytes()
	}
	return nil
}

// holdFiles links or opens the files that never change.
func (k *Capture) holdFiles(root string) error {
	for _, name := range k.days {
		if err := k.holdFile(root, filepath.Join("days", name)); err != nil {
			return err
		}
	}
	return k.holdLegacy(root)
}

// holdLegacy takes the databases that were handed over to Daybook. Nobody
// writes them, so that they are copied with what is beside them.
func (k *Capture) holdLegacy(root string) error {
	if err := fault.Op("readdir", filepath.Join(root, "legacy")); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(root, "legacy"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		if e.Name() == "attached" || e.Name() == "attached.tmp" {
			continue // the daemon's note of files elsewhere, which are no part of it
		}
		if err := MkdirAll(filepath.Join(k.to, "legacy")); err != nil {
			return err
		}
		if err := k.holdFile(root, filepath.Join("legacy", e.Name())); err != nil {
			return err
		}
	}
	return err
}

// checksumSuffix names the checksum of a sealed file.
const checksumSuffix = ".sha256"

func (k *Capture) holdFile(root, rel string) error {
	path, to := filepath.Join(root, rel), filepath.Join(k.to, rel)
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	f := captured{Found: Found{Path: rel, Info: fi}}
	f.Sum, err = readSum(path + checksumSuffix)
	switch {
	case errors.Is(err, errNoSum) || k.beside && blocks.Lasting(err):
		k.leaveOut(rel, err)
		return nil
	case err != nil:
		return err
	}
	if k.skip(f.Found) {
		return nil
	}
	if err := link(path, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Another file system, or one without hard links.
		if err := fault.Op("open", path); err != nil {
			return err
		}
		f.open, err = os.Open(path)
		switch {
		case k.beside && blocks.Lasting(err):
			k.leaveOut(rel, err)
			return nil
		case err != nil:
			return err
		}
	} else if f.Sum != "" {
		f.sumLinked = link(path+checksumSuffix, to+checksumSuffix) == nil
	}
	k.files = append(k.files, f)
	k.left += fi.Size()
	return nil
}

// leaveOut notes a file that will not be in the copy. Its day then has none that
// counts: what an earlier copy has of it is not replaced.
func (k *Capture) leaveOut(rel string, err error) {
	k.unreadable[rel] = err
	if d, _, ok := blocks.ParseSealedName(filepath.Base(rel)); ok && filepath.Dir(rel) == "days" {
		delete(k.days, d)
	}
}

// link is that of package os.
func link(from, to string) error {
	if err := fault.Op("link", to); err != nil {
		return err
	}
	return os.Link(from, to)
}

// notUnderstood reports whether an error is about what is in a file: it is left
// out, and the others are not.
func notUnderstood(err error) bool {
	var (
		foreign *blocks.ForeignError
		damaged *blocks.DamagedError
		newer   *blocks.VersionError
		unsafe  *blocks.UnsafeError
	)
	return errors.As(err, &foreign) || errors.As(err, &damaged) || errors.As(err, &newer) || errors.As(err, &unsafe)
}

var errNoSum = errors.New("it is not a checksum of sha256sum")

// readSum is the checksum that a .sha256 tells; empty if there is none.
func readSum(path string) (string, error) {
	if err := fault.Op("open", path); err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sum, _, _ := strings.Cut(string(text), " ")
	if len(sum) != 64 {
		return "", fmt.Errorf("%s: %w", path, errNoSum)
	}
	return sum, nil
}

// Days are the names of the sealed files that count, those skipped included.
func (k *Capture) Days() map[task.Day]string { return k.days }

// Has reports whether the data directory has any file of a day, be it unreadable.
func (k *Capture) Has(d task.Day) bool { return k.present[d] }

// AsideErr is why Has may not know of files that lie in quarantine; nil if it does.
func (k *Capture) AsideErr() error { return k.asideErr }

// Unreadable names what is left out, relative to the data directory, and why.
func (k *Capture) Unreadable() map[string]error { return k.unreadable }

// Left is how many bytes Copy has to read.
func (k *Capture) Left() int64 { return k.left }

// releaseLive undoes holdLive.
func (k *Capture) releaseLive() error {
	var errs []error
	for _, p := range k.live {
		k.left -= p.Bytes()
		errs = append(errs, p.Close())
	}
	k.live = nil
	return errors.Join(errs...)
}

// Close lets go of everything. What was linked or copied stays.
func (k *Capture) Close() error {
	errs := []error{k.releaseLive()}
	for i := range k.files {
		if f := &k.files[i]; f.open != nil {
			errs = append(errs, f.open.Close())
			f.open = nil
		}
	}
	return errors.Join(errs...)
}
