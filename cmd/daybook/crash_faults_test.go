//go:build faults

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/tsdb/task"
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
	days    []int // retention in a fresh directory is one of them
	keep    int   // days of retention
	rounds  int
	flags   []string
	before  string      // what the last daemon but one said
	shot    atomic.Bool // the daemon was killed from outside
	kills   *tally
	copies
}

func newCrashRun(t *testing.T, seed uint64, kills *tally, days ...int) *crashRun {
	c := &crashRun{t: t, base: t.TempDir(), r: rand.New(rand.NewPCG(seed, 8)), kills: kills, days: days}
	t.Cleanup(func() {
		if c.p != nil {
			c.p.kill()
			if t.Failed() && *crashKeep != "" {
				if err := os.CopyFS(filepath.Join(*crashKeep, fmt.Sprintf("%d-%d", seed, c.rounds)), os.DirFS(c.base)); err != nil {
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
	if c.dir != "" {
		c.remove(c.dir)
		c.remove(c.dir + "-backup")
	}
	c.gen++
	c.dir, c.keep, c.clients = filepath.Join(c.base, fmt.Sprint("data", c.gen)), oneOf(c.r, c.days...), nil
	c.copies = copies{snapshots: map[string]record{}, seen: map[string]bool{}, onto: &backup{dest: c.dir + "-backup"}}
	for i := range 3 {
		c.clients = append(c.clients, &client{r: rand.New(rand.NewPCG(c.r.Uint64(), 0)), name: fmt.Sprintf("c%d", i), tasks: map[string]*known{}, dirty: map[string]bool{}})
	}
}

func (c *crashRun) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		c.t.Fatal(err)
	}
}

// record is what the clients know now.
func (c *crashRun) record() record {
	r := record{tasks: map[string]known{}}
	for _, k := range c.clients {
		k.mu.Lock()
		for id, t := range k.tasks {
			r.tasks[id] = *t
		}
		r.gone = k.gone
		k.mu.Unlock()
	}
	return r
}

// life is how a daemon is started, and what is asked of it.
type life struct {
	crash  string // where it kills itself
	head   int    // records
	cut    string // interval
	admin  bool   // cuts, seals, snapshots and backups are asked for
	first  string // and this before everything else
	within time.Duration
	flags  []string
}

// start starts a daemon; it reports whether the daemon got ready.
func (c *crashRun) start(l life) bool {
	if c.p != nil {
		c.before = c.p.logs.String()
	}
	c.shot.Store(false)
	c.flags = append([]string{"--head.cut-interval=" + l.cut, "--head.settle=0s", "--seal.delay=0s", "--wal.max-bytes=256KiB", "--log.level=debug",
		fmt.Sprintf("--head.max-records=%d", l.head), fmt.Sprintf("--retention.time=%dd", c.keep)}, l.flags...)
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	for _, k := range c.clients {
		k.gone = midnight.AddDate(0, 0, 1-c.keep)
		k.quiet, k.refused = k.gone.AddDate(0, 0, 2), k.gone.AddDate(0, 0, -1)
	}
	unfinished := c.unfinished()
	c.p = start(c.t, []string{"DAYBOOK_CRASH=" + l.crash}, c.dir, c.flags...)
	timer := time.AfterFunc(patience, func() { _ = c.p.cmd.Process.Kill() })
	defer timer.Stop()
	select {
	case addr := <-c.p.logs.addr:
		c.p.url = "http://" + addr
	case <-c.p.done:
		return c.diedOf(l.crash)
	}
	for {
		code, _, err := request(c.p, http.MethodGet, "/-/ready", nil)
		switch {
		case err != nil:
			<-c.p.done
			return c.diedOf(l.crash)
		case code == http.StatusOK:
			for _, path := range unfinished {
				if _, err := os.Lstat(path); err == nil {
					c.t.Errorf("a start leaves the unfinished %s", path)
				}
			}
			return true
		}
		<-time.After(2 * time.Millisecond) // its log is being replayed
	}
}

// diedOf wants a daemon that has ended to have been killed, by itself where it
// was to do that, or by us.
func (c *crashRun) diedOf(crash string) bool {
	at := killedAt(c.p.logs.String())
	switch {
	case c.p.err == nil || !strings.Contains(c.p.err.Error(), "killed"):
		c.t.Fatalf("the daemon with DAYBOOK_CRASH=%s ended: %v", crash, c.p.err)
	case at == "" && !c.shot.Load():
		c.t.Fatalf("the daemon with DAYBOOK_CRASH=%s was killed by somebody else, or did not answer for %s", crash, patience)
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
		return     // what it died of is looked at when all have noticed
	}
	c.t.Errorf("%s: %v", what, err)
}

// lookedAt bounds how many tasks of a client are read one by one after a start;
// the others are looked at after one of the next, and by verify.
const lookedAt = 40

// look reads what the clients do not know for certain, after a start, and some
// of what is gone.
func (c *crashRun) look() error {
	for _, k := range c.clients {
		const again = 5
		gone := 0
		for id, t := range k.tasks {
			if t.missing && gone < again {
				gone++
				k.dirty[id] = true
			}
		}
		ids := slices.Sorted(maps.Keys(k.dirty))
		k.r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids[:min(len(ids), lookedAt)] {
			code, body, err := request(c.p, http.MethodGet, "/api/v1/invocations/"+id, nil)
			switch {
			case err != nil:
				return err
			case code != http.StatusOK:
				err = k.absent(id, fmt.Sprintf("%d %s", code, body), true)
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
func (c *crashRun) load(l life) {
	var wg sync.WaitGroup
	for _, k := range c.clients {
		wg.Go(func() { c.fail(k.name, k.work(c.p)) })
	}
	r := rand.New(rand.NewPCG(c.r.Uint64(), 1))
	wg.Go(func() {
		ask := l.first
		for ask != "" || l.admin {
			if ask == "" {
				ask = oneOf(r, "cut", "cut", "cut?seal=true", "cut?seal=true", "snapshot", "backup")
			}
			var err error
			switch ask {
			case "snapshot":
				err = c.snapshot()
			case "backup":
				err = c.backupBeside(r)
			default:
				err = c.ask(ask)
			}
			if err != nil {
				c.fail("admin", err)
				return
			}
			ask = ""
		}
	})
	wg.Wait()
	<-c.p.done
}

// ask asks for something of the admin API.
func (c *crashRun) ask(what string) error {
	code, body, err := request(c.p, http.MethodPost, "/api/v1/admin/"+what, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", what, code, body)
	}
	return err
}

// round is one life of a daemon: it starts, shows what it has, works, and is
// killed after a time at most. It returns where it killed itself.
func (c *crashRun) round(l life) (at string) {
	c.rounds++
	shoot := func(p *process) {
		c.shot.Store(true)
		_ = p.cmd.Process.Kill()
	}
	if c.start(l) {
		p := c.p
		timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		err := c.look()
		timer.Stop()
		if err != nil {
			c.fail("after a start", err)
			if !errors.Is(err, errGone) {
				shoot(p)
			}
		} else {
			timer = time.AfterFunc(l.within, func() { shoot(p) })
			c.load(l)
			timer.Stop()
		}
		<-p.done
		c.diedOf(l.crash)
	}
	at = killedAt(c.p.logs.String())
	c.kills.daemon(at, l.crash)
	c.lookAtCopies()
	if c.t.Failed() {
		c.t.FailNow()
	}
	return at
}

// verify compares all there is with the record of the clients, and has the
// program verify the directory.
func (c *crashRun) verify() {
	c.rounds++
	if !c.start(life{head: 2000, cut: "1h"}) {
		c.t.Fatal("the daemon died by itself")
	}
	if err := c.look(); err != nil {
		c.t.Fatal(err)
	}
	c.p.t = c.t
	c.shows(c.p, c.record(), func(id, answer string) error {
		for _, k := range c.clients {
			if k.tasks[id] != nil {
				return k.absent(id, answer, true)
			}
		}
		return nil
	})
	verified(c.t, c.dir)
	c.shot.Store(true)
	c.p.kill()
	c.kills.idle()
	c.lookAgain()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// shows wants a daemon to show everything once, and to count what it shows.
// absent judges what no listing shows.
func (c *crashRun) shows(p *process, r record, absent func(id, answer string) error) {
	states := map[string]map[string]bool{}
	seen := map[string]bool{}
	tasks := accounts{}
	for _, row := range p.walk("") { // fails on what is shown twice
		id := idOf(c.t, row)
		k, ok := r.tasks[id]
		if !ok {
			c.t.Errorf("%s was never sent", id)
			continue
		}
		got, err := task.ParseJSON([]byte(row))
		if err == nil {
			err = k.compare(id, got, r.gone)
		}
		if err != nil {
			c.t.Errorf("%s: %v", id, err)
		}
		seen[id] = true
		tasks.row(&got)
		var v struct{ State string }
		if err := json.Unmarshal([]byte(row), &v); err != nil {
			c.t.Fatal(err)
		}
		if states[v.State] == nil {
			states[v.State] = map[string]bool{}
		}
		states[v.State][id] = true
	}
	for id, k := range r.tasks {
		if seen[id] {
			continue
		}
		answer := "no listing shows it"
		if k.acked.TaskID != "" && !k.expired(r.gone) { // an error: more about it
			code, body := p.get("/api/v1/invocations/" + id)
			answer = fmt.Sprintf("no listing shows it; by its id: %d %s; it began at %s, %d days are kept", code, body, k.at, c.keep)
		}
		if err := absent(id, answer); err != nil {
			c.t.Error(err)
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
	sums, series, err := sumsOf(p, tasks.named())
	if err == nil {
		err = errors.Join(tasks.differ("summaries", sums), tasks.named().differ("sums of series", series))
	}
	if err != nil {
		c.t.Error(err)
	}
	if h, code := p.health(); code != http.StatusOK || h.Dropped != 0 {
		c.t.Errorf("health: %d %+v", code, h)
	}
}
