package daemon_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// TestShortRestartIsAGapOfTheBroker: it is shorter than what is noticed as
// downtime, and what was published meanwhile is gone all the same.
func TestShortRestartIsAGapOfTheBroker(t *testing.T) {
	c := config(t)
	c.Brokers = []string{"redis+socket://" + filepath.Join(t.TempDir(), "nobody.sock")}
	once := func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l, done := &logs{addr: make(chan string, 1)}, make(chan error, 1)
		go func() { done <- daemon.Run(ctx, c, l) }()
		addr := <-l.addr
		eventually(t, "it is not ready", func() bool {
			resp, err := http.Get("http://" + addr + "/-/ready")
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		})
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("%v\n%s", err, l)
		}
	}
	once()
	between := time.Now().UnixMicro()
	once()
	o := tsdb.DefaultOptions()
	o.Dir = c.Storage.Dir
	db, err := tsdb.OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	page, err := db.Select(context.Background(), tsdb.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(page.Coverage.Gaps, func(g task.Gap) bool {
		return g.Cause == "broker lost" && g.From <= between && g.To > between
	}) {
		t.Errorf("at %d: %+v", between, page.Coverage)
	}
}
