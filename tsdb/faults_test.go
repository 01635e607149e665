//go:build faults

package tsdb

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"daybook/tsdb/fault"
)

var (
	faultsAll  = flag.Bool("faults.all", false, "fail every single operation with every error that fits it, not a random sample")
	faultsOnly = flag.String("faults.only", "", "the one case to run, as a failure has printed it")
	faultsKind = flag.String("faults.kind", "", "a regular expression: only operations of these kinds, as in \"log.* data/wal\"")
	faultsSeed = flag.Uint64("faults.seed", 0, "seed of the sample; 0 is a new one")
)

// faults is a run of the test.
type faults struct {
	lives int
	fired map[string]int // how many faults failed an operation of a kind
	quiet map[string]int // of how many of these nobody was told
	met   map[string]int // how many had an error
}

// TestFailEveryOperation lets operations fail, once or for a while, with the
// errors that disks and kernels have: somebody is told, nothing that was
// acknowledged is lost, and when the fault goes everything works again: in the
// same process, and in a new one.
//
// A fault begins with the nth operation of a kind, which is what is done to what
// kind of file. A sample has one for every kind.
func TestFailEveryOperation(t *testing.T) {
	f := &faults{fired: map[string]int{}, quiet: map[string]int{}, met: map[string]int{}}
	if *faultsOnly != "" {
		cases, err := parseCases(*faultsOnly)
		if err != nil {
			t.Fatal(err)
		}
		f.life(t, cases...)
		return
	}
	seed := *faultsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	healthy, _ := f.life(t)
	kinds := slices.Compact(slices.Sorted(slices.Values(healthy)))
	t.Logf("%d operations of %d kinds, seed %d", len(healthy), len(kinds), seed)
	r := rand.New(rand.NewPCG(seed, 1))
	these := regexp.MustCompile(*faultsKind)
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return !these.MatchString(kind) })
	cases := sample(t, r, kinds, healthy)
	failed := 0
	for size := 4; len(cases) > 0; size = 1 { // what the faults before it have prevented comes alone
		var rest []faultCase
		lives := (len(cases) + size - 1) / size
		for i := range lives {
			var these []faultCase
			for j := i; j < len(cases); j += lives {
				these = append(these, cases[j])
			}
			var left []faultCase
			if !t.Run("life", func(t *testing.T) { _, left = f.life(t, these...) }) {
				if failed++; failed == 20 {
					t.Fatal("enough")
				}
			}
			if len(left) == len(these) {
				t.Fatalf("nothing failed: there is no %s", left[0])
			}
			rest = append(rest, left...)
		}
		t.Logf("%d lives so far, %d faults to come", f.lives, len(rest))
		cases = rest
	}
	for _, kind := range kinds {
		if f.fired[kind] == 0 {
			t.Errorf("%s never failed", kind)
		}
	}
	t.Logf("%d lives; errors: %v", f.lives, f.met)
	t.Logf("failed: %s", table(f.fired))
	t.Logf("not told, and nothing is lost by it: %s", table(f.quiet))
}

// sample are the cases, in the order in which they would come in one life.
func sample(t *testing.T, r *rand.Rand, kinds, healthy []string) []faultCase {
	at := map[string][]int{} // of a kind: where it is in a healthy life
	for i, kind := range healthy {
		at[kind] = append(at[kind], i)
	}
	var cases []faultCase
	add := func(kind string, nth, long int, errno syscall.Errno) {
		cases = append(cases, faultCase{kind: kind, nth: nth, long: long, errno: errno})
	}
	for _, kind := range kinds {
		op, _, _ := strings.Cut(kind, " ")
		errnos, n := errnosOf(op), len(at[kind])
		if len(errnos) == 0 {
			t.Fatalf("%s: no error fits it", kind)
		}
		if kind == "sqlite.open data/live/db" && !*faultsAll { // the first writers: SQLite opens them once more, to read only
			for nth := range min(n, 4) {
				add(kind, 1+nth, 1, syscall.EIO)
			}
		}
		if !*faultsAll {
			add(kind, 1+r.IntN(n), oneOf(r, 1, 1+r.IntN(40)), oneOf(r, errnos...))
			continue
		}
		for nth := 1; nth <= n; nth++ {
			for _, errno := range errnos {
				add(kind, nth, 1, errno)
			}
			add(kind, nth, 2+r.IntN(40), oneOf(r, errnos...))
		}
	}
	slices.SortStableFunc(cases, func(a, b faultCase) int { return at[a.kind][a.nth-1] - at[b.kind][b.nth-1] })
	return cases
}

func table(counts map[string]int) string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "\n%6d %s", counts[kind], kind)
	}
	return b.String()
}

// life is one life with faults. It returns what was done in it, and the faults
// that have not come.
func (f *faults) life(t *testing.T, cases ...faultCase) (done []string, rest []faultCase) {
	t.Helper()
	base, err := os.MkdirTemp(t.TempDir(), "life")
	if err != nil {
		t.Fatal(err)
	}
	d := newDisk(base, cases...)
	defer fault.Set(d.hook)()
	l := newLife(t, base, d)
	defer func() {
		if t.Failed() {
			var again []string
			for _, c := range cases {
				again = append(again, c.String())
			}
			t.Logf("met: %+v\ntold: %v\n%s\nagain: -faults.only='%s'", l.met, l.told, l.said(), strings.Join(again, ","))
		}
	}()
	f.lives++
	l.run()
	l.mends()
	rest = d.rest()
	if len(cases) == 0 && len(l.told) > 0 {
		t.Fatal(l.told, l.said())
	}
	for _, m := range l.met {
		for kind := range m.failed {
			f.fired[kind]++
			if !m.told {
				f.quiet[kind]++
			}
		}
		f.met[m.errno.Error()]++
		if !m.told && m.costs {
			t.Errorf("nobody was told of %s: %v", m.faultCase, m.failed)
		}
	}
	d.mu.Lock()
	done = slices.Clone(d.order)
	d.mu.Unlock()
	l.holds()
	if t.Failed() {
		t.FailNow()
	}
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	return done, rest
}
