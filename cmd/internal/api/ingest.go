package api

import (
	"errors"
	"net/http"

	"daybook/tsdb"
	"daybook/tsdb/task"
)

// recordOf makes a record of one piece of a body. ignored ones are none.
type recordOf func(piece []byte, rec *tsdb.Record) (ignored bool, err error)

func (a *API) postInvocations(w http.ResponseWriter, r *http.Request, _ string) error {
	space := takeSpace()
	defer space.giveBack()
	return a.ingest(w, r, false, space, func(line []byte, rec *tsdb.Record) (ignored bool, err error) {
		err = space.lines.Parse(line, &rec.Invocation)
		if errors.Is(err, task.ErrNoTime) {
			rec.NoTime, err = true, nil
		}
		if err == nil {
			a.Redact(&rec.Invocation)
		}
		return false, err
	})
}

func (a *API) postEvents(w http.ResponseWriter, r *http.Request, _ string) error {
	space := takeSpace()
	defer space.giveBack()
	parse := a.NewEventParser()
	return a.ingest(w, r, true, space, func(line []byte, rec *tsdb.Record) (ignored bool, err error) {
		ev, ignored, err := parse(line)
		if err == nil && !ignored {
			rec.Invocation = ev.Invocation()
			a.Redact(&rec.Invocation)
		}
		return ignored, err
	})
}

// ingest takes a body in. Nothing is stored before all of it was read, unless
// it is more than the memory to be had and the store takes requests in parts.
func (a *API) ingest(w http.ResponseWriter, r *http.Request, arrays bool, space *space, parse recordOf) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	if !a.Store.Ready().Ready {
		return tsdb.ErrNotReady // before a body is read in vain
	}
	b, err := a.openBody(w, r)
	if err != nil {
		return err
	}
	turn := a.Store.Courtesy().Turn()
	b.stall.turn = &turn
	in := intake{api: a, ctx: r.Context(), parse: parse, space: space, turn: &turn, memory: loans{store: a.Store, turn: &turn, patience: tsdb.OverflowWait, whole: a.WholeRequests}}
	defer func() { in.memory.giveBack(in.memory.borrowed) }()
	defer turn.Rest() // also after a panic
	turn.Take()
	err = in.read(b, arrays)
	turn.Rest()
	b.close(err == nil)
	if err == nil {
		err = in.store()
	}
	a.rejected.Add(int64(in.unread))
	if err != nil {
		return err
	}
	code := http.StatusOK
	if in.res.refusedAll() {
		code = http.StatusBadRequest
	}
	a.reply(w, r, code, in.res.appendJSON(nil))
	return nil
}
