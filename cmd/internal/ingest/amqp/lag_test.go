package amqp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
	"daybook/tsdb/task"
)

// publishNow sends events of this moment, with a result of some size.
func publishNow(t testing.TB, ch *amqp091.Channel, from, to, size int) {
	t.Helper()
	for i := from; i < to; i++ {
		at := time.Now()
		send(t, ch, "application/json", fmt.Sprintf(`[{"type":"task-succeeded","uuid":"id-%d","timestamp":%d.%06d,"hostname":"w@h","result":"%s"}]`, i, at.Unix(), at.Nanosecond()/1000, strings.Repeat("x", size)))
	}
}

func (b *bench) fails() {
	fail := func() error { return errors.New("disk full") }
	b.gate.Store(&fail)
}

func (b *bench) told(cause string) (gaps []task.Gap) {
	for _, g := range b.Gaps() {
		if g.Cause == cause {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// late makes a consumer that is behind, and gives the times between which the
// events are that it has not stored.
func late(t *testing.T, s *brokers.Server) (b *bench, since, until int64) {
	t.Helper()
	b = run(t, s.AMQP(), func(o *ingest.Options) {
		o.Prefetch, o.PingEvery, o.DrainFor = 50, 50*time.Millisecond, 20*time.Millisecond
	})
	b.Connects(t, 1)
	ch := publisher(t, s)
	publishNow(t, ch, 0, 10, 1)
	b.stores(t, 10)
	b.fails()
	since = time.Now().UnixMicro()
	publishNow(t, ch, 10, 500, 1)
	brokers.Until(t, 10*time.Second, "the sink fails", func() bool { return b.Status().SinkError != "" })
	now := time.Now() // not before: what is published is not in the queue yet
	brokers.Until(t, 10*time.Second, "the broker shows signs of life", func() bool { return time.Since(now) > 300*time.Millisecond })
	return b, since, now.UnixMicro()
}

// testStoppedLate: what is in a temporary queue at the end is lost with it.
func testStoppedLate(t *testing.T, s *brokers.Server) {
	b, since, _ := late(t, s)
	b.Stop()
	if gaps := b.told(ingest.CauseBrokerLost); len(gaps) != 1 || gaps[0].From > since || gaps[0].To < since {
		t.Errorf("since %d: %+v", since, gaps)
	}
}

// testStoppedIdle: when a stop finds nothing left, only the time without a listener
// is a gap, and is one.
func testStoppedIdle(t *testing.T, s *brokers.Server) {
	for _, option := range []string{"", "?channel_max=1"} {
		b := run(t, s.AMQP()+option, nil)
		b.Connects(t, 1)
		publishNow(t, publisher(t, s), 0, 1, 1)
		b.stores(t, 1)
		b.Stop()
		if gaps := b.Gaps(); len(gaps) != 0 {
			t.Errorf("%q, at the stop: %+v", option, gaps)
		}
		seen := time.Now()
		b = run(t, s.AMQP()+option, func(o *ingest.Options) { o.LastSeen = seen })
		b.Connects(t, 1)
		b.Stop()
		for _, g := range b.Gaps() { // told again as it grows
			if g.From != seen.UnixMicro() {
				t.Errorf("%q, after the start: %+v", option, g)
			}
		}
	}
}

// testOneChannel: the queue is also watched when the connection may have no second
// channel.
func testOneChannel(t *testing.T, s *brokers.Server) {
	for _, queue := range []string{"", "&queue=narrow", "&queue=narrow"} { // made, and found
		b := run(t, s.AMQP()+"?channel_max=1"+queue, func(o *ingest.Options) { o.PingEvery = time.Second })
		b.Connects(t, 1)
		ch := publisher(t, s)
		for i := range 20 {
			publishNow(t, ch, i, i+1, 1)
			b.stores(t, i+1)
		}
		now := time.Now()
		brokers.Until(t, 10*time.Second, "some looks are taken", func() bool { return time.Since(now) > 2200*time.Millisecond })
		b.Stop()
		if st := b.Status(); st.Connects != 1 || st.LastError != "" || len(b.Gaps()) != 0 {
			t.Errorf("%q: %+v %+v", queue, st, b.Gaps())
		}
	}
}

// testCrashedLate: a gap begins where storing was, not where the broker died. It
// ends the server.
func testCrashedLate(t *testing.T, s *brokers.Server) {
	b, _, until := late(t, s)
	p := newProxy(t, s.Port)
	kept := run(t, fmt.Sprintf("amqp://guest:guest@%s//?queue=behind", p.addr), nil)
	kept.Connects(t, 1)
	s.Kill(t)
	b.gate.Store(nil) // what was taken is stored, which is a part of them
	brokers.Until(t, 20*time.Second, "a gap is told", func() bool { return len(b.told(ingest.CauseBrokerLost)) > 0 })
	if g := b.told(ingest.CauseBrokerLost)[0]; g.From > until {
		t.Errorf("until %d: %+v", until, g)
	}
	// Behind something that still accepts connections, too.
	brokers.Until(t, 20*time.Second, "a gap of the durable queue is told", func() bool { return len(kept.told(ingest.CauseBrokerLost)) > 0 })
}

// testFullByBytes: the limit that is reached first is that of bytes, and storing
// does not get on while it is.
func testFullByBytes(t *testing.T, s *brokers.Server) {
	b := &bench{}
	o := ingest.Options{Sink: &b.sink, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Prefetch: 50, PingEvery: 100 * time.Millisecond}
	b.Running = brokers.Start(t, o, func(o ingest.Options) (brokers.Consumer, error) {
		c, err := New(s.AMQP(), o)
		if err == nil {
			c.bounds.bytes = 1 << 20
		}
		return c, err
	})
	b.Connects(t, 1)
	ch := publisher(t, s)
	publishNow(t, ch, 0, 10, 5000)
	b.stores(t, 10)
	b.fails()
	since := time.Now().UnixMicro()
	publishNow(t, ch, 10, 1000, 5000)
	brokers.Until(t, 10*time.Second, "a full queue is noticed", func() bool { return len(b.told(ingest.CauseBrokerOverflow)) > 0 })
	if g := b.told(ingest.CauseBrokerOverflow)[0]; g.From > since {
		t.Errorf("since %d: %+v", since, g)
	}
	brokers.Until(t, 10*time.Second, "it is logged", func() bool { return strings.Contains(b.Log(), "messages are lost") }) // behind the gap
	b.gate.Store(nil)
	brokers.Until(t, 10*time.Second, "it ends", func() bool { return strings.Contains(b.Log(), "keeps up again") })
	if b.distinct() >= 1000 {
		t.Error("nothing was lost")
	}
}

// testHeld: messages of any size are not all taken into memory.
func testHeld(t *testing.T, s *brokers.Server) {
	const messages, limit = 60, 4 << 20
	p := newProxy(t, s.Port)
	b := run(t, fmt.Sprintf("amqp://guest:guest@%s//?queue=large", p.addr), func(o *ingest.Options) { o.QueueBytes, o.PingEvery = limit, 200*time.Millisecond })
	b.Connects(t, 1)
	b.fails()
	publishNow(t, publisher(t, s), 0, messages, 1<<20)
	brokers.Until(t, 10*time.Second, "the sink fails", func() bool { return b.Status().SinkError != "" })
	// Longer than the silence of a broker is borne.
	now := time.Now()
	brokers.Until(t, 20*time.Second, "some time passes", func() bool { return time.Since(now) > 4*time.Second })
	if n := p.down.Load(); n > messages<<20/2 { // what the sockets hold is a part of it
		t.Errorf("%d bytes are taken", n)
	}
	if st := b.Status(); st.Connects != 1 {
		t.Errorf("%+v", st)
	}
	b.gate.Store(nil)
	b.stores(t, messages)
}

// proxy stands between a consumer and a broker.
type proxy struct {
	addr string
	down atomic.Int64 // bytes to the consumer
}

func newProxy(t *testing.T, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(far, near)
				_ = far.Close()
			}()
			go func() {
				_, _ = io.Copy(counter{near, &p.down}, far)
				_ = near.Close()
			}()
		}
	}()
	return p
}

type counter struct {
	io.Writer
	n *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}
