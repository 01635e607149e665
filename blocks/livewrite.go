package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// Put is one row to write.
type Put struct {
	Inv *task.Invocation
	// Replace says that this live file may have a row of the id already: it is
	// deleted first. Without it, the caller vouches that there is none.
	Replace bool
}

// Batch is one cut of a day: all of it is written or nothing.
type Batch struct {
	Cut uint64 // from 1; a cut that the file knows is not applied again
	Put []Put  // in any order, every id once
	// Delete are ids that leave this day: their row here is deleted. Ids
	// without one are no error.
	Delete []string
	// Mask are ids whose sealed rows of this day are hidden from now on.
	Mask []string
	// Masked are those sealed rows, as far as they are known, by id: the
	// rollups no longer count them.
	Masked map[string]*task.Invocation
	// Moved are ids put here whose rows in another day are superseded.
	Moved []Moved
}

// liveWriter is the writing connection and what only it changes.
type liveWriter struct {
	l     *Live
	c     *conn
	dicts *dicts
	ids   *idIndex
	chunk int64 // greatest chunk id
	rows  *rowInserter

	details chunkBuilder
	encoded []byte
	rollups tally
	words   *wordWriter // nil in a file that was begun without
	names   *nameWriter // nil in a file that has an index instead
	named   []nameEntry // of the cut under way
}

// placed is a row of a batch on its way in.
type placed struct {
	at      task.Key
	inv     *task.Invocation
	replace bool
	key     int64 // as it was written
	name    int64 // id in task_name
}

// Apply writes a batch in one transaction that is on disk when it returns nil.
// A cut that is known already is done: nil. After an error nothing of it is in
// the file, and the file can be used as before, also after a full disk.
func (l *Live) Apply(ctx context.Context, b Batch) error {
	rows, err := l.arrange(b)
	if err != nil {
		return fmt.Errorf("cut %d of %s: %w", b.Cut, l.day, err)
	}
	w, err := l.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { l.writer <- w }()
	if l.Knows(b.Cut) {
		return nil
	}
	if err := w.apply(ctx, &b, rows); err != nil {
		return fmt.Errorf("cut %d of %s: %w", b.Cut, l.Name(), err)
	}
	return nil
}

// arrange checks a batch and puts its rows in order.
func (l *Live) arrange(b Batch) ([]placed, error) {
	if err := checkCut(b.Cut); err != nil {
		return nil, err
	}
	rows := make([]placed, len(b.Put))
	for i, p := range b.Put {
		if err := task.CheckID(p.Inv.TaskID); err != nil {
			return nil, err
		}
		if !p.Inv.State.Valid() || p.Inv.Day() != l.day {
			return nil, fmt.Errorf("the row of %q (%s, %s) does not belong here", p.Inv.TaskID, p.Inv.State, p.Inv.Day())
		}
		rows[i] = placed{at: p.Inv.Key(), inv: p.Inv, replace: p.Replace}
	}
	slices.SortFunc(rows, func(a, b placed) int { return a.at.Compare(b.at) })
	return rows, nil
}

func (l *Live) takeWriter(ctx context.Context) (*liveWriter, error) {
	if l.readOnly {
		return nil, ErrFileReadOnly
	}
	select {
	case <-l.closed:
		return nil, ErrFileClosed
	default:
	}
	select {
	case w := <-l.writer:
		return w, nil
	case <-l.closed:
		return nil, ErrFileClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// apply runs the transaction and keeps memory in step with the file.
func (w *liveWriter) apply(ctx context.Context, b *Batch, rows []placed) error {
	next := *w.l.state.Load()
	ids, chunk := w.ids, w.chunk
	err := w.c.transaction(func() error {
		var err error
		ids, err = w.write(ctx, b, rows, &next)
		if err == nil {
			w.l.pushIndex(ids)
		}
		return err
	})
	if err != nil {
		if ids != nil && ids != w.ids {
			w.l.dropIndex(ids)
		}
		w.chunk = chunk
		w.dicts.rollback()
		w.rows.n = 0
		w.details = chunkBuilder{enc: w.details.enc}
		w.rollups.reset(false)
		w.words.rollback()
		w.names.rollback()
		return err
	}
	w.ids = ids
	w.dicts.commit()
	w.words.commit()
	w.names.commit()
	w.l.state.Store(&next)
	return nil
}

// write makes the changes of a batch.
func (w *liveWriter) write(ctx context.Context, b *Batch, rows []placed, next *liveState) (*idIndex, error) {
	entries := make([]entry, 0, len(rows))
	gone, err := w.stale(ctx, b, rows)
	if err != nil {
		return nil, err
	}
	here := make(map[string]bool, len(gone))
	for _, key := range gone {
		v, name, err := countedRow(ctx, w.c, "main", w.l.day, key)
		if err != nil {
			return nil, err
		}
		w.rollups.leaves(Counted(&v, w.l.firstWaits), name)
		here[v.TaskID] = true
	}
	moved, err := w.deleteRows(ctx, gone)
	if err != nil {
		return nil, err
	}
	entries = append(entries, moved...)
	if err := w.insert(ctx, rows); err != nil {
		return nil, err
	}
	if err := w.words.cut(w.c, max(b.Cut, next.cuts.last())); err != nil {
		return nil, err
	}
	w.named = w.named[:0]
	for i := range rows {
		w.named = append(w.named, entryOf(rows[i].name, tickOf(rows[i].at.At-w.l.day.Start())))
		entries = append(entries, entry{rows[i].at.Hash, rows[i].key})
		w.l.filter.add(rows[i].at.Hash)
	}
	slices.SortFunc(entries, entry.compare)
	ids, err := w.ids.with(ctx, w.c, entries)
	if err != nil {
		return nil, err
	}
	if err := w.names.cut(ctx, w.c, w.named); err != nil {
		return nil, err
	}
	if err := w.note(ctx, b, here, next); err != nil {
		return nil, err
	}
	if next.hours, err = w.rollups.store(ctx, w.c, rows, next.hours); err != nil {
		return nil, err
	}
	w.rollups.reset(true)
	next.rows += int64(len(rows)) - int64(len(gone))
	if w.names != nil {
		if err := setMeta(w.c, metaRows, next.rows); err != nil {
			return nil, err
		}
	}
	next.oldest, next.newest, err = rowBounds(ctx, w.c, w.l.day)
	return ids, err
}

// insert writes the rows and their details, and fills in their keys.
func (w *liveWriter) insert(ctx context.Context, rows []placed) error {
	var prev int64 = -1
	detail := (w.chunk + 1) * chunkRows
	from := 0
	place := func(i int) (int64, error) {
		r := &rows[from+i]
		key, err := freeKey(ctx, w.c, naturalKey(w.l.day, r.at))
		r.key = key
		return key, err
	}
	for i := range rows {
		r := &rows[i]
		if i > 0 && rows[i-1].at == r.at {
			return fmt.Errorf("the batch has %q twice", r.at.ID)
		}
		ids, err := w.dicts.of(w.c, r.inv)
		if err != nil {
			return err
		}
		r.name = ids.name
		w.rollups.note(Counted(r.inv, w.l.firstWaits), ids)
		at := int64(-1)
		if t := textsOf(r.inv); !t.empty() {
			at = detail + int64(w.details.rows)
			if w.details.add(&t); w.details.full() {
				if err := w.flushDetails(); err != nil {
					return err
				}
				detail = (w.chunk + 1) * chunkRows
			}
		}
		if err := w.words.add(w.c, r.inv, r.at.At, at); err != nil {
			return err
		}
		r.key = max(naturalKey(w.l.day, r.at), prev+1)
		prev = r.key
		encodeRow(w.rows.next(), r.inv, r.key, ids, at, w.l.short)
		if w.rows.n++; w.rows.n == insertRows || i == len(rows)-1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.rows.flush(w.c, place); err != nil {
				return err
			}
			from = i + 1
		}
	}
	return w.flushDetails()
}

// flushDetails writes the chunk that was collected.
func (w *liveWriter) flushDetails() error {
	if w.details.rows == 0 {
		return nil
	}
	var err error
	if w.encoded, err = w.details.take(w.encoded[:0]); err != nil {
		return err
	}
	w.chunk++
	return w.c.exec("INSERT INTO chunk (id, data) VALUES (?, ?)", w.chunk, w.encoded)
}

// note writes what a batch says beside its rows. here are ids whose row was
// deleted from this file: it is that row, not a sealed one, that the rollups
// counted.
func (w *liveWriter) note(ctx context.Context, b *Batch, here map[string]bool, next *liveState) error {
	mask, fresh := next.mask.with(b.Cut, b.Mask)
	for _, id := range fresh {
		if err := w.c.exec("INSERT INTO mask (task_id) VALUES (?)", bindID(id)); err != nil {
			return err
		}
		if old := b.Masked[id]; old != nil && !here[id] {
			name, err := w.dicts[0].id(w.c, old.TaskName)
			if err != nil {
				return err
			}
			w.rollups.leaves(Counted(old, w.l.firstWaits), name)
		}
	}
	if len(fresh) > 0 {
		if err := setMeta(w.c, metaMaskVersion, int64(b.Cut)); err != nil {
			return err
		}
	}
	next.mask = mask
	for _, m := range b.Moved {
		m.Cut = b.Cut
		if err := storeMoved(w.c, m); err != nil {
			return err
		}
	}
	if len(b.Moved) > 0 {
		var vals [1]driver.Value
		if _, err := w.c.queryRow(ctx, vals[:], "SELECT count(*) FROM moved"); err != nil {
			return err
		}
		next.moved, _ = vals[0].(int64)
	}
	cuts, r := next.cuts.with(cutRange{b.Cut, b.Cut})
	next.cuts = cuts
	return storeCut(w.c, r)
}
