package ingest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// TestGapOfARestart: what a broker that keeps nothing sent while nobody listened
// is a gap, told before anything else can happen.
func TestGapOfARestart(t *testing.T) {
	f, c, gaps, _ := newTestFeed(t, sinkFunc(nil))
	again := func() *Feed {
		o := f.Options
		o.LastSeen = c.Now()
		c.add(2 * time.Second)
		f, err := NewFeed(f.url, o)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const source, start = "redis://user:xxxxx@h:6379/0", int64(1_000_000_000)
	expect := func(what string, want ...task.Gap) {
		t.Helper()
		if fmt.Sprint(*gaps) != fmt.Sprint(want) {
			t.Fatalf("%s: gaps\n%v, want\n%v", what, *gaps, want)
		}
		*gaps = nil
	}
	f = again()
	f.Away()
	expect("at the start", task.Gap{Source: source, Cause: CauseBrokerLost, From: start, To: start + 2e6})
	c.add(time.Second)
	f.Connected()
	expect("connected", task.Gap{Source: source, Cause: CauseBrokerLost, From: start, To: start + 3e6})
	f.Away() // has no meaning any more
	expect("later")

	f = again()
	f.Lost(errors.New("refused"), true)
	f.Connected()
	expect("a broker that keeps")
	f = again()
	f.Missed() // its queue was not there
	f.Connected()
	expect("a queue that is new", task.Gap{Source: source, Cause: CauseBrokerLost, From: start + 5e6, To: start + 7e6})
}
