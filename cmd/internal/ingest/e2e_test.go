package ingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/amqp"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/cmd/internal/ingest/redis"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

// stored is a Sink on a real data directory, with its log, cuts and days.
type stored struct{ db *tsdb.DB }

func store(t *testing.T) stored {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.Dir, o.CutInterval, o.Settle = t.TempDir(), 200*time.Millisecond, 100*time.Millisecond
	db, err := tsdb.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	brokers.Until(t, 20*time.Second, "store is ready", func() bool { return db.Ready().Ready })
	return stored{db}
}

func (m stored) Append(ctx context.Context, events []task.Event) error {
	recs := make([]tsdb.Record, len(events))
	for i := range events {
		recs[i].Invocation = events[i].Invocation()
	}
	out, err := m.db.Append(ctx, recs)
	if err == nil && out.Dropped+len(out.Refused) > 0 {
		err = fmt.Errorf("%d dropped, refused: %v", out.Dropped, out.Refused)
	}
	return err
}

func (m stored) get(id string) task.Invocation {
	v, err := m.db.Get(context.Background(), id)
	if err != nil {
		return task.Invocation{}
	}
	return v
}

// running is a consumer at work.
type running struct {
	*brokers.Running
	stored
}

func run(t *testing.T, url string) *running {
	t.Helper()
	r := &running{stored: store(t)}
	r.Running = brokers.Start(t, ingest.Options{Sink: r.stored, MaxBackoff: time.Second}, func(o ingest.Options) (brokers.Consumer, error) {
		if kind, _ := ingest.Kind(url); kind == ingest.KindRedis {
			return redis.New(url, o)
		}
		return amqp.New(url, o)
	})
	r.Connects(t, 1)
	return r
}

// driven is what drive.py expects of a task.
type driven struct {
	ID        string
	State     string
	Name      string
	Queue     string
	Args      string
	Exception string
	Root      string
	Parent    string
	Retries   *int32
	ETA       float64
}

func readLines[T any](t *testing.T, file string) []T {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		// The last line of a file that is being written may be half a line.
		if err := json.Unmarshal(lines.Bytes(), &v); err == nil {
			all = append(all, v)
		}
	}
	return all
}

// await waits until every task has ended as it must.
func await(t *testing.T, r *running, tasks []driven, limit time.Duration) {
	t.Helper()
	var open []string
	defer func() {
		if t.Failed() {
			for _, id := range open {
				v := r.get(id)
				t.Logf("%s %s: %v", id, v.TaskName, v.Transitions)
			}
		}
	}()
	brokers.Until(t, limit, "all tasks end", func() bool {
		open = open[:0]
		for _, d := range tasks {
			if v := r.get(d.ID); v.State.String() != d.State {
				open = append(open, d.ID)
			}
		}
		return len(open) == 0
	})
}

// checkDriven holds what is known of a task to what was asked of it.
func checkDriven(t *testing.T, r *running, tasks []driven) {
	t.Helper()
	now := time.Now()
	for _, d := range tasks {
		v := r.get(d.ID)
		switch {
		case v.State.String() != d.State,
			d.Name != "" && v.TaskName != d.Name, d.Queue != "" && v.Queue != d.Queue, d.Args != "" && v.Args != d.Args,
			d.Exception != "" && v.Outcome.ExceptionType != d.Exception,
			d.Root != "" && v.RootID != d.Root, d.Parent != "" && v.ParentID != d.Parent,
			d.Retries != nil && v.Retries != *d.Retries,
			d.ETA != 0 && math.Abs(float64(v.ETA)/1e6-d.ETA) > 0.001,
			v.TaskName == "", v.SentAt == 0 && d.Exception != "NotRegistered":
			t.Errorf("%+v\nis %+v", d, v)
		}
		for _, tr := range v.Transitions {
			// Workers run in other time zones: a shift would be of hours.
			if age := now.Sub(time.UnixMicro(tr.At)); age < -time.Minute || age > 10*time.Minute {
				t.Errorf("%s: %v is %v old", d.ID, tr, age)
			}
		}
		if d.Retries != nil {
			retried := 0
			for _, tr := range v.Transitions {
				if tr.State == task.StateRetry {
					retried++
				}
			}
			if retried != int(*d.Retries) {
				t.Errorf("%s: %d attempts of %d are kept: %v", d.ID, retried, *d.Retries, v.Transitions)
			}
		}
	}
}

// watched is an event as Celery's own receiver saw it.
type watched struct {
	Type, UUID, Hostname, Name, Args, Kwargs, Result, Traceback, Queue string
	Timestamp                                                          float64
	Runtime                                                            *float64
}

var watchedStates = map[string]task.State{
	"task-sent": task.StateSent, "task-received": task.StateReceived, "task-started": task.StateStarted, "task-succeeded": task.StateSuccess,
	"task-failed": task.StateFailure, "task-retried": task.StateRetry, "task-revoked": task.StateRevoked, "task-rejected": task.StateRejected,
}

// compareWatched asks for every event that Celery's receiver saw, except those
// of a gap.
func compareWatched(t *testing.T, r *running, events []watched, gaps []task.Gap) (compared int) {
	t.Helper()
	for _, e := range events {
		state, ok := watchedStates[e.Type]
		at := int64(math.Round(e.Timestamp * 1e6))
		if !ok || slices.ContainsFunc(gaps, func(g task.Gap) bool { return g.From-1_000_000 <= at && at < g.To+1_000_000 }) {
			continue
		}
		compared++
		v := r.get(e.UUID)
		worker := e.Hostname
		if state == task.StateSent {
			worker = ""
		}
		if !slices.ContainsFunc(v.Transitions, func(tr task.Transition) bool {
			return max(tr.At-at, at-tr.At) <= 1 && tr.State == state && tr.Worker == worker
		}) {
			t.Errorf("%+v\nis not in %+v", e, v.Transitions)
		}
		if e.Name != "" && v.TaskName != e.Name || e.Args != "" && v.Args != e.Args || e.Kwargs != "" && v.Kwargs != e.Kwargs || e.Queue != "" && v.Queue != e.Queue ||
			state == v.State && (v.Outcome.Result != e.Result || v.Outcome.Traceback != e.Traceback) ||
			state == task.StateSuccess && (e.Runtime == nil || math.Abs(float64(v.Outcome.Runtime)-*e.Runtime*1e6) > 1) {
			t.Errorf("%+v\nis not in %+v", e, v)
		}
	}
	return compared
}

// TestCeleryOverRedis and TestCeleryOverRabbit run every kind of task through
// real workers, once with the broker up and once with it restarted meanwhile.
func TestCeleryOverRedis(t *testing.T) {
	brokers.Need(t)
	server := brokers.Redis(t)
	lifecycles(t, server, server.URL(), server.URL())
}

func TestCeleryOverRabbit(t *testing.T) {
	brokers.Need(t)
	server := brokers.Rabbit(t)
	lifecycles(t, server, server.AMQP(), server.AMQP()+"?queue=daybook")
}

func lifecycles(t *testing.T, server *brokers.Server, brokerURL, url string) {
	r := run(t, url)
	app := brokers.NewApp(t, "testdata", brokerURL)
	file := app.Watch(t)
	app.Worker(t, "prefork", "America/New_York", "-P", "prefork", "-c", "2", "-Q", "celery")
	app.Worker(t, "solo", "Asia/Kolkata", "-P", "solo", "-Q", "solo")
	brokers.Until(t, 20*time.Second, "the receiver sees a worker", func() bool { return len(readLines[watched](t, file)) > 0 })

	list, drive := app.Drive(t, "mixed", "120")
	drive.Wait(t, 60*time.Second)
	tasks := readLines[driven](t, list)
	if len(tasks) < 200 {
		t.Fatalf("%d tasks", len(tasks))
	}
	await(t, r, tasks, 60*time.Second)
	checkDriven(t, r, tasks)
	seen := func() []watched { return readLines[watched](t, file) }
	if n := compareWatched(t, r, seen(), nil); n < 600 {
		t.Errorf("only %d events were compared", n)
	}
	st, gaps := r.Status(), r.Gaps()
	if st.Undecoded == 0 || st.Refused != 0 || st.Dropped != 0 || st.Pending != 0 || len(gaps) > 0 {
		t.Errorf("after the first half: %+v, gaps %v", st, gaps) // the NaN event is not decoded
	}
	checkGroups(t, &st)

	restart(t, server, r, app)

	list, drive = app.Drive(t, "plain", "60")
	drive.Wait(t, 60*time.Second)
	tasks = readLines[driven](t, list)
	await(t, r, tasks, 60*time.Second)
	checkDriven(t, r, tasks)
	compareWatched(t, r, seen(), r.Gaps())
}

// restart restarts the broker while tasks are published and run.
func restart(t *testing.T, server *brokers.Server, r *running, app *brokers.App) {
	t.Helper()
	started := time.Now()
	_, drive := app.Drive(t, "plain", "100")
	before := r.Status().Events
	brokers.Until(t, 30*time.Second, "tasks run", func() bool { return r.Status().Events > before+30 })
	server.Stop(t)
	brokers.Until(t, 20*time.Second, "the loss is noticed", func() bool { return !r.Status().Connected })
	st := r.Status()
	if reasons := st.Reasons(); len(reasons) == 0 || !strings.Contains(reasons[0], "not connected") || strings.Contains(reasons[0], "guest:guest") {
		t.Errorf("reasons: %q", reasons)
	}
	server.Start(t)
	brokers.Until(t, 30*time.Second, "the broker is found again", func() bool { return r.Status().Connected })
	gaps := r.Gaps()
	if len(gaps) == 0 || gaps[0].Cause != ingest.CauseBrokerLost || gaps[0].From < started.UnixMicro() || gaps[0].To <= gaps[0].From || strings.Contains(gaps[0].Source, "guest:guest") {
		t.Errorf("gaps: %+v", gaps)
	}
	drive.Stop(t) // its publishing may have failed; what it sent is its affair
	// Workers come back when they like: wait for signs of life of both.
	found := time.Now().UnixMicro()
	brokers.Until(t, 60*time.Second, "workers come back", func() bool {
		st := r.Status()
		for _, g := range st.Groups {
			if g.Workers < 2 || g.LastEventAt < found {
				return false
			}
		}
		return len(st.Groups) > 0
	})
}

// checkGroups: both workers run on this machine, so they are one group.
func checkGroups(t *testing.T, st *ingest.Status) {
	t.Helper()
	if len(st.Groups) != 1 || st.Groups[0].Workers != 2 || st.Groups[0].Losing() || st.LastEventAt == 0 {
		t.Errorf("groups: %+v", st.Groups)
	}
	if reasons := st.Reasons(); len(reasons) > 0 {
		t.Errorf("reasons: %q", reasons)
	}
}
