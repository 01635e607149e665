package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/cmd/internal/celery"
	"daybook/tsdb"
	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
)

// fake is a store that does as it is told: for the failures that a real one
// does not show on demand. What is stored and found is tested with a real one.
type fake struct {
	leftOut  []string // of a snapshot
	appendFn func(ctx context.Context, recs []tsdb.Record) (tsdb.Appended, error)
	selectFn func(ctx context.Context, q tsdb.Query) (tsdb.Page, error)
	reserve  func(n int64) (func(), error)
	patience []time.Duration // of Reserve
	refused  atomic.Int64    // calls of Refuse
	getErr   error
	courtesy *tsdb.Courtesy // nil has none
	cut      tsdb.CutResult
	err      error // of Cut and Blocks
	health   tsdb.Health
	progress tsdb.Progress
	records  []tsdb.Record
	query    tsdb.Query
}

func newFake() *fake {
	return &fake{progress: tsdb.Progress{Ready: true}, health: tsdb.Health{CanStore: true}}
}

func (f *fake) Append(ctx context.Context, recs []tsdb.Record) (tsdb.Appended, error) {
	f.records = append(f.records, slices.Clone(recs)...)
	if f.appendFn != nil {
		return f.appendFn(ctx, recs)
	}
	return tsdb.Appended{}, nil
}

func (f *fake) Reserve(n int64, patience time.Duration) (func(), error) {
	f.patience = append(f.patience, patience)
	if f.reserve != nil {
		return f.reserve(n)
	}
	return func() {}, nil
}

func (f *fake) Courtesy() *tsdb.Courtesy { return f.courtesy }

func (f *fake) Refuse() error {
	f.refused.Add(1)
	return tsdb.ErrOverloaded
}

func (f *fake) Get(_ context.Context, id string) (task.Invocation, error) {
	return task.Invocation{TaskID: id, State: task.StateSent, UpdatedAt: 1e6}, f.getErr
}

func (f *fake) Select(ctx context.Context, q tsdb.Query) (tsdb.Page, error) {
	f.query = q
	if f.selectFn != nil {
		return f.selectFn(ctx, q)
	}
	return tsdb.Page{Complete: true}, nil
}

func (f *fake) Workflow(_ context.Context, id string, _ int) (tsdb.Workflow, error) {
	v := task.Invocation{TaskID: id, State: task.StateSent, UpdatedAt: 1e6}
	return tsdb.Workflow{RootID: id, Nodes: []tsdb.WorkflowNode{{Invocation: v, Stored: true}}}, f.getErr
}

func (f *fake) Tasks(_ context.Context, from, to int64, name string) ([]tsdb.TaskSummary, tsdb.Coverage, error) {
	f.query.From, f.query.To = from, to
	if name == "none" {
		return nil, tsdb.Coverage{}, f.err
	}
	return []tsdb.TaskSummary{{Name: "t", Active: 1, Summary: rollup.Summary{Workers: rollup.Ranking{Named: []rollup.Count{{Name: "w", Count: 2}}, Other: 7}}}}, tsdb.Coverage{}, f.err
}

func (f *fake) Series(_ context.Context, _ string, from, to int64, step rollup.Width) ([]rollup.Point, tsdb.Coverage, error) {
	f.query.From, f.query.To = from, to
	s, err := rollup.NewSeries(from, to, step)
	if err != nil {
		return nil, tsdb.Coverage{}, err
	}
	return s.Points(), tsdb.Coverage{}, f.err
}

func (f *fake) Count(_ context.Context, q tsdb.CountQuery) (tsdb.Count, error) {
	f.query.Filter = q.Filter
	return tsdb.Count{Total: 3, Groups: []tsdb.GroupCount{{Key: "SUCCESS", Count: 3}}, Complete: true}, f.err
}

func (f *fake) Blocks(context.Context) ([]tsdb.BlockInfo, error) {
	return []tsdb.BlockInfo{
		{Kind: tsdb.KindHead, Rows: 2, RowsExact: true, Bytes: 10},
		{Kind: tsdb.KindDay, Day: "2026-11-22", Path: "days/2026-11-22.db", Generation: 1, Rows: 7, RowsExact: true, Bytes: 4096, Oldest: 1500000, Newest: 2e6},
	}, f.err
}

func (f *fake) Cut(context.Context, bool) (tsdb.CutResult, error) { return f.cut, f.err }
func (f *fake) Snapshot(context.Context) (tsdb.Snapshot, error) {
	return tsdb.Snapshot{Path: "snapshots/20261123T120000Z", Files: []string{"days/2026-11-22.db"}, Unreadable: f.leftOut}, f.err
}
func (f *fake) Health() tsdb.Health  { return f.health }
func (f *fake) Ready() tsdb.Progress { return f.progress }

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newAPI(store api.Store, change ...func(*api.Config)) *api.API {
	c := api.Config{
		Store: store, Now: func() time.Time { return testNow },
		NewEventParser: func() api.EventParser {
			return func(raw []byte) (task.Event, bool, error) {
				if len(raw) > 0 && raw[0] == '[' { // a line is one event
					return task.Event{}, false, celery.ErrNotObject
				}
				items, err := new(celery.Decoder).Events(raw)
				if err != nil || len(items) != 1 {
					return task.Event{}, false, celery.ErrNotObject
				}
				return items[0].Event, items[0].Kind != celery.Task, items[0].Err
			}
		},
		MaxBody: 1 << 20, QueryTimeout: 5 * time.Second, QueryMaxConcurrent: 2,
		Flags: []api.Setting{{Name: "storage.path", Value: "./data"}},
		Build: []api.Setting{{Name: "version", Value: "1"}},
	}
	for _, f := range change {
		f(&c)
	}
	return api.New(c)
}

func request(method, target string, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// errorOf is the error that an answer tells; it fails the test if that is not
// the one thing it tells.
func errorOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatalf("the answer is no JSON: %v: %q", err, w.Body)
	}
	text, ok := e["error"].(string)
	if !ok || text == "" {
		t.Fatalf("the answer is no error: %s", w.Body)
	}
	return text
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
