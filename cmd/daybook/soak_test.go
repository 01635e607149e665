package main_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

const (
	// soakRSS is what the daemon may use at the default caps, whatever is asked of
	// it, without the id filters.
	soakRSS = 450 << 20
	// soakGrowth is by how much memory may differ in the course of a long run,
	// without the id filters: what the collector leaves for later.
	soakGrowth = 24 << 20
	// idFilter is the memory for an invocation that stays.
	idFilter = 1.25
	// queryTimeout is the default of --query.timeout.
	queryTimeout = 30 * time.Second
	// smallQueryP99 bounds all but the slowest hundredth of small queries under
	// overload: ten times what they take on two cores, for those that are busy.
	smallQueryP99 = 5 * time.Second
	// verifyTells is how often a long verify says how far it is.
	verifyTells = 30 * time.Second
	// slowestAnswer is the longest that a request with records takes: 2 s for memory,
	// 12 s for its turn, for room and for the log, and as much for a busy machine.
	slowestAnswer = 25 * time.Second
)

// TestSoak asks five times of a daemon what it can do, on a disk that stops
// again and again, with readers that do not read. It stays within its memory,
// leaks nothing, answers small queries, and knows what became of every record.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more time than a short run has")
	}
	t.Parallel()
	dir := t.TempDir()
	disk, err := newStallingDisk(t, "32G")
	if err == nil {
		dir = disk.dir + "/data"
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
	if disk != nil {
		others.Go(func() { disk.stutter(stop) })
	}
	var trickled atomic.Int64
	for range 8 {
		others.Go(func() { readSlowly(p, &trickled, stop) })
	}
	others.Go(func() {
		for !closed(stop) {
			reader.run(1)
		}
	})
	rss := p.watch()
	sentBefore := l.sent.Load()
	held := l.offer(t, p, 5*sustained, lines, *soakFor)
	taken := float64(l.sent.Load()-sentBefore) / soakFor.Seconds()
	close(stop)
	others.Wait()
	samples := rss()
	t.Logf("sustained %.0f lines/s; offered 5 times that for %s, of which %.0f/s were taken and %d requests found no free connection", sustained, *soakFor, taken, held)
	if held+l.refused.Load() == 0 {
		t.Error("that was no overload")
	}
	if trickled.Load() == 0 {
		t.Error("the slow readers got nothing")
	}
	t.Run("slow disk", func(t *testing.T) {
		if disk == nil {
			t.Skipf("needs a disk that can be made to stand still: %v", err)
		}
		t.Logf("it stood still for %s, %d times", disk.stood.Round(time.Millisecond), disk.rounds)
		if disk.rounds == 0 {
			t.Error("the disk never stood still")
		}
	})
	reader.check(t)
	if slowest := time.Duration(l.slowest.Load()); slowest > slowestAnswer {
		t.Errorf("an answer to a writer took %s", slowest)
	}

	dropped := int64(0)
	eventually(t, "it is quiet", func() error {
		h, _ := p.health()
		dropped = h.Dropped
		return wants(p.metric("daybook_head_bytes") < 64<<20 && p.metric("daybook_queries_running") == 0)
	})
	checkMemory(t, samples, int64(idFilter*float64(l.accepted.Load())))
	var after figures
	eventually(t, "goroutines and files are let go", func() error {
		http.DefaultClient.CloseIdleConnections()
		after = p.figures()
		if what := after.leaked(before); len(what) > 0 {
			return fmt.Errorf("%s; %+v", strings.Join(what, "; "), after)
		}
		return nil
	})
	t.Logf("goroutines %d before, %d after; files %d before, %d after; without those of live days %d, %d; %d attached, %v", before.goroutines, after.goroutines,
		before.files, after.files, before.own, after.own, after.attached, after.live)
	l.balanceByCount(p, dropped)
	if _, told := p.gaps("dropped"); told != dropped {
		t.Errorf("%d records were dropped, the gaps count %d", dropped, told)
	}
	p.quit()
	verifiedSlowly(t, dir)
}

// verifiedSlowly verifies a directory of tens of millions of rows, which takes minutes,
// and says how far it is: every file with its checksum, structure, rows, ids and
// rollups against rows, whether an id is in more than one day, and the log.
func verifiedSlowly(t *testing.T, dir string) {
	t.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			size += fi.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(bin, "verify", "--storage.path="+dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(verifyTells)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if t.Logf("daybook verify: %d MiB in %s", size>>20, time.Since(from).Round(time.Second)); err != nil {
				t.Errorf("daybook verify: %v\n%s", err, &out)
			}
			return
		case <-tick.C:
			var read int64
			if io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", cmd.Process.Pid)); err == nil {
				_, _ = fmt.Sscanf(string(io), "rchar: %d", &read)
			}
			t.Logf("daybook verify: for %s, has read %d MiB; there are %d MiB, most of which is read more than once", time.Since(from).Round(time.Second), read>>20, size>>20)
		}
	}
}

// checkMemory wants memory to be bounded, and flat where there was time for it
// to be: ids is what the id filters may have grown by.
func checkMemory(t *testing.T, samples []int64, ids int64) {
	t.Helper()
	ids = min(ids, 256<<20) // the default of --head.filter-bytes
	during, most := samples[:len(samples)-1], slices.Max(samples)
	var thirds [3]int64
	for i, n := range during {
		third := &thirds[i*3/len(during)]
		*third = max(*third, n)
	}
	t.Logf("RSS at most %d MiB, in the thirds of the time %d, %d, %d MiB, %d MiB of it id filters", most>>20, thirds[0]>>20, thirds[1]>>20, thirds[2]>>20, ids>>20)
	if limit := soakRSS + ids; most > limit {
		t.Errorf("%d MiB resident, more than %d", most>>20, limit>>20)
	}
	if *soakFor >= time.Minute && thirds[2] > thirds[0]+soakGrowth+ids {
		t.Errorf("memory grows: in the thirds of the time %v", thirds)
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
func readSlowly(p *process, got *atomic.Int64, stop <-chan struct{}) {
	for !closed(stop) {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			return // it has ended
		}
		fmt.Fprintf(c, "GET /api/v1/invocations?limit=1000 HTTP/1.0\r\n\r\n")
		r := bufio.NewReaderSize(c, 4<<10)
		for !closed(stop) {
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second)) // and then asks anew
			n, err := r.Discard(2 << 10)
			got.Add(int64(n))
			if err != nil {
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

// quickReader asks what a page asks, smallQueries and health, and measures.
type quickReader struct {
	p      *process
	took   []time.Duration
	of     map[string][]time.Duration // took, by path
	codes  map[string]map[int]int     // by path
	failed []error
}

// run asks everything so often.
func (q *quickReader) run(rounds int) {
	client := &http.Client{Timeout: 2 * queryTimeout}
	for range rounds {
		for _, path := range append([]string{"/healthz", "/-/healthy"}, smallQueries...) {
			from := time.Now()
			resp, err := client.Get(q.p.url + path)
			if err != nil {
				q.failed = append(q.failed, err)
				continue
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				q.failed = append(q.failed, err)
			}
			resp.Body.Close()
			if q.codes == nil {
				q.codes, q.of = map[string]map[int]int{}, map[string][]time.Duration{}
			}
			if q.codes[path] == nil {
				q.codes[path] = map[int]int{}
			}
			q.codes[path][resp.StatusCode]++
			took := time.Since(from)
			q.took, q.of[path] = append(q.took, took), append(q.of[path], took)
		}
	}
}

// check wants the answers that are promised: a query may be refused when as many
// run as may (429), or give up at its timeout (504), /healthz may say that the
// disk does not answer, nothing takes longer than the timeout, and of a hundred
// ninety-nine take smallQueryP99 at most.
func (q *quickReader) check(t *testing.T) {
	t.Helper()
	slices.Sort(q.took)
	at := func(share float64) time.Duration {
		return q.took[int(share*float64(len(q.took)-1))].Round(100 * time.Microsecond)
	}
	codes := map[int]int{}
	for path, of := range q.codes {
		for code, n := range of {
			codes[code] += n
			query := strings.HasPrefix(path, "/api/")
			if code != http.StatusOK && !(query && (code == http.StatusTooManyRequests || code == http.StatusGatewayTimeout)) &&
				!(path == "/healthz" && code == http.StatusServiceUnavailable) {
				t.Errorf("%s: %d, %d times", path, code, n)
			}
		}
	}
	t.Logf("small queries: %d, p50 %s, p99 %s, at most %s, answers %v", len(q.took), at(0.5), at(0.99), at(1), codes)
	for _, err := range q.failed {
		t.Errorf("no answer: %v", err)
	}
	for _, path := range slices.Sorted(maps.Keys(q.of)) {
		took := q.of[path]
		slices.Sort(took)
		t.Logf("%s: %d, p50 %s, at most %s", path, len(took), took[len(took)/2].Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond))
	}
	if codes[http.StatusGatewayTimeout] > len(q.took)/100 || at(0.99) > smallQueryP99 {
		t.Errorf("the slowest hundredth of small queries begins at %s, %d have met their timeout", at(0.99), codes[http.StatusGatewayTimeout])
	}
	if most := at(1); most > queryTimeout+5*time.Second {
		t.Errorf("an answer took %s, the timeout is %s", most, queryTimeout)
	}
	if codes[http.StatusOK] < len(q.took)*9/10 {
		t.Errorf("%v: fewer than nine in ten are answers", codes)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
