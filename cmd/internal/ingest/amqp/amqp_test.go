package amqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/tsdb/task"
)

// sink collects ids; gate, if set, decides what Append does.
type sink struct {
	gate atomic.Pointer[func() error]
	mu   sync.Mutex // guards ids
	ids  map[string]int
}

func (s *sink) Append(_ context.Context, events []task.Event) error {
	if gate := s.gate.Load(); gate != nil {
		if err := (*gate)(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[string]int)
	}
	for i := range events {
		s.ids[events[i].TaskID]++
	}
	return nil
}

func (s *sink) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// bench is a consumer at work.
type bench struct {
	*brokers.Running
	sink
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

func (b *bench) stores(t testing.TB, n int) {
	t.Helper()
	brokers.Until(t, 20*time.Second, fmt.Sprintf("%d tasks are stored", n), func() bool { return b.distinct() >= n })
	if got := b.distinct(); got != n {
		t.Fatalf("%d tasks are stored, want %d", got, n)
	}
}

// publisher is a channel of its own.
func publisher(t testing.TB, s *brokers.Server) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(s.AMQP())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// publish sends events, one a message.
func publish(t testing.TB, ch *amqp091.Channel, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		body := fmt.Sprintf(`[{"type":"task-started","uuid":"id-%d","timestamp":1795417090.5,"hostname":"w@h"}]`, i)
		send(t, ch, "application/json", body)
	}
}

func send(t testing.TB, ch *amqp091.Channel, contentType, body string) {
	t.Helper()
	if err := ch.Publish("celeryev", "task.multi", false, false, amqp091.Publishing{ContentType: contentType, ContentEncoding: "utf-8", Body: []byte(body)}); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// TestRabbit shares one server, whose start takes most of the time.
func TestRabbit(t *testing.T) {
	brokers.Need(t)
	s := brokers.Rabbit(t)
	t.Run("a durable queue keeps events while we are away", func(t *testing.T) { testDurable(t, s) })
	t.Run("acknowledged after it is stored", func(t *testing.T) { testAcknowledge(t, s) })
	t.Run("a temporary queue", func(t *testing.T) { testTemporary(t, s) })
	t.Run("the queue is deleted", func(t *testing.T) { testDeleted(t, s) })
	t.Run("passwords", func(t *testing.T) { testPasswords(t, s) })
	t.Run("the exchange of workers is not touched", func(t *testing.T) { testExchange(t, s) })
	t.Run("stopped while the broker is silent", func(t *testing.T) { testSilent(t, s) })
	t.Run("stopped while it is late", func(t *testing.T) { testStoppedLate(t, s) })
	t.Run("stopped while nothing waits", func(t *testing.T) { testStoppedIdle(t, s) })
	t.Run("one channel", func(t *testing.T) { testOneChannel(t, s) })
	t.Run("a temporary queue that is full by bytes", func(t *testing.T) { testFullByBytes(t, s) })
	t.Run("large messages", func(t *testing.T) { testHeld(t, s) })
	t.Run("bad messages", func(t *testing.T) { testBad(t, s) })
	t.Run("a crash while it is late", func(t *testing.T) { testCrashedLate(t, s) }) // the last
}

func durable(s *brokers.Server, queue string) string { return s.AMQP() + "?queue=" + queue }

func testDurable(t *testing.T, s *brokers.Server) {
	b := run(t, durable(s, "daybook"), nil)
	b.Connects(t, 1)
	ch := publisher(t, s)
	publish(t, ch, 0, 100)
	b.stores(t, 100)
	b.Stop()
	publish(t, ch, 100, 5000)
	b = run(t, durable(s, "daybook"), nil)
	b.stores(t, 4900)
	if gaps := b.Gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	// A second Daybook would take half of the events away.
	other := run(t, durable(s, "daybook"), nil)
	brokers.Until(t, 10*time.Second, "the second is refused", func() bool { return strings.Contains(other.Status().LastError, "ACCESS_REFUSED") })
}

func testAcknowledge(t *testing.T, s *brokers.Server) {
	b := run(t, durable(s, "acked"), func(o *ingest.Options) { o.Prefetch, o.DrainFor = 50, time.Millisecond })
	b.Connects(t, 1)
	fail := func() error { return errors.New("disk full") }
	b.gate.Store(&fail)
	publish(t, publisher(t, s), 0, 500)
	brokers.Until(t, 10*time.Second, "the sink fails", func() bool { return b.Status().SinkError != "" })
	if st := b.Status(); st.Messages > 50 {
		t.Errorf("%d messages are taken, with a prefetch of 50", st.Messages)
	}
	// Nothing was stored: another one gets all of it.
	b.Stop()
	if n := b.distinct(); n != 0 {
		t.Fatalf("%d are stored", n)
	}
	run(t, durable(s, "acked"), nil).stores(t, 500)
}

func testTemporary(t *testing.T, s *brokers.Server) {
	b := run(t, s.AMQP(), nil)
	b.Connects(t, 1)
	hold := make(chan struct{})
	held := func() error { <-hold; return nil }
	b.gate.Store(&held)
	ch := publisher(t, s)
	publish(t, ch, 0, 6000) // more than the prefetch
	time.AfterFunc(50*time.Millisecond, func() { close(hold) })
	b.stores(t, 6000)
	b.Stop()
	b = run(t, s.AMQP(), nil)
	b.Connects(t, 1)
	publish(t, publisher(t, s), 6000, 6001)
	b.stores(t, 1)
}

func testDeleted(t *testing.T, s *brokers.Server) {
	b := run(t, durable(s, "doomed"), nil)
	b.Connects(t, 1)
	ch := publisher(t, s)
	if _, err := ch.QueueDelete("doomed", false, false, false); err != nil {
		t.Fatal(err)
	}
	b.Connects(t, 2)
	brokers.Until(t, 10*time.Second, "a gap is told", func() bool { return len(b.Gaps()) == 1 })
	publish(t, publisher(t, s), 0, 10)
	b.stores(t, 10)
}

func testPasswords(t *testing.T, s *brokers.Server) {
	b := run(t, fmt.Sprintf("amqp://guest:s3cretwrong@127.0.0.1:%d//", s.Port), nil)
	brokers.Until(t, 20*time.Second, "the refusal", func() bool { return strings.Contains(b.Status().LastError, "403") })
	st := b.Status()
	if all := fmt.Sprint(st, st.Reasons(), b.Log(), b.Gaps()); strings.Contains(all, "s3cret") || len(st.Reasons()) == 0 {
		t.Error(all)
	}
	b = run(t, fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/nowhere", s.Port), nil)
	brokers.Until(t, 20*time.Second, "the refusal of the vhost", func() bool { return b.Status().LastError != "" })
	if st := b.Status(); st.Connected || !strings.Contains(st.LastError, "nowhere") {
		t.Errorf("%+v", st)
	}
}

// testExchange: one that is declared in another way is used as it is.
func testExchange(t *testing.T, s *brokers.Server) {
	ch := publisher(t, s)
	if err := ch.ExchangeDeclare("odd", "topic", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	b := run(t, s.AMQP()+"?exchange=odd", nil)
	b.Connects(t, 1)
	if err := ch.Publish("odd", "task.sent", false, false, amqp091.Publishing{Body: []byte(`{"type":"task-sent","uuid":"a","timestamp":1}`)}); err != nil {
		t.Fatal(err)
	}
	b.stores(t, 1)
}

// testSilent: a broker that does not answer cannot keep Daybook from ending, and
// its silence is noticed.
func testSilent(t *testing.T, s *brokers.Server) {
	stopped := run(t, durable(s, "silent1"), func(o *ingest.Options) { o.DrainFor = 100 * time.Millisecond })
	stopped.Connects(t, 1)
	b := run(t, durable(s, "silent2"), func(o *ingest.Options) { o.PingEvery = time.Second })
	b.Connects(t, 1)
	s.Freeze(t)
	defer s.Thaw(t)
	stopped.Stop()
	brokers.Until(t, 10*time.Second, "the silence is noticed", func() bool { return !b.Status().Connected })
	b.Stop()
	late := run(t, durable(s, "silent3"), nil)
	brokers.Until(t, 10*time.Second, "the port is reached", func() bool { return late.Status().Connects == 0 })
	late.Stop()
}

func testBad(t *testing.T, s *brokers.Server) {
	b := run(t, durable(s, "bad"), nil)
	b.Connects(t, 1)
	ch := publisher(t, s)
	for range 50 {
		send(t, ch, "application/x-python-serialize", "\x80\x04")
		send(t, ch, "application/json", `{"type":"task-ratio","uuid":"a","timestamp":1,"ratio":NaN}`)
		send(t, ch, "application/json", `[]`)
		send(t, ch, "application/json", `nonsense`)
		send(t, ch, "application/json", `[{"type":"task-started","uuid":"x","timestamp":"1"},{"type":"task-started","uuid":"good","timestamp":1}]`)
	}
	publish(t, ch, 0, 1)
	b.stores(t, 2)
	brokers.Until(t, 10*time.Second, "all are acknowledged", func() bool { return b.Status().Pending == 0 })
	st := b.Status()
	if st.Undecoded != 150 || st.Refused != 50 || st.Events != 51 || !st.Connected || st.Connects != 1 {
		t.Errorf("%+v", st)
	}
	if n := strings.Count(b.Log(), "level=warn"); n == 0 || n > 5 {
		t.Errorf("%d warnings:\n%s", n, b.Log())
	}
}
