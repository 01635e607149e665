package redis

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/tsdb/task"
)

// sink counts events; gate, if set, decides what Append does.
type sink struct {
	stored atomic.Int64
	gate   atomic.Pointer[func() error]
}

func (s *sink) Append(_ context.Context, events []task.Event) error {
	if gate := s.gate.Load(); gate != nil {
		if err := (*gate)(); err != nil {
			return err
		}
	}
	s.stored.Add(int64(len(events)))
	return nil
}

// bench is a consumer at work.
type bench struct {
	*brokers.Running
	sink
}

func (b *bench) told(cause string) []task.Gap {
	return slices.DeleteFunc(b.Gaps(), func(g task.Gap) bool { return g.Cause != cause })
}

func run(t testing.TB, url string, change func(*ingest.Options)) *bench {
	t.Helper()
	b := &bench{}
	o := ingest.Options{Sink: &b.sink, MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	b.Running = brokers.Start(t, o, func(o ingest.Options) (brokers.Consumer, error) { return New(url, o) })
	return b
}

func client(t testing.TB, s *brokers.Server) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Network: "unix", Addr: filepath.Join(s.Dir, "redis.sock"), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// message is an event as a publisher sends it.
func message(n int, padding int) string {
	return fmt.Sprintf(`{"body":"{\"type\":\"task-succeeded\",\"uuid\":\"id-%d\",\"timestamp\":1795417090.5,\"result\":\"%s\",\"hostname\":\"w@h\"}","content-type":"application/json","content-encoding":"utf-8","properties":{}}`,
		n, strings.Repeat("x", padding))
}

func publish(t testing.TB, c *goredis.Client, channel string, from, to, padding int) {
	t.Helper()
	pipe := c.Pipeline()
	for i := from; i < to; i++ {
		pipe.Publish(t.Context(), channel, message(i, padding))
		if pipe.Len() == 500 || i == to-1 {
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
	}
}

func TestPatternsAndTransports(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	c := client(t, s)
	for query, channel := range map[string]string{
		"":                                  "/0.celeryev/task.multi",
		"?global_keyprefix=app[1]*:":        "app[1]*:/0.celeryev/task.multi",
		"?fanout_prefix=false":              "celeryev",
		"?fanout_patterns=false":            "/0.celeryev",
		"?fanout_prefix=x/{db}.&exchange=e": "x/0.e/task.sent",
	} {
		b := run(t, s.URL()+query, nil)
		b.Connects(t, 1)
		publish(t, c, "/7.celeryev/task.multi", 0, 1, 1) // another database's
		publish(t, c, channel, 0, 3, 1)
		brokers.Until(t, 10*time.Second, "events of "+channel, func() bool { return b.stored.Load() >= 3 })
		b.Stop()
		if n := b.stored.Load(); n != 3 {
			t.Errorf("%q: %d events", query, n)
		}
	}
	b := run(t, "redis+socket://"+filepath.Join(s.Dir, "redis.sock")+"?virtual_host=7", nil)
	b.Connects(t, 1)
	publish(t, c, "/7.celeryev/task.sent", 0, 3, 1)
	brokers.Until(t, 10*time.Second, "events over the socket", func() bool { return b.stored.Load() == 3 })
}

func TestPasswordsAndRights(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	c := client(t, s)
	do := func(args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	// All that is needed, and no more.
	do("acl", "setuser", "daybook", "on", ">s3cret/word", "resetchannels", "&/0.celeryev/*", "-@all", "+psubscribe", "+punsubscribe", "+ping")
	do("config", "set", "requirepass", "other s3cret")
	at := fmt.Sprintf("@127.0.0.1:%d/0", s.Port)

	good := run(t, "redis://daybook:s3cret%2Fword"+at, func(o *ingest.Options) { o.PingEvery = 50 * time.Millisecond })
	good.Connects(t, 1)
	first := good.Status().Connects
	start := time.Now()
	brokers.Until(t, 10*time.Second, "some pings", func() bool { return time.Since(start) > 400*time.Millisecond })
	if st := good.Status(); st.Connects != first {
		t.Errorf("connected %d times: %s", st.Connects, st.LastError)
	}

	for url, want := range map[string]string{
		"redis://daybook:s3cretwrong" + at:                   "WRONGPASS",
		"redis://:s3cretwrong" + at:                          "WRONGPASS",
		"redis://127.0.0.1:" + fmt.Sprint(s.Port):            "NOAUTH",
		"redis://daybook:s3cret%2Fword" + at + "?exchange=x": "NOPERM",
	} {
		b := run(t, url, nil)
		brokers.Until(t, 10*time.Second, "the refusal "+want, func() bool {
			return strings.Contains(b.Status().LastError, want) && strings.Contains(b.Log(), want) // in either order
		})
		st := b.Status()
		if all := fmt.Sprint(st, st.Reasons(), b.Log()); st.Connected || strings.Contains(all, "s3cret") {
			t.Errorf("%s: %s", want, all)
		}
		b.Stop()
	}

	// It keeps trying: a password that becomes right is enough.
	late := run(t, "redis://:later"+at, nil)
	brokers.Until(t, 10*time.Second, "a refusal", func() bool { return late.Status().LastError != "" })
	do("config", "set", "requirepass", "later")
	late.Connects(t, 1)
	// One gap, told when it began and when it ended.
	gaps := late.told(ingest.CauseBrokerLost)
	if len(gaps) == 0 || slices.ContainsFunc(gaps, func(g task.Gap) bool { return g.From != gaps[0].From }) {
		t.Errorf("gaps: %v", gaps)
	}
}

// TestServerCutsItOff: a reader that is too slow for Redis loses its connection
// in the middle of a message, comes back, and says what it missed.
func TestServerCutsItOff(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	c := client(t, s)
	b := run(t, s.URL(), nil)
	b.Connects(t, 1)
	publish(t, c, "/0.celeryev/task.sent", 0, 10, 10)
	brokers.Until(t, 10*time.Second, "the first events", func() bool { return b.stored.Load() == 10 })
	// One message beyond the limit is enough for the server.
	if err := c.ConfigSet(t.Context(), "client-output-buffer-limit", "pubsub 65536 0 0").Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, c, "/0.celeryev/task.sent", 10, 11, 20<<20)
	brokers.Until(t, 20*time.Second, "it is cut off and comes back", func() bool { st := b.Status(); return st.Connected && st.Connects >= 2 })
	if gaps := b.told(ingest.CauseBrokerLost); len(gaps) == 0 {
		t.Error("no gap is told")
	}
	before := b.stored.Load()
	publish(t, c, "/0.celeryev/task.sent", 11, 12, 10)
	brokers.Until(t, 10*time.Second, "events afterwards", func() bool { return b.stored.Load() > before })
}

// TestOverflow: when storing stands still the queue fills, what does not fit is
// counted and told, Redis does not notice, and what fitted is stored in the end.
func TestOverflow(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	c := client(t, s)
	b := run(t, s.URL(), func(o *ingest.Options) { o.QueueBytes = 1 << 20 })
	b.Connects(t, 1)
	full := func() error { return errors.New("disk full") }
	b.gate.Store(&full)
	const n = 5000
	publish(t, c, "/0.celeryev/task.sent", 0, n, 1000)
	brokers.Until(t, 20*time.Second, "all are received or dropped", func() bool { return b.Status().Messages == n })
	st := b.Status()
	if st.Dropped < 3000 || !st.Connected || st.Connects != 1 || !strings.Contains(st.SinkError, "disk full") || len(st.Reasons()) != 1 {
		t.Errorf("%+v", st)
	}
	b.gate.Store(nil)
	brokers.Until(t, 20*time.Second, "the rest is stored", func() bool { return b.stored.Load()+st.Dropped == n })
	brokers.Until(t, 20*time.Second, "the gap ends", func() bool { return len(b.told(ingest.CauseOverflow)) > 0 })
	if gaps := b.told(ingest.CauseOverflow); gaps[len(gaps)-1].Count != st.Dropped {
		t.Errorf("%d dropped, gaps %v", st.Dropped, gaps)
	}
}

// TestStopStoresWhatWasReceived.
func TestStopStoresWhatWasReceived(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	b := run(t, s.URL(), nil)
	b.Connects(t, 1)
	held := make(chan struct{})
	hold := func() error { <-held; return nil }
	b.gate.Store(&hold)
	publish(t, client(t, s), "/0.celeryev/task.sent", 0, 1000, 10)
	brokers.Until(t, 10*time.Second, "all are received", func() bool { return b.Status().Messages == 1000 })
	time.AfterFunc(50*time.Millisecond, func() { close(held) })
	b.Stop()
	if n := b.stored.Load(); n != 1000 {
		t.Errorf("%d of 1000 are stored", n)
	}
}

// TestStopSaysWhatIsNotStored: also what waited behind the batch that failed.
func TestStopSaysWhatIsNotStored(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	b := run(t, s.URL(), func(o *ingest.Options) { o.DrainFor, o.BatchEvents = 50*time.Millisecond, 100 })
	b.Connects(t, 1)
	full := func() error { return errors.New("disk full") }
	b.gate.Store(&full)
	publish(t, client(t, s), "/0.celeryev/task.sent", 0, 1000, 10)
	brokers.Until(t, 10*time.Second, "all are received", func() bool { return b.Status().Messages == 1000 })
	b.Stop()
	gaps := b.told(ingest.CauseUnstored)
	if len(gaps) != 1 || gaps[0].Count != 1000 || b.Status().Pending != 0 || !strings.Contains(b.Log(), "are lost") {
		t.Errorf("%+v %+v\n%s", gaps, b.Status(), b.Log())
	}
}

// TestSilence: a server that is stopped in its tracks keeps the connection open.
func TestSilence(t *testing.T) {
	brokers.Need(t)
	s := brokers.Redis(t)
	b := run(t, s.URL(), func(o *ingest.Options) { o.PingEvery = 200 * time.Millisecond })
	b.Connects(t, 1)
	s.Freeze(t)
	brokers.Until(t, 10*time.Second, "the silence is noticed", func() bool { return !b.Status().Connected })
	s.Thaw(t)
	b.Connects(t, 1)
}
