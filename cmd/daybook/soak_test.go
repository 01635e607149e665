package main_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	soakFor    = flag.Duration("soak", 2*time.Second, "how long TestSoak keeps the daemon overloaded")
	soakPolicy = flag.String("soak.policy", "drop-oldest", "--head.on-overflow of TestSoak")
)

// soakRSS is what the daemon may use at the default caps, whatever is asked of it.
const soakRSS = 450 << 20

// TestSoak asks five times of a daemon what it can do, on a disk that stops
// again and again, with readers that do not read. It stays within its memory,
// leaks nothing, and knows what became of every record.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	dir := t.TempDir()
	var slow func(stop <-chan struct{})
	if d := newStallingDisk(t, "32G"); d != nil {
		dir, slow = d.dir+"/data", d.stutter
	}
	p := serve(t, dir, "--head.on-overflow="+*soakPolicy, "--retention.disk-usage=0")
	l := &load{details: 200}
	const lines = 500

	// What it sustains, by four clients that wait for their answers.
	from := time.Now()
	warm := max(*soakFor/10, time.Second)
	for time.Since(from) < warm {
		l.run(t, p, 4, 16, lines)
	}
	sustained := float64(l.sent.Load()) / time.Since(from).Seconds()
	reader := &quickReader{p: p}
	reader.run(3) // opens what is opened only once
	before := p.figures()

	stop := make(chan struct{})
	var others sync.WaitGroup
	if slow != nil {
		others.Go(func() { slow(stop) })
	}
	for range 8 {
		others.Go(func() { readSlowly(p, stop) })
	}
	others.Go(func() {
		for !closed(stop) {
			reader.run(1)
		}
	})
	var rss []int64
	others.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			rss = append(rss, p.figures().rss)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	sentBefore := l.sent.Load()
	held := l.offer(t, p, 5*sustained, lines, *soakFor)
	taken := float64(l.sent.Load()-sentBefore) / soakFor.Seconds()
	close(stop)
	others.Wait()

	dropped := int64(0)
	eventually(t, "it is quiet", func() error {
		h, _ := p.health()
		dropped = h.Dropped
		return wants(p.metric("daybook_head_bytes") < 64<<20 && p.metric("daybook_queries_running") == 0)
	})
	most := slices.Max(rss)
	third := rss[len(rss)/3:]
	t.Logf("sustained %.0f lines/s; offered 5 times that for %s, of which %.0f/s were taken and %d requests found no free connection", sustained, *soakFor, taken, held)
	t.Logf("RSS at most %d MiB, in the thirds of the time %d, %d, %d MiB; small queries: %s",
		most>>20, slices.Max(rss[:max(len(rss)/3, 1)])>>20, slices.Max(third[:max(len(third)/2, 1)])>>20, slices.Max(third[len(third)/2:])>>20, reader)
	if most > soakRSS {
		t.Errorf("%d MiB resident, more than %d", most>>20, soakRSS>>20)
	}
	var after figures
	eventually(t, "goroutines and files are let go", func() error {
		http.DefaultClient.CloseIdleConnections()
		after = p.figures()
		if after.goroutines > before.goroutines+8 || after.files > before.files+32 {
			return fmt.Errorf("before %+v, after %+v", before, after)
		}
		return nil
	})
	t.Logf("goroutines %d before, %d after; files %d before, %d after", before.goroutines, after.goroutines, before.files, after.files)
	l.balanceByCount(p, dropped)
	p.quit()
	if out, err := exec.Command(bin, "verify", "--storage.path="+dir).CombinedOutput(); err != nil { // of an hour it takes long
		t.Errorf("daybook verify: %v\n%s", err, out)
	}
}

// offer sends so many lines in a second, as long as there are connections.
func (l *load) offer(t *testing.T, p *process, rate float64, lines int, during time.Duration) (held int64) {
	t.Helper()
	const connections = 128
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	due := make(chan struct{})
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for range due {
				if _, err := l.send(p, client, lines, nil); err != nil {
					t.Errorf("the load: %v", err)
					return
				}
			}
		})
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	asked := 0.0
	for from := time.Now(); time.Since(from) < during; <-tick.C {
		for ; asked < rate*time.Since(from).Seconds(); asked += float64(lines) {
			select {
			case due <- struct{}{}:
			default:
				held++
			}
		}
	}
	close(due)
	wg.Wait()
	return held
}

// readSlowly asks for large answers and takes them in at a trickle.
func readSlowly(p *process, stop <-chan struct{}) {
	for !closed(stop) {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			return // it has ended
		}
		fmt.Fprintf(c, "GET /api/v1/invocations?limit=1000 HTTP/1.0\r\n\r\n")
		r := bufio.NewReaderSize(c, 4<<10)
		for !closed(stop) {
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second)) // and then asks anew
			if _, err := r.Discard(2 << 10); err != nil {
				break
			}
			pause := time.NewTimer(100 * time.Millisecond)
			select {
			case <-pause.C:
			case <-stop:
			}
		}
		c.Close()
	}
}

// quickReader asks what a page asks, and measures.
type quickReader struct {
	p      *process
	mu     sync.Mutex
	took   []time.Duration // guarded by mu
	codes  sync.Map
	failed atomic.Int64
}

func (q *quickReader) run(rounds int) {
	for range rounds {
		for _, path := range []string{"/api/v1/invocations/load-1", "/api/v1/invocations?limit=50&details=false", "/api/v1/invocations?task_name=load.t3&limit=20", "/healthz", "/-/healthy"} {
			from := time.Now()
			resp, err := http.Get(q.p.url + path)
			if err != nil {
				q.failed.Add(1)
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body) // only the time is of interest
			resp.Body.Close()
			n, _ := q.codes.LoadOrStore(resp.StatusCode, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			q.mu.Lock()
			q.took = append(q.took, time.Since(from))
			q.mu.Unlock()
		}
	}
}

func (q *quickReader) String() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	slices.Sort(q.took)
	at := func(share float64) time.Duration {
		return q.took[int(share*float64(len(q.took)-1))].Round(100 * time.Microsecond)
	}
	codes := map[int]int64{}
	q.codes.Range(func(code, n any) bool {
		codes[code.(int)] = n.(*atomic.Int64).Load()
		return true
	})
	return fmt.Sprintf("%d, p50 %s, p99 %s, at most %s, answers %v, %d failed", len(q.took), at(0.5), at(0.99), at(1), codes, q.failed.Load())
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
