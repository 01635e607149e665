package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"daybook/blocks"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// dirs are the places in a data directory.
type dirs struct{ root, live, days, tmp, lock string }

func dirsOf(root string) dirs {
	j := func(name string) string { return filepath.Join(root, name) }
	return dirs{root: root, live: j("live"), days: j("days"), tmp: j("tmp"), lock: j("LOCK")}
}

// Open reads a data directory whose lock the caller holds, repairs what a
// crash has left (see the package documentation) and fills the catalog.
func Open(o Options) (c *Compactor, err error) {
	o.defaults()
	c = &Compactor{opts: o, act: newTurn(), pausing: newTurn(), logger: log.With(o.Logger, "component", "compact"), dirs: dirsOf(o.Dir), days: map[task.Day]*day{}, highest: map[task.Day]int{}, leftover: map[task.Day]string{}, shut: map[task.Day]string{}, leaving: map[string]bool{}, unsummed: map[string]*unsummed{}, stuck: map[string]time.Time{}, unreadable: map[string]error{}, hidden: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	o.Catalog.IgnoreMoved()
	if err := c.refuseNewerParked(); err != nil {
		return c, err
	}
	for _, dir := range []string{c.dirs.live, c.dirs.days, c.dirs.tmp} {
		if err := MkdirAll(dir); err != nil {
			return c, err
		}
	}
	c.sweepTmp() // the reserve goes, too
	c.swept = true
	fault.Point("open.swept")
	err = c.openSealed()
	if err == nil {
		err = c.openLive()
	}
	if err == nil {
		err = c.tellLooseDays()
	}
	if blocks.NoRoom(err) {
		return c, c.tellMissing(err)
	}
	if err != nil {
		return c, err
	}
	c.guard.seen = lastSeen(o.LastSeen, slices.Collect(maps.Keys(c.days)))
	c.guard.paused = notedPause(c.dirs.lock, o.Now().Round(0))
	c.publishAll()
	return c, nil
}

// publishAll shows what was opened.
func (c *Compactor) publishAll() {
	c.supersedeParked()
	for d := range c.days {
		c.publish(d)
	}
	c.balanceFilters()
}

// UnfinishedBackup lies in days/ while a backup that is made there is not whole.
const UnfinishedBackup = "unfinished-backup"

// ErrUnfinishedBackup is why it is among the files that are left out: whoever
// reads the directory is to know.
var ErrUnfinishedBackup = errors.New("a backup into this directory was interrupted: files of two backups may be mixed here, run daybook backup again")

// leaveOut notes a file that is not understood.
func (c *Compactor) leaveOut(path string, err error) {
	rel, relErr := filepath.Rel(c.dirs.root, path)
	if relErr != nil {
		rel = path
	}
	c.unreadable[rel] = err
	level.Error(c.logger).Log("msg", "a file is left out", "path", rel, "err", err)
}

// AdvisedError is why a whole file is left out, and what an owner can do about it.
type AdvisedError struct{ Reason, Advice string }

func (e *AdvisedError) Error() string { return e.Reason + ": " + e.Advice }

// takeIn is for a file whose rows are nowhere else.
func takeIn(format string, args ...any) error {
	return &AdvisedError{fmt.Sprintf(format, args...), "daybook dump FILE | daybook import - takes its rows in, then move it away"}
}

// openSealed opens the highest readable generation of every day and removes
// the older ones that it has absorbed.
func (c *Compactor) openSealed() error {
	entries, err := os.ReadDir(c.dirs.days)
	if err != nil {
		return err
	}
	c.seeQuarantined()
	byDay, shut := map[task.Day][]*blocks.Sealed{}, map[task.Day][]string{}
	for _, e := range entries {
		path := filepath.Join(c.dirs.days, e.Name())
		if strings.HasSuffix(e.Name(), checksumSuffix) {
			continue // lostDays looks at them
		}
		if e.Name() == UnfinishedBackup {
			c.leaveOut(path, ErrUnfinishedBackup)
			continue
		}
		d, gen, ok := blocks.ParseSealedName(e.Name())
		if !ok {
			c.leaveOut(path, errors.New("not the name of a day file"))
			continue
		}
		c.highest[d] = max(c.highest[d], gen)
		s, err := blocks.OpenSealed(path)
		if notItsFault(err) { // and a day is too much to do without
			return fmt.Errorf("opening the sealed days: %w", err)
		}
		if err != nil {
			c.leaveOut(path, err)
			shut[d] = append(shut[d], e.Name())
			continue
		}
		byDay[d] = append(byDay[d], s)
	}
	for _, name := range lostDays(c.dirs.root, c.dirs.days, entries) {
		c.leaveOut(filepath.Join(c.dirs.days, name), errLost)
		d, gen, _ := blocks.ParseSealedName(name)
		c.highest[d] = max(c.highest[d], gen)
		shut[d] = append(shut[d], name)
	}
	for d, gens := range byDay {
		slices.SortFunc(gens, func(a, b *blocks.Sealed) int { return b.Generation() - a.Generation() })
		if gens, err = c.dropUnpublished(gens); err != nil {
			return err
		}
		if len(gens) == 0 {
			continue // its live file has everything
		}
		c.days[d] = &day{sealed: gens[0]}
		c.noteUnsummed(gens[0].Path())
		for _, old := range gens[1:] {
			if err := old.Close(); err != nil {
				return err
			}
			if !gens[0].Replaces(old.Name()) {
				c.leaveOut(old.Path(), takeIn("a newer generation, %s, is there and does not say that it replaces it", gens[0].Name()))
				continue
			}
			if c.readOnly {
				continue
			}
			fault.Point("open.replaced")
			if err := blocks.RemoveSealed(old.Path()); err != nil {
				return err
			}
		}
		for name := range gens[0].Absorbed() {
			if _, seq, ok := blocks.ParseLiveName(name); ok {
				c.nextSeq = max(c.nextSeq, seq)
			}
		}
	}
	c.noteShut(shut)
	return nil
}

// noteShut remembers the days with a sealed file that cannot be opened, or is gone,
// unless the one that is used replaces it. They are not sealed: a new generation would
// stand in for a file that it has nothing of, also once that can be read again.
func (c *Compactor) noteShut(files map[task.Day][]string) {
	for d, names := range files {
		for _, name := range names {
			if x := c.days[d]; x != nil && x.sealed != nil && x.sealed.Replaces(name) {
				continue
			}
			c.shut[d] = name
		}
	}
}

// dropUnpublished leaves out generations that came into days/ and were never
// used, because the disk failed at that moment and did not let them be taken
// away: the live file was cut into after that. What they are made of is there;
// they are put into quarantine.
func (c *Compactor) dropUnpublished(gens []*blocks.Sealed) ([]*blocks.Sealed, error) {
	for {
		is, err := unpublished(gens, c.dirs.live, c.openLiveFile)
		if !is || err != nil {
			return gens, err
		}
		s := gens[0]
		level.Warn(c.logger).Log("msg", "a sealed file was never published; its day is sealed again", "path", s.Path())
		if err := s.Close(); err != nil {
			return gens, err
		}
		if !c.readOnly {
			to := filepath.Join(c.dirs.root, "quarantine")
			if err := MkdirAll(to); err != nil {
				return gens, err
			}
			name := filepath.Join(to, s.Name())
			for n := 2; exists(name); n++ {
				name = filepath.Join(to, fmt.Sprintf("%s-%d", s.Name(), n))
			}
			// The checksum first, as everywhere: without its file it tells of a loss.
			if err := removeIfThere(s.Path() + checksumSuffix); err != nil {
				return gens, err
			}
			if err := rename(s.Path(), name); err != nil {
				return gens, err
			}
		}
		gens = gens[1:]
	}
}

// seeQuarantined makes sure that no generation is named again that was put into
// quarantine: a backup may have it under that name.
func (c *Compactor) seeQuarantined() {
	dir := filepath.Join(c.dirs.root, "quarantine")
	entries, err := readDir(dir)
	if err != nil {
		c.opts.Observer.Tried("open", fmt.Errorf("looking for day files in quarantine: %w", err))
	}
	for _, e := range entries {
		base, _, ok := strings.Cut(e.Name(), ".db")
		if d, gen, known := blocks.ParseSealedName(base + ".db"); ok && known {
			c.highest[d] = max(c.highest[d], gen)
		}
	}
}

// unpublished reports whether a live file goes on behind what the first of
// these generations has of it, while what that replaces is still there. Its errors
// say nothing of the live file.
func unpublished(gens []*blocks.Sealed, live string, open func(path string) (*blocks.Live, error)) (bool, error) {
	if len(gens) == 0 {
		return false, nil
	}
	goesOn, replaces := false, 0
	for name, last := range gens[0].Absorbed() {
		if last == 0 { // a generation
			if _, gen, ok := blocks.ParseSealedName(name); ok {
				replaces = max(replaces, gen)
			}
			continue
		}
		path := filepath.Join(live, name)
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		l, err := open(path)
		if notItsFault(err) {
			return false, fmt.Errorf("opening %s, to see whether %s has all of it: %w", name, gens[0].Name(), err)
		}
		if err != nil {
			continue
		}
		goesOn = goesOn || l.LastCut() > last && l.Knows(last) // else it is another of that name
		if err := l.Close(); err != nil {
			return false, nil
		}
	}
	return goesOn && (replaces == 0 || len(gens) > 1 && gens[1].Generation() == replaces), nil
}

// notItsFault reports whether a file could not be opened for want of something that
// the next start may have. To leave it out would be to hide what is whole, and to make
// another in its place.
func notItsFault(err error) bool { return blocks.Exhausted(err) || blocks.NoRoom(err) }

// endsOpening is notItsFault for live and parked files: who only reads makes no other
// file, and shows what there is.
func (c *Compactor) endsOpening(err error) bool {
	return notItsFault(err) && !(c.readOnly && blocks.NoRoom(err))
}

// openLive opens the live files and the parked file, and removes live files
// that a sealed file has absorbed.
func (c *Compactor) openLive() error {
	entries, err := os.ReadDir(c.dirs.live)
	if err != nil {
		return err
	}
	parked := map[int]string{} // paths, by number
	for _, e := range entries {
		path := filepath.Join(c.dirs.live, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), "-wal") || strings.HasSuffix(e.Name(), "-shm"):
			continue
		case unfinishedLive(e.Name()):
			if c.readOnly {
				continue
			}
			if err := removeIfThere(path); err != nil {
				return err
			}
			continue
		}
		if seq, ok := blocks.ParseParkedName(e.Name()); ok {
			c.nextSeq = max(c.nextSeq, seq)
			parked[seq] = path
			continue
		}
		d, seq, ok := blocks.ParseLiveName(e.Name())
		if !ok {
			c.leaveOut(path, errors.New("not the name of a live file"))
			continue
		}
		c.nextSeq = max(c.nextSeq, seq)
		l, err := c.openLiveFile(path)
		if c.endsOpening(err) {
			return fmt.Errorf("opening the live files: %w", err)
		}
		if err != nil {
			c.leaveOut(path, err)
			continue
		}
		if err := c.adopt(d, l); err != nil {
			return err
		}
	}
	if err := c.openParked(parked); err != nil || c.parked != nil || c.readOnly {
		return err
	}
	c.nextSeq++
	c.parked, err = blocks.CreateParked(c.dirs.live, c.nextSeq)
	return err
}

// openParked opens the newest file of parked invocations. There is more than
// one after a start that could not open the one there was: the newest takes in
// what the others have.
func (c *Compactor) openParked(paths map[int]string) error {
	open := blocks.OpenParked
	if c.readOnly {
		open = blocks.OpenParkedReadOnly
	}
	seqs := slices.Sorted(maps.Keys(paths))
	slices.Reverse(seqs)
	for _, seq := range seqs {
		p, err := open(paths[seq])
		switch {
		case c.endsOpening(err):
			return fmt.Errorf("opening the parked invocations: %w", err)
		case err != nil:
			c.leaveOut(paths[seq], err)
			continue
		case c.parked == nil:
			c.parked = p
			continue
		case c.readOnly && p.Rows() > 0:
			c.leaveOut(p.Path(), &AdvisedError{fmt.Sprintf("%d parked invocations are not shown, %s is newer", p.Rows(), c.parked.Name()), "it takes them in when a daemon starts here"})
		case c.readOnly:
		default:
			err = c.parked.TakeIn(context.Background(), p)
		}
		closeErr := p.Close()
		switch {
		case c.readOnly || closeErr != nil:
		case err != nil:
			c.leaveOut(p.Path(), fmt.Errorf("%d parked invocations are not shown, taking them into %s: %w", p.Rows(), c.parked.Name(), err))
		default:
			level.Info(c.logger).Log("msg", "took in another file of parked invocations", "path", p.Path(), "rows", p.Rows())
			if err := p.Remove(); err != nil { // it is taken in again at the next start
				c.opts.Observer.Tried("open", err)
			}
		}
		if closeErr != nil {
			return closeErr
		}
	}
	return nil
}

// refuseNewerParked ends a start in a directory whose parked invocations a newer
// program wrote, before anything is changed: without them their later events
// would become other rows of the same ids.
func (c *Compactor) refuseNewerParked() error {
	entries, err := readDir(c.dirs.live)
	for _, e := range entries {
		if _, ok := blocks.ParseParkedName(e.Name()); ok {
			err = errors.Join(err, blocks.CheckVersion(filepath.Join(c.dirs.live, e.Name())))
		}
	}
	return err
}

// supersedeParked lets go of parked rows that a day has taken over: a copy that
// was made in the middle of a cut has both, and its log need not know of them.
// In a directory that is no copy it does; nothing is lost if this fails.
func (c *Compactor) supersedeParked() {
	if c.parked == nil || c.parked.Rows() == 0 {
		return
	}
	for d, x := range c.days {
		if x.live == nil {
			continue
		}
		if err := c.parked.Supersede(context.Background(), x.live); err != nil {
			c.opts.Observer.Tried("open", fmt.Errorf("parked invocations that were stored in %s since may be shown twice: %w", d, err))
		}
	}
}

// adopt takes a live file into its day, unless a sealed file has absorbed it.
func (c *Compactor) adopt(d task.Day, l *blocks.Live) error {
	x := c.days[d]
	if x == nil {
		x = &day{}
		c.days[d] = x
	}
	if x.sealed != nil {
		last, absorbed := x.sealed.Absorbed()[l.Name()]
		switch {
		case absorbed && x.sealed.Covers(l):
			fault.Point("open.absorbed")
			return c.removeUnused(l)
		case absorbed:
			c.leaveOut(l.Path(), takeIn("%s has absorbed it up to cut %d, but it goes on to %d", x.sealed.Name(), last, l.LastCut()))
			return l.Close()
		}
	}
	switch {
	case x.live == nil:
	case l.Empty():
		return c.removeUnused(l)
	case x.live.Empty():
		if err := c.removeUnused(x.live); err != nil {
			return err
		}
	default:
		c.leaveOut(l.Path(), takeIn("%s is the live file of that day too", x.live.Name()))
		return l.Close()
	}
	x.live, x.lastCut = l, modified(l.Path())
	return nil
}

// modified is when a live file was last written: the later of the file and its
// -wal.
func modified(path string) time.Time {
	var t time.Time
	for _, p := range []string{path, path + "-wal"} {
		if fi, err := os.Stat(p); err == nil && fi.ModTime().After(t) {
			t = fi.ModTime()
		}
	}
	return t
}
