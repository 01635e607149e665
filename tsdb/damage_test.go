package tsdb

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/tsdb/task"
)

var (
	damageAll  = flag.Bool("damage.all", false, "damage every file in every way, not a random sample")
	damageSeed = flag.Uint64("damage.seed", 0, "seed of TestDamage; 0 is a new one")
)

// damageCase is a file of a place and what is done to it.
type damageCase struct {
	place *damagePlace
	rel   string
	how   damage
}

// TestDamage spoils each kind of file in every way: nothing panics, the daemon
// starts, everything that is not in the file is answered as before, what
// checksums can know is found by verify, with what to do about it, and no file
// is deleted for being damaged.
func TestDamage(t *testing.T) {
	t.Parallel()
	own := damagedDir(t)
	places := []*damagePlace{own, damagedLegacy(t, own, "gen0-small.db", false), damagedLegacy(t, own, "gen2-crash-small.db", true), damagedBackup(t, own), damagedSnapshot(t, own)}
	for _, p := range places {
		p.silent(t)
	}
	seed := *damageSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	all := damageCases(places)
	kinds, ways := map[string]bool{}, map[string]bool{}
	for _, c := range all {
		kinds[c.place.of+kindOf(c.rel)], ways[c.how.name] = true, true
	}
	for _, kind := range []string{"LOCK", "BACKUP", "in a snapshot", "quarantined", "sealed", "checksum", "live", "live -wal", "live -shm", "parked", "parked -wal", "parked -shm",
		"segment", "checkpoint", "legacy", "legacy -wal", "legacy rollups .db", "legacy rollups .sha256", "legacy rollups .shared", "attached",
		backupCopy + "BACKUP", backupCopy + "LOCK", backupCopy + "sealed", backupCopy + "checksum", backupCopy + "live", backupCopy + "parked", backupCopy + "segment",
		snapshotCopy + "LOCK", snapshotCopy + "sealed", snapshotCopy + "checksum", snapshotCopy + "live", snapshotCopy + "parked", snapshotCopy + "segment"} {
		if !kinds[kind] {
			t.Errorf("there is no file of the kind %q; there are %v", kind, slices.Sorted(maps.Keys(kinds)))
		}
	}
	if len(kinds) != 33 {
		t.Errorf("there are %d kinds of files: %v", len(kinds), slices.Sorted(maps.Keys(kinds)))
	}
	cases := all
	if !*damageAll {
		cases = damageSample(rand.New(rand.NewPCG(seed, 3)), all)
	}
	done := 0
	for _, c := range cases {
		name := fmt.Sprintf("%s%s %s", c.place.of, c.rel, c.how.name)
		h := fnv.New64() // alike with -run, too, and wherever the directory is
		if fmt.Fprint(h, c.how.name, kindOf(c.rel)); !strings.HasPrefix(kindOf(c.rel), "legacy rollups") {
			fmt.Fprint(h, c.rel)
		}
		t.Run(name, func(t *testing.T) {
			if c.spoil(t, rand.New(rand.NewPCG(seed, h.Sum64()))) {
				done++
			} else if !*damageAll {
				t.Error("nothing is damaged")
			}
		})
		if t.Failed() && !*damageAll {
			break
		}
	}
	if t.Failed() {
		t.Errorf("repeat it with -damage.seed=%d", seed)
	}
	t.Logf("%d files of %d kinds, %d ways, %d damages, seed %d", len(own.files), len(kinds), len(ways), done, seed)
}

// damageCases are all files in all ways.
func damageCases(places []*damagePlace) (all []damageCase) {
	for _, p := range places {
		for _, rel := range p.files {
			for _, how := range damages {
				all = append(all, damageCase{p, rel, how})
			}
			for _, table := range slices.Sorted(maps.Keys(tables(p.bodies[rel]))) {
				all = append(all, damageCase{p, rel, damageTable(table)})
			}
		}
	}
	return all
}

// damageSample has every kind of file and every way to damage one at least
// once, and of sealed and live days the pages by which names are found.
func damageSample(r *rand.Rand, all []damageCase) (sample []damageCase) {
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	kinds, ways := map[string]bool{}, map[string]bool{}
	for round := range 2 {
		for _, c := range all {
			kind, way := kindOf(c.rel), c.how.name
			if c.place.of != "" { // their files have no -wal that would have what is damaged in them
				if !testing.Short() && (way == inTable+"parked" || way == inTable+"invocation" || kind == "sealed" || kind == "segment") {
					if kind = c.place.of + kind; !kinds[kind] {
						kinds[kind] = true
						sample = append(sample, c)
					}
				}
				continue
			}
			switch table, ok := strings.CutPrefix(way, inTable); {
			case ok && (kind == "live" && c.place.bodies[c.rel+"-wal"] == nil || kind == "sealed") && (table == "name_page" || table == "name_run"):
				kind += way
			case ok:
				way = inTable
			}
			// First what is new in both, then what is new in one.
			both, one := !kinds[kind] && !ways[way], !kinds[kind] || !ways[way]
			if both || one && round == 1 {
				kinds[kind], ways[way] = true, true
				sample = append(sample, c)
			}
		}
	}
	return sample
}

// spoil damages the file and looks; false if the damage has changed nothing.
func (c *damageCase) spoil(t *testing.T, r *rand.Rand) bool {
	p := c.place
	var other string
	var b []byte
	was := p.bodies[c.rel]
	for try := 0; try == 0 || bytes.Equal(bytes.TrimSuffix(b, []byte("\n")), bytes.TrimSuffix(was, []byte("\n"))); try++ {
		if try == 50 { // such as zeros for what is zero
			return false
		}
		other = c.other(r)
		b = c.how.spoil(r, bytes.Clone(was), p.bodies[other])
	}
	spoilt := map[string][]byte{c.rel: b}
	if c.how.swap {
		spoilt[other] = was
	}
	x := inspection{p: p, only: maps.Clone(p.concerns(t, c.rel))}
	if p.untouched(c.rel, b) {
		clear(x.only)
	}
	x.days = p.days(c.rel, x.only)
	if c.how.other { // a -wal of another database makes one of both
		for _, rel := range []string{other, strings.TrimSuffix(c.rel, "-wal"), strings.TrimSuffix(other, "-wal")} {
			maps.Copy(x.only, p.concerns(t, rel))
			maps.Copy(x.days, p.days(rel, x.only))
		}
	}
	p.reset(t)
	for rel, b := range spoilt {
		x.files = append(x.files, rel)
		x.silent = x.silent || p.lostEnd(rel, b)
		x.legacy = x.legacy || strings.HasPrefix(kindOf(rel), "legacy") && !strings.HasPrefix(kindOf(rel), "legacy rollups")
		p.put(t, rel, b)
	}
	x.readOnly(t, c.how)
	for rel, b := range spoilt {
		if after, err := os.ReadFile(filepath.Join(p.o.Dir, rel)); err != nil || !bytes.Equal(after, b) && !strings.HasSuffix(rel, "-shm") {
			t.Errorf("reading and verify have changed %s: %v", rel, err)
		}
	}
	x.daemon(t)
	for rel, b := range spoilt {
		x.kept(t, rel, b)
	}
	return true
}

// other chooses another file, every second time one of the same kind.
func (c *damageCase) other(r *rand.Rand) string {
	others := slices.DeleteFunc(slices.Clone(c.place.files), func(rel string) bool { return rel == c.rel })
	alike := slices.DeleteFunc(slices.Clone(others), func(rel string) bool { return kindOf(rel) != kindOf(c.rel) })
	if len(alike) > 0 && r.IntN(2) == 0 {
		others = alike
	}
	return others[r.IntN(len(others))]
}

// inspection is one look at a damaged directory.
type inspection struct {
	p      *damagePlace
	files  []string // those that are damaged
	only   map[string]bool
	days   map[task.Day]bool
	silent bool // nobody can know
	legacy bool // a file without checksums that is not ours
	found  []Finding
	notes  []Finding
}

// readOnly looks with OpenReadOnly and with verify.
func (x *inspection) readOnly(t *testing.T, how damage) {
	t.Helper()
	db, err := OpenReadOnly(x.p.o)
	if err != nil {
		t.Fatalf("it cannot be read at all: %v", err)
	}
	a := ask(t, db, x.p.truth)
	if err := db.Verify(context.Background(), nil, func(f Finding) {
		if f.Note {
			x.notes = append(x.notes, f)
			return
		}
		if f.Path == "BACKUP" && !slices.Contains(x.files, "BACKUP") {
			return // it is there, and is right
		}
		x.found = append(x.found, f)
		if f.Path == "" || f.Problem == "" || f.Remedy == "" {
			t.Errorf("a finding says too little: %+v", f)
		}
	}); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, rel := range x.files {
		base := strings.TrimSuffix(filepath.Base(rel), ".sha256")
		named := func(f Finding) bool { return strings.Contains(f.Path, base) || strings.Contains(f.Problem, base) }
		if checked(kindOf(rel)) && !slices.ContainsFunc(x.found, named) && !slices.ContainsFunc(x.notes, named) && !x.silent {
			t.Errorf("verify does not name %s: %+v", base, x.found)
		}
	}
	x.compare(t, "read-only", a)
}

// daemon looks at it as its daemon, and goes on with it.
func (x *inspection) daemon(t *testing.T) {
	t.Helper()
	db, err := Open(x.p.o)
	if err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	if err := db.replay(context.Background()); err != nil {
		t.Fatalf("it does not replay: %v", err)
	}
	db.ready.Store(true)
	db.trimReplayed()
	x.compare(t, "as daemon", ask(t, db, x.p.truth))
	mustAppend(t, db, finished("new", noon))
	cut := db.head.Snapshot()
	if _, err := db.Cut(context.Background(), false); err != nil && len(x.found) == 0 {
		t.Errorf("it does not cut, and nothing is found: %v", err)
	}
	if _, err := db.Get(context.Background(), "new"); err != nil {
		t.Errorf("what was taken is not there: %v", err)
	}
	a := ask(t, db, x.p.truth)
	// What is cut into a live file that is damaged shares its fate, which is told.
	shares := map[string]bool{}
	for _, v := range cut.All() {
		for _, rel := range x.files {
			if d, _, ok := blocks.ParseLiveName(filepath.Base(rel)); ok && kindOf(rel) == "live" && d == v.Day() && x.told(a) {
				shares[v.TaskID] = true
			}
		}
	}
	if _, ok := a.rows["new"]; !ok && !shares["new"] {
		t.Error("what was taken is not listed")
	}
	delete(a.rows, "new")
	delete(shares, "new")
	maps.Copy(x.only, shares)
	for id := range shares {
		v := x.p.truth[id]
		x.days[v.Day()] = true
	}
	x.compare(t, "as daemon, after a cut", a)
	if err := db.Close(); err != nil && len(x.found) == 0 {
		t.Errorf("close: %v, and nothing is found", err)
	}
}

// compare wants what the damaged files know nothing of to be as it was, and
// that what is wrong of the rest is told.
func (x *inspection) compare(t *testing.T, what string, a heard) {
	t.Helper()
	told := x.told(a)
	sums := true // every byte that matters is under a checksum of somebody's
	for _, rel := range x.files {
		kind := kindOf(rel)
		sums = sums && kind != "live" && kind != "parked" && !strings.HasSuffix(kind, "-wal")
	}
	for id, w := range x.p.truth {
		if g, ok := a.rows[id]; ok && sameKnowledge(g, w) {
			continue
		}
		switch {
		case !x.only[id]:
			t.Errorf("%s: %s of %s is wrong for the damage of %v", what, id, w.Day(), x.files)
		case sums && !told && !x.silent && !x.legacy:
			t.Errorf("%s: %s is wrong, and nobody tells of %v: found %+v, unreadable %v", what, id, x.files, x.found, a.unreadable)
		}
	}
	for id := range a.rows {
		if _, ok := x.p.truth[id]; !ok && !told && !x.legacy {
			t.Errorf("%s: %q is invented, and nobody tells of %v", what, id, x.files)
		}
	}
	for _, odd := range a.odd {
		if !x.days[odd.day] || !told && !x.legacy {
			t.Errorf("%s: %s (%s), damaged %v, found %+v, unreadable %v", what, odd.text, odd.day, x.files, x.found, a.unreadable)
		}
	}
}

// told reports whether a damage is told: by verify, or by the answers.
func (x *inspection) told(a heard) bool {
	return slices.ContainsFunc(x.found, x.names) || slices.ContainsFunc(x.notes, x.names) ||
		slices.ContainsFunc(a.unreadable, func(file string) bool { return x.names(Finding{Path: file}) })
}

// names reports whether a finding is about one of the damaged files: it says its
// name, or that of the database to which a -wal or a checksum belongs.
func (x *inspection) names(f Finding) bool {
	return slices.ContainsFunc(x.files, func(rel string) bool {
		base := filepath.Base(rel)
		for _, end := range []string{"-wal", "-shm", ".sha256", ".shared"} {
			base = strings.TrimSuffix(base, end)
		}
		return strings.Contains(f.Path, base) || strings.Contains(f.Problem, base)
	})
}

// kept wants the damaged bytes to be there still, wherever: in the place of
// the file, or aside.
func (x *inspection) kept(t *testing.T, rel string, b []byte) {
	t.Helper()
	switch kind := kindOf(rel); {
	case kind == "sealed" || kind == "checksum" || kind == "legacy" || kind == "legacy -wal":
	case (kind == "segment" || kind == "checkpoint") && !x.silent && len(x.found) > 0:
	default:
		return
	}
	found := false
	err := filepath.WalkDir(x.p.o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || found {
			return err
		}
		got, err := os.ReadFile(path)
		found = bytes.Equal(got, b)
		return err
	})
	if err != nil || !found {
		t.Errorf("the damaged %s is gone, or has changed: %v", rel, err)
	}
}
