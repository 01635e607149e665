package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"daybook/cmd/internal/params"
	"daybook/cmd/internal/render"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// queueFor is how long a query waits for a place before it is sent away: a page
// that asks ten small things at once should not be told to come back.
const queueFor = 250 * time.Millisecond

// abandonAfter is how long a query that ran out of time gets to say so, with
// the rows that it has.
const abandonAfter = 2 * time.Second

// query runs one request that reads within the limits of time and number. One
// that does not end when its time is up, because the disk does not answer, is
// left to itself: it keeps its place until it ends, and what it finds is lost.
func (a *API) query(r *http.Request, run func(ctx context.Context) error) error {
	full := time.NewTimer(queueFor)
	defer full.Stop()
	select {
	case a.queries <- struct{}{}:
	case <-r.Context().Done():
		return r.Context().Err()
	case <-full.C:
		a.metrics.refused.Inc()
		return &statusError{code: http.StatusTooManyRequests, retry: retrySoon, text: "too many queries at once, more than --query.max-concurrent (" + strconv.Itoa(cap(a.queries)) + ")"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.QueryTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() { <-a.queries }()
		answered := a.Store.Courtesy().Ask()
		err := guard(ctx, run)
		answered()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(abandonAfter)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("abandoned: %w", context.Cause(ctx))
	}
}

// guard makes an error of a panic, as net/http does for its own goroutines:
// one query must not end the daemon.
func guard(ctx context.Context, run func(ctx context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return run(ctx)
}

func (a *API) get(w http.ResponseWriter, r *http.Request, id string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	var v task.Invocation
	err := a.query(r, func(ctx context.Context) (err error) {
		v, err = a.Store.Get(ctx, id)
		return err
	})
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, append(task.AppendJSON(nil, &v), '\n'))
	return nil
}

func (a *API) list(w http.ResponseWriter, r *http.Request, _ string) error {
	given, err := queryString(r)
	if err != nil {
		return err
	}
	q, err := params.ParseList(given, a.Now())
	if err != nil {
		return err
	}
	var page tsdb.Page
	err = a.query(r, func(ctx context.Context) (err error) {
		page, err = a.Store.Select(ctx, q.Query)
		timedOut := errors.Is(ctx.Err(), context.DeadlineExceeded)
		switch {
		case err == nil && !page.Complete && len(page.Invocations) == 0 && timedOut:
			return context.DeadlineExceeded
		case errors.Is(err, context.DeadlineExceeded) && len(page.Invocations) > 0:
			page.Complete = false
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	var bytes int64
	for i := range page.Invocations {
		bytes += page.Invocations[i].Size()
	}
	done, err := a.deliver(r, bytes)
	if err != nil {
		return err
	}
	defer done()
	out := a.answer(w, r, http.StatusOK)
	out.buf = append(out.buf, `{"invocations":[`...)
	for i := range page.Invocations {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		out.buf = task.AppendJSON(out.buf, &page.Invocations[i])
		out.spill()
	}
	out.buf = append(out.buf, `],"next_cursor":`...)
	next := ""
	if page.Next != nil {
		next = q.Cursor(*page.Next)
	}
	out.buf = render.AppendText(out.buf, next)
	out.buf = strconv.AppendBool(append(out.buf, `,"complete":`...), page.Complete)
	out.buf = appendCoverage(append(out.buf, `,"coverage":`...), &page.Coverage)
	out.buf = append(out.buf, "}\n"...)
	a.finish(r, out)
	return nil
}

func appendCoverage(dst []byte, c *tsdb.Coverage) []byte {
	dst = render.AppendTime(append(dst, `{"from":`...), c.From)
	dst = render.AppendTime(append(dst, `,"to":`...), c.To)
	dst = render.AppendTime(append(dst, `,"retention_from":`...), c.RetentionFrom)
	dst = strconv.AppendBool(append(dst, `,"complete":`...), c.Complete)
	dst = append(dst, `,"gaps":[`...)
	for i, g := range c.Gaps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = render.AppendTime(append(dst, `{"from":`...), g.From)
		dst = render.AppendTime(append(dst, `,"to":`...), g.To)
		dst = task.AppendJSONString(append(dst, `,"source":`...), g.Source)
		dst = task.AppendJSONString(append(dst, `,"cause":`...), g.Cause)
		dst = append(strconv.AppendInt(append(dst, `,"count":`...), g.Count, 10), '}')
	}
	dst = appendTexts(append(dst, `],"unreadable":`...), c.Unreadable)
	if c.Inexact {
		dst = append(dst, `,"inexact":true`...)
	}
	return append(dst, '}')
}

// appendTexts prints a list of texts, [] if there are none.
func appendTexts(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = task.AppendJSONString(dst, s)
	}
	return append(dst, ']')
}

func (a *API) blocks(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	var list []tsdb.BlockInfo
	err := a.query(r, func(ctx context.Context) (err error) {
		list, err = a.Store.Blocks(ctx)
		return err
	})
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, render.AppendBlocks(nil, list))
	return nil
}
