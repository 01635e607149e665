package daemon

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-kit/log"

	"daybook/cmd/internal/redact"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// TestSinkMasks wants what a broker says masked before it is stored.
func TestSinkMasks(t *testing.T) {
	o := tsdb.DefaultOptions()
	o.Dir = t.TempDir()
	db, err := tsdb.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			t.Error(err)
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !db.Ready().Ready {
		<-tick.C
	}
	secrets, err := redact.New(DefaultRedactKeys, []string{`sk-\d+`})
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{db: db, secrets: secrets, logger: log.NewNopLogger()}
	now := time.Now().UnixMicro()
	err = s.Append(ctx, []task.Event{
		{State: task.StateReceived, TaskID: "a", At: now, Kwargs: "{'password': 'x'}"},
		{State: task.StateFailure, TaskID: "a", At: now + 1, ExceptionType: "E", ExceptionMessage: "bad key sk-123", Traceback: "login(token='y')"},
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.Get(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if v.Kwargs != "{'password': '[redacted]'}" || v.Outcome.ExceptionMessage != "bad key [redacted]" || v.Outcome.Traceback != "login(token='[redacted]')" {
		t.Errorf("%q %+v", v.Kwargs, v.Outcome)
	}
}
