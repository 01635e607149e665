package redis

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/ingest"
	"daybook/cmd/internal/ingest/internal/brokers"
)

// slowServer subscribes whoever comes, and sends a message in pieces.
func slowServer(t *testing.T, pieces []string, every time.Duration) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 4096)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					switch said := bytes.ToLower(b[:n]); {
					case bytes.Contains(said, []byte("psubscribe")):
					case bytes.Contains(said, []byte("ping")):
						continue
					default: // hello
						fmt.Fprint(conn, "-ERR unknown command\r\n")
						continue
					}
					fmt.Fprint(conn, "*3\r\n$10\r\npsubscribe\r\n$13\r\n/0.celeryev/*\r\n:1\r\n")
					tick := time.NewTicker(every)
					for _, p := range pieces {
						<-tick.C
						fmt.Fprint(conn, p)
					}
					tick.Stop()
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

// TestSlowMessage: one that takes longer than the silence that is borne is read
// to its end; one that stands still is lost, and what it said is not logged.
func TestSlowMessage(t *testing.T) {
	payload := message(1, 1000)
	text := fmt.Sprintf("*4\r\n$8\r\npmessage\r\n$13\r\n/0.celeryev/*\r\n$20\r\n/0.celeryev/task.sen\r\n$%d\r\n%s\r\n", len(payload), payload)
	var pieces []string
	for len(text) > 150 {
		pieces, text = append(pieces, text[:150]), text[150:]
	}
	pieces = append(pieces, text)
	patience := func(o *ingest.Options) { o.PingEvery = 400 * time.Millisecond }
	b := run(t, slowServer(t, pieces, 100*time.Millisecond), patience)
	brokers.Until(t, 10*time.Second, "the message is stored", func() bool { return b.stored.Load() == 1 })
	if st := b.Status(); st.Connects != 1 || st.LastError != "" {
		t.Errorf("%+v", st)
	}
	b.Stop()

	half := run(t, slowServer(t, pieces[:len(pieces)-2], time.Millisecond), patience)
	half.Connects(t, 2)
	if all := half.Log(); len(half.told(ingest.CauseBrokerLost)) == 0 || strings.Contains(all, "xxx") || strings.Contains(all, "task-succeeded") {
		t.Errorf("%+v\n%s", half.Gaps(), all)
	}
}

func TestWordless(t *testing.T) {
	if err := wordless(fmt.Errorf("listen: %w", fmt.Errorf("redis: can't parse %.100q", "s3cret"))); strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	if err := wordless(errHalf); err != errHalf {
		t.Error(err)
	}
}
