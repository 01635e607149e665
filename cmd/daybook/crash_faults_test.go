//go:build faults

package main_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

var (
	crashKills = flag.Int("crash.kills", 100, "how often each of the two random runs kills the daemon")
	crashFor   = flag.Duration("crash.for", 0, "how long the random runs go on, whatever the number of kills")
	crashKeep  = flag.String("crash.keep", "", "where to leave a copy of a data directory with which something is wrong")
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the random runs; 0 is a new one")
)

// crashRun is a data directory, the daemons that are killed on it, and the clients.
type crashRun struct {
	t       *testing.T
	r       *rand.Rand
	base    string // where dir is, the gen-th, and its backups
	gen     int
	dir     string
	p       *process
	clients []*client
	keep    int // days of retention
	rounds  int
	flags   []string
	before  string // what the last daemon but one said
	killed  map[string]int
	late    atomic.Bool // the last one did not kill itself, but was killed
}

func newCrashRun(t *testing.T, seed uint64) *crashRun {
	c := &crashRun{t: t, base: t.TempDir(), r: rand.New(rand.NewPCG(seed, 8)), killed: map[string]int{}}
	t.Cleanup(func() {
		if c.p != nil {
			c.p.kill()
			if t.Failed() && *crashKeep != "" {
				if err := os.CopyFS(filepath.Join(*crashKeep, fmt.Sprintf("%d-%d", seed, c.rounds)), os.DirFS(c.dir)); err != nil {
					t.Log(err)
				}
			}
			if t.Failed() {
				t.Logf("seed %d, round %d; the last but one said:\n%s\nthe last one, %v:\n%s", seed, c.rounds, c.before, c.flags, c.p.logs)
			}
		}
	})
	c.fresh()
	return c
}

// fresh goes on in a new directory.
func (c *crashRun) fresh() {
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Fatal(err)
	}
	c.gen++
	c.dir, c.keep, c.clients = filepath.Join(c.base, fmt.Sprint("data", c.gen)), 20, nil
	for i := range 3 {
		c.clients = append(c.clients, &client{r: rand.New(rand.NewPCG(c.r.Uint64(), 0)), name: fmt.Sprintf("c%d", i), tasks: map[string]*known{}, dirty: map[string]bool{}})
	}
}

// start starts a daemon, with a moment at which it kills itself; it reports
// whether the daemon got ready.
func (c *crashRun) start(crash string, head int, cut string) bool {
	if c.p != nil {
		c.before = c.p.logs.String()
	}
	c.flags = []string{"--head.cut-interval=" + cut, "--head.settle=0s", "--seal.delay=0s", "--wal.max-bytes=256KiB", "--log.level=debug",
		fmt.Sprintf("--head.max-records=%d", head), fmt.Sprintf("--retention.time=%dd", c.keep)}
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	for _, k := range c.clients {
		k.gone = midnight.AddDate(0, 0, 1-c.keep)
		k.quiet = k.gone.AddDate(0, 0, 2)
	}
	c.p = start(c.t, []string{"DAYBOOK_CRASH=" + crash}, c.dir, c.flags...)
	select {
	case addr := <-c.p.logs.addr:
		c.p.url = "http://" + addr
	case <-c.p.done:
		return c.diedOf(crash)
	}
	for {
		code, _, err := request(c.p, http.MethodGet, "/-/ready", nil)
		switch {
		case err != nil:
			<-c.p.done
			return c.diedOf(crash)
		case code == http.StatusOK:
			return true
		}
		<-time.After(2 * time.Millisecond) // its log is being replayed
	}
}

// diedOf wants a daemon that has ended to have been killed.
func (c *crashRun) diedOf(crash string) bool {
	if c.p.err == nil || !strings.Contains(c.p.err.Error(), "killed") {
		c.t.Fatalf("the daemon with DAYBOOK_CRASH=%s ended: %v", crash, c.p.err)
	}
	return false
}

// fail wants an error to be that of a daemon that was killed.
func (c *crashRun) fail(what string, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, errGone) {
		<-c.p.done // killed: otherwise this hangs, and the test with it
		c.diedOf("")
		return
	}
	c.t.Errorf("%s: %v", what, err)
}

// look reads what the clients do not know for certain, after a start.
func (c *crashRun) look() error {
	for _, k := range c.clients {
		for id := range k.dirty {
			code, body, err := request(c.p, http.MethodGet, "/api/v1/invocations/"+id, nil)
			switch {
			case err != nil:
				return err
			case code != http.StatusOK:
				err = k.absent(id, fmt.Sprintf("%d %s", code, body))
			default:
				err = k.compare(id, body, true)
			}
			if err != nil {
				return err
			}
			delete(k.dirty, id)
		}
	}
	return nil
}

// load has everything happen at once, until the daemon is gone.
func (c *crashRun) load(admin bool) {
	var wg sync.WaitGroup
	for _, k := range c.clients {
		wg.Go(func() { c.fail(k.name, k.work(c.p)) })
	}
	r := rand.New(rand.NewPCG(c.r.Uint64(), 1))
	wg.Go(func() {
		for admin {
			path := "/api/v1/admin/cut"
			switch r.IntN(6) {
			case 0, 1:
				path = "/api/v1/admin/cut?seal=true"
			case 2:
				path = "/api/v1/admin/snapshot"
			}
			code, body, err := request(c.p, http.MethodPost, path, nil)
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%s: %d %s", path, code, body)
			}
			if err != nil {
				c.fail("admin", err)
				return
			}
		}
	})
	wg.Wait()
	<-c.p.done
}

// round is one life of a daemon: it starts, shows what it has, works, and is
// killed after at most that time.
func (c *crashRun) round(crash string, head int, cut string, admin bool, within time.Duration) {
	c.rounds++
	c.late.Store(false)
	if c.start(crash, head, cut) {
		p := c.p
		timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		err := c.look()
		timer.Stop()
		if err != nil {
			c.fail("after a start", err)
		} else {
			timer = time.AfterFunc(within, func() {
				c.late.Store(true)
				_ = p.cmd.Process.Kill()
			})
			c.load(admin)
			timer.Stop()
		}
	}
	c.p.kill()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// verify compares all there is with the record of the clients, and has the
// program verify the directory.
func (c *crashRun) verify() {
	c.rounds++
	if !c.start("", 2000, "1h") {
		c.t.Fatal("the daemon died by itself")
	}
	if err := c.look(); err != nil {
		c.t.Fatal(err)
	}
	c.p.t = c.t
	c.shows(c.p)
	verified(c.t, c.dir)
	c.p.kill()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// shows wants a daemon to show everything once, and to count what it shows.
func (c *crashRun) shows(p *process) {
	owner := map[string]*client{}
	for _, k := range c.clients {
		for id := range k.tasks {
			owner[id] = k
		}
	}
	states := map[string]map[string]bool{}
	seen := map[string]bool{}
	for _, row := range p.walk("") { // fails on what is shown twice
		id := idOf(c.t, row)
		k := owner[id]
		if k == nil {
			c.t.Errorf("%s was never sent", id)
			continue
		}
		if err := k.compare(id, []byte(row), false); err != nil {
			c.t.Error(err)
		}
		seen[id] = true
		var v struct{ State string }
		if err := json.Unmarshal([]byte(row), &v); err != nil {
			c.t.Fatal(err)
		}
		if states[v.State] == nil {
			states[v.State] = map[string]bool{}
		}
		states[v.State][id] = true
	}
	for id, k := range owner {
		if !seen[id] {
			code, body := p.get("/api/v1/invocations/" + id)
			if err := k.absent(id, fmt.Sprintf("no listing shows it; by its id: %d %s; it began at %s, %d days are kept", code, body, k.tasks[id].at, c.keep)); err != nil {
				c.t.Error(err)
			}
		}
	}
	for _, s := range task.States {
		found := p.walk("details=false&state=" + s.String())
		for _, row := range found {
			if id := idOf(c.t, row); !states[s.String()][id] {
				c.t.Errorf("state=%s finds a superseded row of %s: %s", s, id, row)
			}
		}
		if len(found) != len(states[s.String()]) {
			c.t.Errorf("state=%s finds %d, the whole listing has %d", s, len(found), len(states[s.String()]))
		}
	}
	var counted struct {
		Count  int
		Groups []struct {
			State string
			Count int
		}
	}
	if _, body := p.get("/api/v1/count?by=state"); json.Unmarshal(body, &counted) != nil || counted.Count != len(seen) {
		c.t.Errorf("%s counts %d, a listing shows %d", body, counted.Count, len(seen))
	}
	for _, g := range counted.Groups {
		if g.Count != len(states[g.State]) {
			c.t.Errorf("%d in %s are counted, a listing shows %d", g.Count, g.State, len(states[g.State]))
		}
	}
	var sums struct {
		Tasks []struct {
			Total int `json:"total_count"`
		}
	}
	_, body := p.get("/api/v1/tasks?" + url.Values{"from": {"0"}, "to": {fmt.Sprint(time.Now().Unix() + 7200)}}.Encode())
	if err := json.Unmarshal(body, &sums); err != nil {
		c.t.Errorf("%v: %s", err, body)
	}
	total := 0
	for _, s := range sums.Tasks {
		total += s.Total
	}
	if total != len(seen) {
		c.t.Errorf("summaries count %d, a listing shows %d", total, len(seen))
	}
	if h, code := p.health(); code != http.StatusOK || h.Dropped != 0 {
		c.t.Errorf("health: %d %+v", code, h)
	}
}

// backup has a backup killed at a point, beside a daemon or without one, and
// then wants one that is whole.
func (c *crashRun) backup(crash string) (hit bool) {
	dest := c.dir + "-backup"
	cmd := exec.Command(bin, "backup", "--storage.path="+c.dir, dest)
	cmd.Env = append(os.Environ(), "DAYBOOK_CRASH="+crash)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "killed"):
		hit = true
	default:
		c.t.Fatalf("daybook backup: %v\n%s", err, out)
	}
	return hit
}

// checkBackup completes the backup, and wants it to be a data directory that
// has everything.
func (c *crashRun) checkBackup() {
	dest := c.dir + "-backup"
	tool(c.t, "backup", "--storage.path="+c.dir, dest)
	verified(c.t, dest)
	p := serve(c.t, dest, "--storage.read-only")
	c.shows(p)
	p.kill()
	if err := os.RemoveAll(dest); err != nil {
		c.t.Fatal(err)
	}
}

// TestCrashRandom kills daemons at random moments, before random file operations
// and at random points, under load.
func TestCrashRandom(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i := range uint64(2) {
		t.Run(fmt.Sprint("run", i), func(t *testing.T) {
			t.Parallel()
			t.Logf("again: make crash CRASHFLAGS='-crash.seed=%d'", seed)
			c := newCrashRun(t, seed+i)
			began := time.Now()
			for n := 0; n < *crashKills || time.Since(began) < *crashFor; n++ {
				c.randomRound()
				if n%12 == 11 {
					c.verify()
				}
				if n%40 == 39 {
					c.backup("op:" + fmt.Sprint(1+c.r.IntN(400)))
					c.checkBackup()
				}
				if c.keep < 8 {
					c.verify()
					c.fresh()
				}
			}
			c.verify()
			tasks := 0
			for _, k := range c.clients {
				tasks += len(k.tasks)
			}
			t.Logf("seed %d: %d starts in %s, the last directory has %d tasks; killed %v", seed+i, c.rounds, time.Since(began).Round(time.Second), tasks, c.killed)
		})
	}
}

func (c *crashRun) randomRound() {
	if c.r.IntN(4) == 0 {
		c.keep--
	}
	head, cut := oneOf(c.r, 150, 400, 2000), oneOf(c.r, "20ms", "100ms", "1h")
	within := time.Duration(20+c.r.IntN(250)) * time.Millisecond
	crash := ""
	switch c.r.IntN(3) {
	case 0:
		crash = fmt.Sprintf("op:%d", 1+c.r.IntN(1<<(1+c.r.IntN(13))))
		c.killed["before an operation"]++
	case 1:
		point := fault.Points[c.r.IntN(len(fault.Points))]
		crash = fmt.Sprintf("%s:%d", point, 1+c.r.IntN(1<<c.r.IntN(6)))
		c.killed["at a point"]++
	default:
		c.killed["any time"]++
	}
	c.round(crash, head, cut, c.r.IntN(2) == 0, within)
}

func oneOf[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// TestCrashPoints kills a daemon, or a backup, at every point there is, and
// fails if one is never reached.
func TestCrashPoints(t *testing.T) {
	for half := range 2 {
		t.Run(fmt.Sprint("half", half), func(t *testing.T) {
			t.Parallel()
			c := newCrashRun(t, uint64(half)+1)
			c.round("", 400, "20ms", true, 200*time.Millisecond)
			for i, point := range fault.Points {
				if i%2 != half {
					continue
				}
				if c.keep < 9 {
					c.fresh()
					c.round("", 400, "20ms", true, 200*time.Millisecond)
				}
				began := time.Now()
				for try := 0; !c.at(point); try++ {
					if try == 8 {
						t.Fatalf("%s is never reached", point)
					}
				}
				c.killed[point]++
				if took := time.Since(began); took > time.Second {
					t.Logf("%s took %s", point, took)
				}
				if i%10 == half {
					c.verify()
				}
			}
			c.verify()
		})
	}
}

// at brings about what leads to a point, and reports whether the daemon, or the
// backup, was killed there.
func (c *crashRun) at(point string) (hit bool) {
	kind, _, _ := strings.Cut(point, ".")
	head, cut, admin := 400, "20ms", true
	switch kind {
	case "backup":
		c.round("", head, cut, true, 100*time.Millisecond)
		hit = c.backup(point)
		c.checkBackup()
		return hit
	case "retain":
		c.round("", head, cut, true, 100*time.Millisecond)
		c.keep--
		admin = false
	case "replay":
		c.round("", head, "1h", false, 100*time.Millisecond)
	case "relieve": // a large head, and then a small one
		c.round("", 2000, "1h", false, 300*time.Millisecond)
		head = 150
	case "open":
		c.round(oneOf(c.r, "reseal.published", "live.closed", "sealed.drained"), head, cut, true, 2*time.Second)
	}
	c.round(point, head, cut, admin, 2*time.Second)
	return !c.late.Load()
}
