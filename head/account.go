package head

import "daybook/tsdb/task"

// Account is the head at one moment, with what sums over head and files need
// to count everything once.
type Account struct {
	Snapshot
	// Stored are rows that days hold of ids that are in the head: to be
	// taken out of what the files count.
	Stored []*task.Invocation
	// Active are the cuts under way. Whether a file counts one yet, the file
	// tells by its cut id.
	Active []ActiveCut
	// NextCut: cuts with this id or a greater one have begun later.
	NextCut uint64
}

// ActiveCut is a cut under way.
type ActiveCut struct {
	ID  uint64
	Day task.Day
	// Same are entries that are as they are being cut: once the file counts
	// them, the head does not.
	Same []*task.Invocation
	// Changed are the rows being cut of entries that have changed since: once
	// the file counts them they are to be taken out of it.
	Changed []*task.Invocation
	// Moves says that the cut also changes rows elsewhere, in other
	// transactions: sums have to wait until it has ended.
	Moves bool
}

// Account takes one.
func (h *Head) Account() Account {
	h.mu.RLock()
	defer h.mu.RUnlock()
	a := Account{Snapshot: h.snapshot(), NextCut: h.nextCut}
	for e := range h.stored {
		a.Stored = append(a.Stored, e.rows...)
	}
	for c := range h.active {
		x := ActiveCut{ID: c.ID, Day: c.Day}
		for i := range c.Candidates {
			cand := &c.Candidates[i]
			x.Moves = x.Moves || cand.Based || cand.Parked
			switch e := cand.entry; {
			case e.list == nil: // dropped meanwhile
				x.Changed = append(x.Changed, cand.Inv)
			case e.inv == cand.orig:
				x.Same = append(x.Same, e.inv)
			default:
				x.Changed = append(x.Changed, cand.Inv)
			}
		}
		a.Active = append(a.Active, x)
	}
	return a
}
