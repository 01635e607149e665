package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/api"
	"daybook/tsdb"
	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// BenchmarkPost takes 1000 lines in, without a store behind it.
func BenchmarkPost(b *testing.B) {
	var events, invocations strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&events, `{"hostname":"celery@w1","utcoffset":0,"pid":7,"clock":%d,"uuid":"6f1c1b0e-0000-4000-8000-%012d","name":"shop.charge","args":"(42,)","kwargs":"{}","root_id":null,"retries":0,"eta":null,"timestamp":1795435200.25,"type":"task-received"}`+"\n", i, i)
		fmt.Fprintf(&invocations, `{"task_id":"6f1c1b0e-0000-4000-8000-%012d","task_name":"shop.charge","state":"SUCCESS","sent_at":1795435200.1,"finished_at":1795435200.25,"args":"(42,)","result":"None"}`+"\n", i)
	}
	for path, body := range map[string]string{"/api/v1/events": events.String(), "/api/v1/invocations": invocations.String()} {
		b.Run(path[len("/api/v1/"):], func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				f := &discard{newFake()}
				if w := do(newAPI(f), request("POST", path, body)); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// discard keeps nothing.
type discard struct{ *fake }

func (*discard) Append(context.Context, []tsdb.Record) (tsdb.Appended, error) {
	return tsdb.Appended{}, nil
}

// BenchmarkList prints a page of 1000.
func BenchmarkList(b *testing.B) {
	f := newFake()
	page := tsdb.Page{Complete: true}
	for i := range 1000 {
		page.Invocations = append(page.Invocations, task.Invocation{TaskID: fmt.Sprint(i), TaskName: "shop.charge", State: task.StateSuccess,
			FinishedAt: 1795435200250000, UpdatedAt: 1795435200250000, Worker: "celery@w1", Args: "(42,)", Kwargs: "{}"})
	}
	f.selectFn = func(context.Context, tsdb.Query) (tsdb.Page, error) { return page, nil }
	h := newAPI(f, func(*api.Config) {})
	for _, accept := range []string{"identity", "gzip"} {
		b.Run(accept, func(b *testing.B) {
			for b.Loop() {
				do(h, request("GET", "/api/v1/invocations", "", "Accept-Encoding", accept))
			}
		})
	}
}

// BenchmarkIngest takes the reference load in, from the body to what is logged
// and fsynced, in requests of 500 lines; nothing is cut meanwhile. One op is a
// request; allocs/inv is the figure that docs/performance.md quotes.
func BenchmarkIngest(b *testing.B) {
	o := tsdb.DefaultOptions()
	o.Dir, o.CutInterval, o.HeadMaxRecords, o.HeadMaxBytes = b.TempDir(), time.Hour, 1<<30, 1<<40
	db, err := tsdb.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			b.Error(err)
		}
	})
	for !db.Ready().Ready {
		runtime.Gosched()
	}
	const lines = 500
	h := newAPI(db, func(c *api.Config) { c.Now = time.Now })
	load := load.NewPool(1, 5000, false).Lines(1)
	var body []byte
	var before, after runtime.MemStats
	var mallocs uint64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		body = load.Append(body[:0], lines, time.Now().UnixMicro())
		r := httptest.NewRequest("POST", "/api/v1/invocations", bytes.NewReader(body))
		w := httptest.NewRecorder()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		h.ServeHTTP(w, r)
		b.StopTimer()
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"accepted":500,`) {
			b.Fatal(w.Body)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(mallocs)/float64(b.N*lines), "allocs/inv")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/inv")
}
