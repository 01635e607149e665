package api

import (
	"context"
	"net/http"
	"strconv"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

var countParams = func() map[string]string {
	all := map[string]string{"by": "by", "step": "step"}
	for name, stands := range params.FilterNames {
		all[name] = stands
	}
	return all
}()

// count answers how many invocations match, by what, and over time.
func (a *API) count(w http.ResponseWriter, r *http.Request, _ string) error {
	v, err := parameters(r, countParams)
	if err != nil {
		return err
	}
	p := a.reader(v)
	q := tsdb.CountQuery{Filter: p.Filter(), Text: p.Text(), By: p.One("by"), Step: p.step(rollup.Forever)}
	if q.By != "" && tsdb.CountBy[q.By] == nil {
		p.Fail("by", "%q is none of task_name, state, worker, worker_group, queue, exception_type", params.Clip(q.By))
	}
	if q.Step != rollup.Forever && p.Err() == nil {
		q.From, q.To = p.span()
		if _, err := rollup.NewSeries(q.From, q.To, q.Step); err != nil {
			p.Fail("step", "%v", err)
		}
	}
	if p.Err() != nil {
		return p.Err()
	}
	var c tsdb.Count
	err = a.query(r, func(ctx context.Context) (err error) {
		c, err = a.Store.Count(ctx, q)
		return err
	})
	if err != nil {
		return err
	}
	dst := strconv.AppendInt([]byte(`{"count":`), c.Total, 10)
	if q.By != "" {
		dst = appendGroups(append(dst, `,"groups":`...), q.By, c.Groups)
	}
	if q.Step != rollup.Forever {
		dst = append(dst, `,"points":[`...)
		for i, x := range c.Points {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = task.AppendSeconds(append(dst, `{"t":`...), x.At)
			dst = strconv.AppendInt(append(dst, `,"count":`...), x.Total, 10)
			if q.By != "" {
				dst = appendGroups(append(dst, `,"groups":`...), q.By, x.Groups)
			}
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = strconv.AppendBool(append(dst, `,"complete":`...), c.Complete)
	dst = appendCoverage(append(dst, `,"coverage":`...), &c.Coverage)
	a.reply(w, r, http.StatusOK, append(dst, "}\n"...))
	return nil
}

func appendGroups(dst []byte, by string, groups []tsdb.GroupCount) []byte {
	dst = append(dst, '[')
	for i, g := range groups {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = task.AppendJSONString(append(append(append(dst, `{"`...), by...), `":`...), g.Key)
		dst = append(strconv.AppendInt(append(dst, `,"count":`...), g.Count, 10), '}')
	}
	return append(dst, ']')
}
