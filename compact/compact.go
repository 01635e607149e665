package compact

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// Parked is the day that Head.BeginCut is given when open invocations are
// parked.
const Parked = blocks.FromParked

// Row is an entry of the head that is to be cut or parked.
type Row struct {
	Inv    *task.Invocation
	Based  bool // a day may hold a row of it already
	Parked bool // the parked file may hold a row of it
	Entry  any  // the head's own
}

// Cut is a cut that has begun.
type Cut struct {
	ID    uint64
	Rows  []Row
	Entry any // the head's own
}

// Outcome is how a cut ended.
type Outcome int

// The outcomes of a cut. Unfinished: the rows are in their day, but what they
// supersede elsewhere is still there; the head keeps them until the next cut.
// Unstored: what was stored of them is deleted, and only the head has them.
// Expired: nothing was stored, and those that have not changed go.
const (
	NotStored Outcome = iota
	Stored
	Unfinished
	Unstored
	Expired
)

// Head is what compact sees of the head.
type Head interface {
	// Ready returns up to limit rows that are to be cut into days, settled
	// ones only unless all is set.
	Ready(all bool, limit int) []Row
	// Idle returns up to limit open rows, the longest without an event first.
	Idle(limit int) []Row
	// Reopened returns up to limit open rows that a day holds an older state of, given
	// up again, the longest without an event first.
	Reopened(limit int) []Row
	// BeginCut takes those rows that have not changed and logs that they are cut.
	BeginCut(day task.Day, rows []Row, logged bool) Cut
	// SyncCut makes a cut's record durable.
	SyncCut(c Cut) error
	// FinishCut lets the rows go, if they were stored.
	FinishCut(c Cut, end Outcome)
	// EndedGaps returns the gaps that are to be stored, also those that go on if
	// all is set; GapsStored lets them go.
	EndedGaps(all bool) []task.Gap
	GapsStored(gaps []task.Gap)
	// LogFloor makes a raised retention floor durable; Floor tells it. WrongFloor
	// tells one in the future, which does not count and which LogFloor replaces.
	LogFloor(day task.Day) error
	Floor() task.Day
	WrongFloor() (floor task.Day, wrong bool)
	// LogDeleted makes durable that rows from before a day are deleted.
	LogDeleted(before task.Day) error
	// Settle waits until every row that was found in a file before is in the head,
	// with what is appended to it; for a bounded time.
	Settle(ctx context.Context) error
	// Checkpoint makes durable all that the head knows, whatever rows it began with.
	Checkpoint() error
}

// Options configure Open.
type Options struct {
	Dir           string // the data directory
	Logger        log.Logger
	Now           func() time.Time
	Catalog       *blocks.Catalog
	FilterBytes   int64         // resident part of the id filters of sealed days
	SealDelay     time.Duration // after UTC midnight
	RetentionTime time.Duration // 0 keeps for ever
	RetentionSize int64         // bytes of everything under Dir; 0 is no cap
	DiskUsage     float64       // percent of the file system in use at which days go; 0 is no limit
	By            string        // who seals: name and version
	Version       string        // of the program
	Observer      Observer      // told of what was done; its fields may be nil
	Legacy        Legacies      // nil if there are none
	// Step, if not nil, is called before a step that a crash may prevent; its
	// error fails the step. For tests. The steps: "leave", the deleting of what a
	// cut has superseded.
	Step     func(step string) error
	LastSeen time.Time // when the clock was last seen by a daemon here; zero if never
	// KeepFree is how many bytes of the file system a seal leaves free, for what comes in. nil: none.
	KeepFree func() int64
	// Busy reports whether requests are under way; seals then take their time. nil: never.
	Busy func() bool
	// Crowds reports whether the head has too little room for so many rows that wait for a day
	// that is being sealed: the seal is then put off. nil: never.
	Crowds func(waiting int64) bool
	// Pressed reports whether all that can be has to leave the head: cuts then do not spare readers (HoldMoves). nil: never.
	Pressed func() bool
}

// Legacies are the legacy files that were handed over: files of others, which
// retention by size and disk usage may delete in their turn.
type Legacies interface {
	// HandedOver lists them.
	HandedOver() []LegacyFile
	// DeleteLegacy lets go of one, deletes it once its readers have gone, and
	// counts it. DeleteLeft tries again what could not be deleted.
	DeleteLegacy(path, cause string) error
	DeleteLeft() error
}

// LegacyFile is a legacy file and what it takes up.
type LegacyFile struct {
	Path   string
	Paths  []string // all its files, the path too
	Newest task.Day // of its newest row
}

// Observer is told of what was done, for metrics. Nil functions are not called.
type Observer struct {
	Cut    func(rows int64, took time.Duration)              // one day's transaction
	Seal   func(rows int64, took time.Duration, reseal bool) // one day
	Delete func(cause string)                                // one day or snapshot that is gone
	// Tried is told what became of something that nobody waits for: "remove",
	// "checksum", "filter", "clock", "open", "retention-space". A nil error says that it works (again).
	Tried func(operation string, err error)
}

func (o *Options) defaults() {
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.KeepFree == nil {
		o.KeepFree = func() int64 { return 0 }
	}
	if o.Crowds == nil {
		o.Crowds = func(int64) bool { return false }
	}
	if o.Pressed == nil {
		o.Pressed = func() bool { return false }
	}
	o.Observer.defaults()
}

func (o *Observer) defaults() {
	if o.Cut == nil {
		o.Cut = func(int64, time.Duration) {}
	}
	if o.Seal == nil {
		o.Seal = func(int64, time.Duration, bool) {}
	}
	if o.Delete == nil {
		o.Delete = func(string) {}
	}
	if o.Tried == nil {
		o.Tried = func(string, error) {}
	}
}

// Compactor holds the files of a data directory and moves rows through them.
type Compactor struct {
	opts   Options
	logger log.Logger
	dirs   dirs
	parked *blocks.Parked // nil if read-only and there is none

	readOnly bool
	swept    bool // tmp/ is emptied: Close leaves the reserve there

	// act serialises cuts, publications and retention; it is held across I/O,
	// but not while a day is being built or readers drain. Before mu.
	act turn
	// pausing is held by the reader that waits for act or holds it. Before act.
	pausing turn
	moves   moves

	removing sync.Mutex // held to try deleting again; before mu

	left atomic.Bool // Leave was called: the clock is not noted any more

	mu            sync.Mutex // no I/O under it
	days          map[task.Day]*day
	highest       map[task.Day]int    // generation that was ever named in days/, readable or not: no path is used twice
	leftover      map[task.Day]string // a sealed file that got its name while the disk failed, and could not be taken away
	shut          map[task.Day]string // the name of a sealed file that is left out, and that the one in use, if any, does not replace
	nextSeq       int
	unreadable    map[string]error
	hidden        map[string]bool // directories that may not be listed, which has been told
	guard         clockGuard
	pending       *pendingFree         // the last deletion for the disk's sake, until the disk shows it
	leaving       map[string]bool      // paths of what has been replaced, and goes when its readers have left
	doomed        []doomed             // deleting them has failed
	stuck         map[string]time.Time // the same of snapshots and legacy files: since when
	unsummed      map[string]*unsummed // sealed files without a checksum, by path
	filtersFailed atomic.Bool          // reading one, when they were last balanced
	waiting       atomic.Int64         // rows that the last cut left, as their day is being sealed
	pressure      string               // what is over its limit and cannot be helped by deleting; empty if nothing
	retiring      sync.WaitGroup
}

// day is what is known of one day's files.
type day struct {
	sealed  *blocks.Sealed
	live    *blocks.Live
	lastCut time.Time
	sealing bool
	putOff  putOff // sealing it has failed
}

// Parked is the file of parked open invocations; nil if there is none, which
// only a read-only directory can be without.
func (c *Compactor) Parked() *blocks.Parked { return c.parked }

// Unreadable names the files that could not be understood, relative to the
// data directory, and why.
func (c *Compactor) Unreadable() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]error, len(c.unreadable))
	for k, v := range c.unreadable {
		out[k] = v
	}
	if c.parked != nil {
		if err := c.parked.Damage(); err != nil { // known since it was read
			out[filepath.Join("live", c.parked.Name())] = err
		}
	}
	return out
}

// Knows reports whether the files of a day know a cut. A day below the floor
// counts as knowing it: what expired must not come back.
func (c *Compactor) Knows(cut uint64, d, floor task.Day) bool {
	if d == Parked {
		return c.parked != nil && c.parked.Knows(cut)
	}
	if d < floor {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.days[d]
	return x != nil && (x.live != nil && x.live.Knows(cut) || x.sealed != nil && x.sealed.KnowsCut(cut))
}

// LastCut is the highest cut id that any file knows.
func (c *Compactor) LastCut() uint64 {
	var last uint64
	if c.parked != nil {
		last = c.parked.LastCut()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.days {
		if x.live != nil {
			last = max(last, x.live.LastCut())
		}
		if x.sealed != nil {
			last = max(last, x.sealed.LastCut())
		}
	}
	return last
}

// states describes all days for planning.
func (c *Compactor) states() []dayState {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]dayState, 0, len(c.days))
	for d, x := range c.days {
		s := dayState{day: d, hasLive: x.live != nil, hasSealed: x.sealed != nil, lastCut: x.lastCut, beingSealed: x.sealing, shut: c.shut[d] != ""}
		if x.live != nil {
			s.liveRows, s.liveMasks = x.live.Rows(), x.live.Masks()
		}
		if x.sealed != nil {
			s.sealedRows = x.sealed.Rows()
		}
		out = append(out, s)
	}
	return out
}

// DaysToSeal is how many past days wait to be sealed: see planWaiting.
func (c *Compactor) DaysToSeal() int {
	return planWaiting(c.opts.Now(), c.states(), c.opts.SealDelay)
}

// publish makes the catalog show the present files of a day. The caller holds
// act.
func (c *Compactor) publish(d task.Day) {
	c.mu.Lock()
	var files blocks.DayFiles
	if x := c.days[d]; x != nil {
		files = blocks.DayFiles{Day: d, Sealed: x.sealed, Live: x.live}
	}
	c.mu.Unlock()
	c.opts.Catalog.Edit(func(days map[task.Day]blocks.DayFiles) {
		if files.Sealed == nil && files.Live == nil {
			delete(days, d)
			return
		}
		days[d] = files
	})
}

// live returns the live file of a day, made if there is none. The caller
// holds act.
func (c *Compactor) live(d task.Day) (*blocks.Live, error) {
	c.mu.Lock()
	x := c.days[d]
	if x == nil {
		x = &day{}
		c.days[d] = x
	}
	if x.live != nil {
		defer c.mu.Unlock()
		return x.live, nil
	}
	c.nextSeq++
	// Which numbers a past day has used is known from its sealed file, which may be
	// away or damaged: one of the time is new all the same. By a name that was used
	// again the live file would be taken for one that the sealed file has replaced.
	if now := c.opts.Now(); d < task.DayOf(now.UnixMicro()) {
		c.nextSeq = max(c.nextSeq, int(now.Unix()))
	}
	seq, sealed := c.nextSeq, x.sealed
	c.mu.Unlock()
	l, err := blocks.CreateOverlay(c.dirs.live, d, seq, sealed)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	x.live, x.lastCut = l, c.opts.Now()
	c.mu.Unlock()
	c.publish(d)
	return l, nil
}

// Prepare makes sure that today's and tomorrow's live files exist before
// midnight needs them.
func (c *Compactor) Prepare() error {
	c.act.Lock()
	defer c.act.Unlock()
	today := task.DayOf(c.opts.Now().UnixMicro())
	for _, d := range []task.Day{today, today + 1} {
		if _, err := c.live(d); err != nil {
			return err
		}
	}
	return nil
}

// Settle waits until what was replaced is deleted.
func (c *Compactor) Settle() { c.retiring.Wait() }

// Close lets go of all files. Nothing else may be running.
func (c *Compactor) Close() error {
	c.Settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, x := range c.days {
		if x.live != nil {
			note(x.live.Close())
		}
		if x.sealed != nil {
			note(x.sealed.Close())
		}
	}
	for _, x := range c.doomed {
		if x.live != nil {
			note(x.live.Close())
		}
	}
	if c.parked != nil {
		note(c.parked.Close())
	}
	if c.swept {
		c.keepReserve()
	}
	return first
}

// drained waits until no reader holds a path. Readers are bounded in time by
// the query timeout; the wait is bounded too, so that a leak shows.
func (c *Compactor) drained(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return c.opts.Catalog.Drained(ctx, path)
}
