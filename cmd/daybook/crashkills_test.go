//go:build faults

package main_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"daybook/tsdb/fault"
)

var (
	crashKills = flag.Int("crash.kills", 100, "how many lives each of the two random runs has")
	crashFor   = flag.Duration("crash.for", 0, "how long the random runs go on, whatever the number of lives")
	crashKeep  = flag.String("crash.keep", "", "where to leave a copy of the directories with which something is wrong")
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the random runs; 0 is a new one")
)

// daemonPoints are those that a daemon comes to by itself.
var daemonPoints = slices.DeleteFunc(slices.Clone(fault.Points), func(p string) bool {
	return strings.HasPrefix(p, "backup.") || p == "retain.snapshot"
})

// crashFewest is how many processes are killed at least, with crashLives in each
// random run: what CI has. Half of them die on the way through the points.
const crashFewest, crashLives = 130, 40

// crashTasks bounds what is walked through again and again.
const crashTasks = 1500

// tally counts what has happened, not what was meant to.
type tally struct {
	mu     sync.Mutex
	killed map[string]int // processes
	points map[string]int // those that killed themselves there
	looked map[string]int // what was looked at
	runs   int
}

// killedAt is where a process has killed itself: a point, or "op".
func killedAt(said string) string {
	_, at, _ := strings.Cut(said, fault.Killed)
	at, _, _ = strings.Cut(at, "\n")
	return at
}

func (k *tally) killedBy(what, at, crash string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case at == "op":
		k.killed[what+" before an operation"]++
	case at != "":
		k.killed[what+" at a point"]++
		k.points[at]++
	case crash != "":
		k.killed[what+" by the clock, before it came to what it was to die of"]++
	default:
		k.killed[what+" by the clock"]++
	}
}

func (k *tally) daemon(at, crash string) { k.killedBy("a daemon", at, crash) }
func (k *tally) backup(at string)        { k.killedBy("a backup", at, "") }

// idle is a daemon that was killed when it had nothing to do: no test of anything.
func (k *tally) idle() { k.found("a whole directory") }

func (k *tally) found(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked[what]++
}

func (k *tally) done() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs++
}

func (k *tally) report(t *testing.T, took time.Duration) {
	total := 0
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(k.killed)) {
		fmt.Fprintf(&b, "%6d %s\n", k.killed[what], what)
		total += k.killed[what]
	}
	fmt.Fprintf(&b, "looked at:\n")
	for _, what := range slices.Sorted(maps.Keys(k.looked)) {
		fmt.Fprintf(&b, "%6d %s\n", k.looked[what], what)
	}
	fmt.Fprintf(&b, "points:\n")
	for _, p := range fault.Points {
		fmt.Fprintf(&b, "%6d %s\n", k.points[p], p)
	}
	t.Logf("%d processes were killed in %s:\n%s", total, took.Round(time.Second), &b)
	if k.runs < 4 {
		return // some runs were left out, or have failed
	}
	for _, p := range fault.Points {
		if k.points[p] == 0 {
			t.Errorf("nothing was killed at %s", p)
		}
	}
	if *crashKills >= crashLives && total < crashFewest {
		t.Errorf("%d were killed, %d are wanted", total, crashFewest)
	}
}

// TestCrash kills daemons and backups at every point there is, at random moments,
// before random file operations and at random points, under load.
func TestCrash(t *testing.T) {
	kills := &tally{killed: map[string]int{}, points: map[string]int{}, looked: map[string]int{}}
	began := time.Now()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again: make crash CRASHFLAGS='-crash.seed=%d'", seed)
	t.Run("runs", func(t *testing.T) {
		for half := range 2 {
			t.Run(fmt.Sprint("points", half), func(t *testing.T) {
				t.Parallel()
				crashPoints(t, half, kills)
			})
		}
		for i := range uint64(2) {
			t.Run(fmt.Sprint("random", i), func(t *testing.T) {
				t.Parallel()
				crashRandom(t, seed+i, kills)
			})
		}
	})
	kills.report(t, time.Since(began))
}

func crashRandom(t *testing.T, seed uint64, kills *tally) {
	c := newCrashRun(t, seed, kills, 9, 9, 20) // more days than can be attached at once, or quicker starts
	began := time.Now()
	for n := 0; n < *crashKills || time.Since(began) < *crashFor; n++ {
		c.randomRound()
		if n%10 == 9 {
			c.backup(c.onto, anyMoment(c.r))
		}
		if n%40 == 39 {
			c.complete(c.onto, true)
		}
		old := c.keep < 5
		if n%12 == 11 || old {
			c.verify()
			old = old || len(c.record().tasks) > crashTasks
		}
		if old {
			c.fresh()
		}
	}
	c.verify()
	tasks := 0
	for _, k := range c.clients {
		tasks += len(k.tasks)
	}
	t.Logf("seed %d: %d starts in %s, the last directory has %d tasks", seed, c.rounds, time.Since(began).Round(time.Second), tasks)
	kills.done()
}

func (c *crashRun) randomRound() {
	if c.r.IntN(4) == 0 {
		c.keep--
	}
	l := life{head: oneOf(c.r, 150, 400, 2000), cut: oneOf(c.r, "20ms", "100ms", "1h"), admin: c.r.IntN(2) == 0}
	l.within = time.Duration(20+c.r.IntN(250)) * time.Millisecond
	if l.admin {
		l.first = oneOf(c.r, "", "cut?seal=true", "snapshot", "snapshot", "backup")
	}
	if l.first == "snapshot" || l.first == "backup" { // which take a while
		l.within += 200 * time.Millisecond
	}
	switch c.r.IntN(3) {
	case 0:
		l.crash = fmt.Sprintf("op:%d", 1+c.r.IntN(1<<(1+c.r.IntN(11))))
	case 1:
		point := oneOf(c.r, daemonPoints...)
		c.towards(&l, point)
		l.crash = fmt.Sprintf("%s:%d", point, 1+c.r.IntN(1<<c.r.IntN(4)))
	}
	c.round(l)
}

// towards has a life come to a point sooner.
func (c *crashRun) towards(l *life, point string) {
	l.cut, l.within = "20ms", time.Second
	switch kind, _, _ := strings.Cut(point, "."); kind {
	case "live", "publish", "seal", "reseal", "sealed":
		l.admin, l.first = true, "cut?seal=true"
	case "copy", "snapshot":
		l.admin, l.first = true, "snapshot"
	case "park", "relieve":
		l.head = 150
	case "retain":
		if c.keep > 8 {
			c.keep -= 4 // see at
		}
	}
}

func oneOf[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// crashPoints kills a daemon, or a backup, at every second point, and fails if
// one is never reached.
func crashPoints(t *testing.T, half int, kills *tally) {
	c := newCrashRun(t, uint64(half)+1, kills, 10)
	begin := life{crash: "log.written:40", head: 400, cut: "20ms", admin: true, within: 2 * time.Second}
	c.round(begin)
	began := time.Now()
	for i, point := range fault.Points {
		if i%2 != half {
			continue
		}
		if c.keep < 10 {
			c.fresh()
			c.round(begin)
		}
		began := time.Now()
		for try := 0; !c.at(point); try++ {
			if try == 8 {
				t.Fatalf("%s is never reached", point)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Logf("%s took %s", point, took.Round(time.Millisecond))
		}
		if i%10 == half {
			c.verify()
		}
	}
	c.verify()
	t.Logf("%d starts in %s", c.rounds, time.Since(began).Round(time.Second))
	kills.done()
}

// at brings about what leads to a point, and reports whether the daemon, or the
// backup, was killed there.
func (c *crashRun) at(point string) (hit bool) {
	l := life{crash: point, head: 400, cut: "20ms", admin: true, within: 2 * time.Second}
	before := life{crash: "log.written:20", head: 400, cut: "20ms", admin: true, within: 2 * time.Second}
	switch kind, _, _ := strings.Cut(point, "."); kind {
	case "backup":
		return c.atBackup(point, before)
	case "seal": // days that have never been sealed
		c.fresh()
		before.cut, before.admin = "1h", false
		c.round(before)
		l.first = "cut?seal=true"
	case "reseal", "live", "sealed":
		l.first = "cut?seal=true"
	case "park":
		l.head = 150
	case "copy", "snapshot":
		l.first = "snapshot"
	case "retain":
		if point == "retain.snapshot" {
			return c.atSnapshot(l)
		}
		c.round(before)
		c.keep -= 4 // in the oldest three days of what is kept there is nothing
		l.admin = false
	case "replay":
		before.cut, before.admin = "1h", false
		c.round(before)
	case "relieve": // a large head, and then a small one
		before.crash, before.head, before.cut, before.admin = "log.written:60", 2000, "1h", false
		c.round(before)
		l.head = 150
	case "open": // of what it mends both are there then, what it replaced and what it is made of
		before.crash, before.first = "reseal.published", "cut?seal=true"
		c.round(before)
	}
	return c.round(l) == point
}

// atBackup has a first backup killed at a point, and one that goes over a whole
// one; the next ones mend them.
func (c *crashRun) atBackup(point string, before life) (hit bool) {
	if c.onto.whole == nil {
		c.complete(c.onto, false)
	}
	before.crash, before.first = "reseal.published", "cut?seal=true" // there is a new day
	c.round(before)
	if c.onto.whole == nil { // one beside the daemon was killed
		c.complete(c.onto, false)
		c.round(before)
	}
	over := c.onto.whole != nil
	hit = c.backup(c.onto, point) == point && over
	c.complete(c.onto, point == "backup.swapping" || point == "backup.swapped")
	first := &backup{dest: c.dir + "-backup-first"}
	hit = c.backup(first, point) == point && hit
	c.complete(first, false)
	c.remove(first.dest)
	return hit
}

// atSnapshot has a daemon killed that deletes a snapshot for want of room.
func (c *crashRun) atSnapshot(l life) (hit bool) {
	for len(c.snapshots) == 0 {
		c.round(life{head: 400, cut: "20ms", first: "snapshot", within: time.Second})
	}
	filler := filepath.Join(c.dir, sorted(c.snapshots)[0], "days", "filler")
	if err := os.WriteFile(filler, make([]byte, 20<<20), 0o644); err != nil {
		c.t.Fatal(err)
	}
	l.flags, l.admin, l.within = []string{"--retention.size=16MiB"}, false, 8*time.Second
	c.leaving = true
	had := len(c.snapshots)
	hit = c.round(l) == l.crash
	c.leaving = false
	if hit && len(c.snapshots) != had-1 {
		c.t.Errorf("of %d snapshots %d are there after one was deleted", had, len(c.snapshots))
	}
	if !hit { // days may have been deleted
		c.fresh()
	}
	return hit
}
