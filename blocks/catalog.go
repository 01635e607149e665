package blocks

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"daybook/tsdb/task"
)

// DayFiles are the files of one day, at least one of them. A live file beside
// a sealed one is its overlay.
type DayFiles struct {
	Day    task.Day
	Sealed *Sealed
	Live   *Live
}

// paths are the paths of the files.
func (d DayFiles) paths() []string {
	var out []string
	if d.Sealed != nil {
		out = append(out, d.Sealed.Path())
	}
	if d.Live != nil {
		out = append(out, d.Live.Path())
	}
	return out
}

// Catalog is the set of day files that queries are answered from. It changes
// by whole generations: a View keeps the one that was current when it was
// made. Which files there ought to be is not decided here.
type Catalog struct {
	pool        *Pool
	ignoreMoved bool
	effort      int // of a fill that looks for words
	moves       atomic.Uint64
	edit        sync.Mutex // held by Edit; taken before mu
	mu          struct {
		sync.Mutex
		current *generation
		older   []*generation // those that views still use
		changed chan struct{} // closed and replaced when a generation goes
	}
}

// generation is one state of the catalog; views changes under Catalog.mu.
type generation struct {
	days  []DayFiles // newest first
	byDay map[task.Day]DayFiles
	// superseded.go; nil until it is asked for
	superseded atomic.Pointer[map[task.Day]map[string]bool]
	views      int
}

func newGeneration(days map[task.Day]DayFiles) *generation {
	g := &generation{byDay: make(map[task.Day]DayFiles, len(days))}
	for day, d := range days {
		if d.Sealed != nil || d.Live != nil {
			d.Day = day
			g.days = append(g.days, d)
			g.byDay[day] = d
		}
	}
	slices.SortFunc(g.days, func(a, b DayFiles) int { return cmp.Compare(b.Day, a.Day) })
	return g
}

func (g *generation) names(path string) bool {
	return slices.ContainsFunc(g.days, func(d DayFiles) bool { return slices.Contains(d.paths(), path) })
}

// NewCatalog returns an empty catalog whose files are read through pool.
func NewCatalog(pool *Pool) *Catalog {
	c := &Catalog{pool: pool, effort: fillEffort}
	c.mu.current = newGeneration(nil)
	c.mu.changed = make(chan struct{})
	return c
}

// IgnoreMoved says that whoever changes the catalog also deletes the rows that
// have moved: what files say of each other's rows is not looked at. Call it
// before the first View.
func (c *Catalog) IgnoreMoved() { c.ignoreMoved = true }

// Edit makes a new generation: fn changes a copy of the current set. Views
// are not disturbed. Files that the new set does not name are let go of when
// the last View that names them is released (see Drained).
func (c *Catalog) Edit(fn func(days map[task.Day]DayFiles)) {
	c.edit.Lock()
	defer c.edit.Unlock()
	c.mu.Lock()
	old := c.mu.current
	c.mu.Unlock()
	days := make(map[task.Day]DayFiles, len(old.days)+1)
	for _, d := range old.days {
		days[d.Day] = d
	}
	fn(days)
	next := newGeneration(days)
	c.mu.Lock()
	c.mu.current = next
	var gone []string
	if old.views > 0 {
		c.mu.older = append(c.mu.older, old)
	} else {
		gone = c.goneLocked(old)
	}
	c.mu.Unlock()
	c.pool.retire(gone)
}

// goneLocked lists the files that only a generation named that is no longer in
// use, and wakes who waits for it.
func (c *Catalog) goneLocked(g *generation) []string {
	gone := map[string]bool{}
	for _, d := range g.days {
		for _, path := range d.paths() {
			gone[path] = !c.namedLocked(path)
		}
	}
	maps.DeleteFunc(gone, func(_ string, gone bool) bool { return !gone })
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
	return slices.Collect(maps.Keys(gone))
}

func (c *Catalog) namedLocked(path string) bool {
	return c.mu.current.names(path) || slices.ContainsFunc(c.mu.older, func(g *generation) bool { return g.names(path) })
}

// View pins the current generation until Release.
func (c *Catalog) View() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.current.views++
	return newView(c, c.mu.current)
}

// release undoes the pin of a View.
func (c *Catalog) release(g *generation) {
	c.mu.Lock()
	var gone []string
	if g.views--; g.views == 0 && g != c.mu.current {
		c.mu.older = slices.DeleteFunc(c.mu.older, func(o *generation) bool { return o == g })
		gone = c.goneLocked(g)
	}
	c.mu.Unlock()
	c.pool.retire(gone)
}

// Drained returns when nobody reads the file any more: the current set does
// not name it, no View does, and no connection has it attached. Then its
// unlinking frees its space.
func (c *Catalog) Drained(ctx context.Context, path string) error {
	for {
		c.mu.Lock()
		named, changed := c.namedLocked(path), c.mu.changed
		c.mu.Unlock()
		if !named {
			return c.pool.drained(ctx, path)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// NoteMove says that stored rows are about to change their place: to another
// day, or within one. Call it before the first write of the move, while the
// ids are in the head.
func (c *Catalog) NoteMove() { c.moves.Add(1) }

// Moves counts NoteMove. A reader that finds the count unchanged since before
// it looked at the head has met no row both before and after its move, nor
// neither time; otherwise it reads again.
func (c *Catalog) Moves() uint64 { return c.moves.Load() }
