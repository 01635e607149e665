//go:build faults

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"daybook/tsdb"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// account is what a summary says of the invocations of a task.
type account struct {
	Total   uint64 `json:"total_count"`
	Success uint64 `json:"success_count"`
	Failure uint64 `json:"failure_count"`
	Retries uint64 `json:"retries_total"`
}

func (a *account) add(b account) {
	a.Total, a.Success, a.Failure, a.Retries = a.Total+b.Total, a.Success+b.Success, a.Failure+b.Failure, a.Retries+b.Retries
}

// accounts are those of all tasks, by name.
type accounts map[string]account

func (a accounts) row(v *task.Invocation) {
	x := a[v.TaskName]
	x.Total++
	x.Retries += uint64(v.Retries)
	switch v.State {
	case task.StateSuccess:
		x.Success++
	case task.StateFailure:
		x.Failure++
	}
	a[v.TaskName] = x
}

// named are those that have a series of their own: that of no name is of all.
func (a accounts) named() accounts {
	a = maps.Clone(a)
	delete(a, "")
	return a
}

// differ is an error if summaries say anything else than the rows. A task that is
// only open, or not there any more, may be summed as nothing.
func (a accounts) differ(what string, sums accounts) error {
	maps.DeleteFunc(sums, func(_ string, x account) bool { return x == account{} })
	if maps.Equal(a, sums) {
		return nil
	}
	return fmt.Errorf("%s are %+v, the rows %+v", what, sums, a)
}

// seriesDays is how far back series are summed: further than any row.
const seriesDays = 60

// sumsOf asks a daemon for the summaries of all tasks, and for the series of each.
func sumsOf(p *process, names accounts) (sums, series accounts, err error) {
	ask := func(path string, from int64, more string, out any) error {
		path += "?" + url.Values{"from": {fmt.Sprint(from)}, "to": {fmt.Sprint(time.Now().Unix() + 7200)}}.Encode() + more
		code, body := p.get(path)
		if code != http.StatusOK {
			return fmt.Errorf("%s: %d %s", path, code, body)
		}
		return json.Unmarshal(body, out)
	}
	var all struct {
		Tasks []struct {
			Name string `json:"task_name"`
			account
		}
	}
	if err := ask("/api/v1/tasks", 0, "", &all); err != nil {
		return nil, nil, err
	}
	sums, series = accounts{}, accounts{}
	for _, s := range all.Tasks {
		sums[s.Name] = s.account
	}
	for name := range names {
		var of struct{ Points []account }
		if err := ask("/api/v1/tasks/"+url.PathEscape(name)+"/series", time.Now().Unix()-seriesDays*86400, "&step=86400", &of); err != nil {
			return nil, nil, err
		}
		var x account
		for _, point := range of.Points {
			x.add(point)
		}
		series[name] = x
	}
	return sums, series, nil
}

// sumsOfCopy asks a directory for the same.
func sumsOfCopy(db *tsdb.DB, names accounts) (sums, series accounts, err error) {
	ctx, to := context.Background(), time.Now().UnixMicro()+7200e6
	list, _, err := db.Tasks(ctx, 0, to, "")
	if err != nil {
		return nil, nil, err
	}
	sums, series = accounts{}, accounts{}
	for _, s := range list {
		sums[s.Name] = account{s.Total, s.Success, s.Failure, s.Retries}
	}
	for name := range names {
		points, _, err := db.Series(ctx, name, to-seriesDays*86400e6, to, rollup.Day)
		if err != nil {
			return nil, nil, err
		}
		var x account
		for _, p := range points {
			x.add(account{p.Total, p.Success, p.Failure, p.Retries})
		}
		series[name] = x
	}
	return sums, series, nil
}
