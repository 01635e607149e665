package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is a client that sends lines of which it knows what has to become of
// each: every id once, some of them broken, some too old, some never finished.
type load struct {
	details int // bytes of args

	next     atomic.Int64 // number of the next line
	sent     atomic.Int64
	accepted atomic.Int64 // of these as the answers say
	rejected atomic.Int64
	dropped  atomic.Int64
	refused  atomic.Int64 // requests that got 503, and were sent again
	slowest  atomic.Int64 // nanoseconds
}

const (
	brokenEvery = 50 // one in so many lines is no JSON
	oldEvery    = 70 // … is older than what is kept
	openEvery   = 11 // … never finishes
)

// body is n lines.
func (l *load) body(n int) []byte {
	to := l.next.Add(int64(n))
	fill := strings.Repeat("x", l.details)
	now := time.Now().UnixMicro()
	var b bytes.Buffer
	for i := to - int64(n); i < to; i++ {
		at, state := now-i%1000, `"SUCCESS","finished_at"`
		switch {
		case i%brokenEvery == 0:
			fmt.Fprintf(&b, "{\"task_id\":\"broken-%d\n", i)
			continue
		case i%oldEvery == 0:
			at -= 500 * 24 * 3600e6
		case i%openEvery == 0:
			state = `"STARTED","started_at"`
		}
		fmt.Fprintf(&b, `{"task_id":"load-%d","task_name":"load.t%d","state":%s:%d.%06d,"worker":"w%d@h","args":"%s"}`+"\n",
			i, i%7, state, at/1e6, at%1e6, i%5, fill)
	}
	return b.Bytes()
}

// send sends n lines, and again while they are refused, until done is closed.
// It reports whether they were taken.
func (l *load) send(p *process, client *http.Client, n int, done <-chan struct{}) (bool, error) {
	body := l.body(n)
	for {
		from := time.Now()
		resp, err := client.Post(p.url+"/api/v1/invocations", "", bytes.NewReader(body))
		if err != nil {
			return false, err
		}
		var answer struct{ Accepted, Rejected, Dropped int64 }
		decodeErr := json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		for took := int64(time.Since(from)); ; {
			if was := l.slowest.Load(); took <= was || l.slowest.CompareAndSwap(was, took) {
				break
			}
		}
		switch resp.StatusCode {
		case http.StatusOK:
			l.sent.Add(int64(n))
			l.accepted.Add(answer.Accepted)
			l.rejected.Add(answer.Rejected)
			l.dropped.Add(answer.Dropped)
			return true, decodeErr
		case http.StatusServiceUnavailable:
			l.refused.Add(1)
		default:
			return false, fmt.Errorf("%s", resp.Status)
		}
		select {
		case <-done:
			return false, nil
		case <-time.After(50 * time.Millisecond): // Retry-After is meant for people who have time
		}
	}
}

// run sends from several connections until lines were taken that often. A
// request that is refused is sent again until it is taken.
func (l *load) run(t *testing.T, p *process, clients, requests, lines int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := l.send(p, client, lines, nil); err != nil {
					t.Errorf("the load: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// balance wants every line that was sent to be stored, dropped or rejected, by
// a walk over all that is shown: dropped is what the daemons counted, over all
// their lives.
func (l *load) balance(p *process, dropped int64) {
	p.t.Helper()
	if stored := int64(len(p.walk("details=false"))); stored != l.balanceByCount(p, dropped) {
		p.t.Errorf("a walk shows %d invocations", stored)
	}
}

// balanceByCount is balance without the walk. It returns the count.
func (l *load) balanceByCount(p *process, dropped int64) int64 {
	p.t.Helper()
	var count struct{ Count int64 }
	code, body := p.get("/api/v1/count")
	if err := json.Unmarshal(body, &count); err != nil || code != http.StatusOK {
		p.t.Fatalf("count: %d %s", code, body)
	}
	stored, sent, rejected := count.Count, l.sent.Load(), l.rejected.Load()
	p.t.Logf("sent %d = stored %d + dropped %d + rejected %d; %d requests were refused for a while, the slowest answer took %s",
		sent, stored, dropped, rejected, l.refused.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond))
	if sent != stored+dropped+rejected {
		p.t.Errorf("sent %d, but stored %d + dropped %d + rejected %d = %d", sent, stored, dropped, rejected, stored+dropped+rejected)
	}
	if sent != l.accepted.Load()+l.dropped.Load()+rejected {
		p.t.Errorf("sent %d, but the answers say accepted %d, dropped %d, rejected %d", sent, l.accepted.Load(), l.dropped.Load(), rejected)
	}
	return stored
}

// figures are what a process uses.
type figures struct {
	goroutines, files int64
	own               int64            // files that are not those of live days
	live              map[string]int64 // how often a file of a live day is open, by its path
	attached          int64            // files attached to connections of queries, once for each
	deleted           []string
}

func (p *process) figures() figures {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	f := figures{live: map[string]int64{}}
	for _, file := range files {
		target, err := os.Readlink(filepath.Join(dir, file.Name()))
		if err != nil {
			continue // closed since
		}
		f.files++
		switch {
		case strings.HasSuffix(target, " (deleted)"):
			f.deleted = append(f.deleted, target)
		case liveDay.MatchString(target):
			f.live[target]++
		default:
			f.own++
		}
	}
	f.attached = int64(p.metric("daybook_attached_files"))
	f.goroutines = int64(p.metric("go_goroutines"))
	return f
}

var liveDay = regexp.MustCompile(`/live/\d{4}-\d{2}-\d{2}\.\d+\.db(-wal|-shm)?$`)

// leaked says what there is more of than before that has no reason. A live file
// and its -wal are open twice, and once more for every connection that has the
// file attached. Of a connection that was closed the -wal is closed too; the file
// itself SQLite keeps for the next one, since closing it would give up the locks
// of the others: at most as many as there may be connections, which are eight.
func (f figures) leaked(before figures) (what []string) {
	wal := f.attached
	for path, n := range f.live {
		switch {
		case strings.HasSuffix(path, "-wal"):
			wal += 2 - n
		case strings.HasSuffix(path, "-shm") && n > 1, n > 2+8:
			what = append(what, fmt.Sprintf("%s is open %d times", path, n))
		}
	}
	if wal < 0 {
		what = append(what, fmt.Sprintf("%d -wal files are open and not attached", -wal))
	}
	if f.own > before.own+2 {
		what = append(what, fmt.Sprintf("%d files were open before, %d are after", before.own, f.own))
	}
	if f.goroutines > before.goroutines+4 { // some come and go
		what = append(what, fmt.Sprintf("%d goroutines before, %d after", before.goroutines, f.goroutines))
	}
	if len(f.deleted) > 0 {
		what = append(what, fmt.Sprintf("deleted and still open: %q", f.deleted))
	}
	return what
}

// rss is the memory that is resident, and the most that ever was.
func (p *process) rss() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		} else if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("no VmRSS and VmHWM in %s", status)
	}
	return now, peak, nil
}

// watch samples the memory until the function that it returns is called. That
// gives the samples; the last is the most that ever was, between them too.
func (p *process) watch() (samples func() []int64) {
	stop, done := make(chan struct{}), make(chan struct{})
	var rss []int64
	var peak int64
	go func() {
		defer close(done)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			now, most, err := p.rss()
			if err != nil {
				return // it has ended, as others will notice
			}
			rss, peak = append(rss, now), most
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() []int64 {
		close(stop)
		<-done
		if len(rss) == 0 {
			p.t.Fatal("the memory of the daemon cannot be read")
		}
		return append(rss, peak)
	}
}

// gaps are the gaps of a cause, and the records that they count together.
func (p *process) gaps(cause string) (n int, records int64) {
	p.t.Helper()
	var page struct {
		Coverage struct {
			Gaps []struct {
				Cause string
				Count int64
			}
		}
	}
	code, body := p.get("/api/v1/invocations?limit=1&details=false")
	if err := json.Unmarshal(body, &page); err != nil || code != http.StatusOK {
		p.t.Fatalf("%d %s", code, body)
	}
	for _, g := range page.Coverage.Gaps {
		if g.Cause == cause {
			n++
			records += g.Count
		}
	}
	return n, records
}

// metric is the value of a metric without labels.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	_, body := p.get("/metrics")
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return v
		}
	}
	p.t.Fatalf("there is no metric %s", name)
	return 0
}
