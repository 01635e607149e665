package tsdb

import (
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"daybook/tsdb/rollup"
	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

const legacyData = "../blocks/testdata/legacy"

// fixture unpacks a captured legacy database, with its -wal if it has one.
func fixture(t testing.TB, name, dir string) string {
	t.Helper()
	for _, side := range []string{"", "-wal"} {
		f, err := os.Open(filepath.Join(legacyData, name+side+".bz2"))
		if errors.Is(err, os.ErrNotExist) && side != "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(dir, name+side))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, bzip2.NewReader(f))
		if err := errors.Join(err, out.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}

type expectation struct {
	Distinct int            `json:"distinct_task_ids"`
	Finished map[string]int `json:"rows_per_utc_day_of_finished_at"`
	States   map[string]int `json:"states"`
	Twice    int            `json:"ids_with_two_rows"`
}

func expectations(t testing.TB) map[string]expectation {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(legacyData, "EXPECTED.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]expectation
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Every generation answers through the facade as it did before.
func TestLegacyThroughTheFacade(t *testing.T) {
	t.Parallel()
	for name, want := range expectations(t) {
		t.Run(name, func(t *testing.T) {
			path := fixture(t, name, t.TempDir())
			before := digest(t, path)
			c := &testClock{at: noon}
			o := testOptions(t.TempDir(), c)
			o.Legacy, o.RetentionTime = []string{path}, 0
			db := start(t, o)
			m := &model{t: t, db: db}
			days, ids, straddlers := map[string]int{}, map[string]bool{}, 0
			var last *task.Invocation
			for _, v := range m.all(Query{Limit: 333, Oldest: true, Details: true}) {
				if ids[v.TaskID] {
					t.Fatalf("%s is shown twice", v.TaskID)
				}
				ids[v.TaskID] = true
				if v.State.Finished() {
					days[task.DayOf(v.FinishedAt).String()]++
				}
				if strings.HasPrefix(v.TaskID, "straddle-") && strings.HasSuffix(v.TaskID, "-a") && v.State == task.StateSuccess {
					straddlers++
				}
				if last != nil && last.Key().Compare(v.Key()) >= 0 {
					t.Fatal("out of order")
				}
				last = &v
				if len(ids)%8 != 0 && !strings.HasPrefix(v.TaskID, "straddle-") {
					continue
				}
				if got, err := db.Get(context.Background(), v.TaskID); err != nil || got.State != v.State || got.RowTime() != v.RowTime() {
					t.Fatalf("get %s: %v %v, listed as %v", v.TaskID, got.State, err, v.State)
				}
			}
			if len(ids) != want.Distinct || fmt.Sprint(days) != fmt.Sprint(want.Finished) {
				t.Errorf("%d ids, %v;\nwant %d, %v", len(ids), days, want.Distinct, want.Finished)
			}
			if want.Twice > 0 && straddlers == 0 {
				t.Error("no straddler is shown in its latest state")
			}
			m.searchLegacy()
			count, err := db.Count(context.Background(), CountQuery{By: "state"})
			if err != nil || count.Total != int64(want.Distinct) {
				t.Errorf("counted %+v %v", count, err)
			}
			tasks, _, err := db.Tasks(context.Background(), 0, c.now().UnixMicro(), "")
			var total uint64
			for _, x := range tasks {
				total += x.Total
			}
			if err != nil || total != uint64(want.Distinct) {
				t.Errorf("the summaries count %d, want %d: %v", total, want.Distinct, err)
			}
			infos, err := db.Blocks(context.Background())
			if err != nil || infos[len(infos)-1].Kind != KindLegacy || infos[len(infos)-1].RowsExact {
				t.Errorf("%+v %v", infos, err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if after := digest(t, path); after != before {
				t.Errorf("the files were changed:\n%s\n%s", before, after)
			}
		})
	}
}

// searchLegacy compares searches of every kind of term with the rows.
func (m *model) searchLegacy() {
	m.t.Helper()
	all := m.all(Query{Limit: 1000, Details: true})
	r := rand.New(rand.NewPCG(uint64(len(all)), 3))
	hits, rows := 0, 2
	if testing.Short() {
		rows = 1
	}
	for range rows {
		v := &all[r.IntN(len(all))]
		values := []string{v.TaskID, v.TaskName, v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback}
		values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		for _, value := range []string{values[r.IntN(len(values))]} {
			words := strings.FieldsFunc(value, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
			if len(words) == 0 {
				continue
			}
			w := words[r.IntN(len(words))]
			if len(w) > 100 {
				continue
			}
			from := r.IntN(len(words))
			for _, term := range []string{w, w + " " + words[0], `"` + strings.Join(words[from:min(from+2, len(words))], " ") + `"`, string([]rune(w)[:1]) + "*", "/" + w + "/", w + "nowhere"} {
				text, err := text.Parse(term)
				if err != nil {
					continue // too long
				}
				q := Query{Limit: 1000, Text: text, Details: r.IntN(2) == 0, Oldest: r.IntN(2) == 0}
				var want, got []string
				for i := range all {
					if q.matches(&all[i]) {
						want = append(want, all[i].TaskID)
					}
				}
				if q.Oldest {
					slices.Reverse(want)
				}
				for _, x := range m.all(q) {
					got = append(got, x.TaskID)
				}
				if hits += len(got); !slices.Equal(got, want) {
					m.t.Fatalf("q=%s finds %d, want %d: %.300s, want %.300s", term, len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
				}
			}
		}
	}
	if hits == 0 {
		m.t.Error("no search found anything")
	}
}

// digest is what lies in a file's directory.
func digest(t testing.TB, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") {
			continue // SQLite needs one beside a -wal
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %x\n", e.Name(), sha256.Sum256(b))
	}
	return out.String()
}

// An event of an invocation that a legacy file knows continues it, also after
// it is cut and after a crash.
func TestLegacyInvocationGoesOn(t *testing.T) {
	t.Parallel()
	path := fixture(t, "gen2-small.db", t.TempDir())
	c := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	o := testOptions(t.TempDir(), c)
	o.Legacy, o.RetentionTime = []string{path}, 0
	db := start(t, o)
	defer func() { db.Close() }()
	ctx := context.Background()
	page, err := db.Select(ctx, Query{Limit: 1, Filter: task.Filter{States: []task.State{task.StateRetry}}})
	if err != nil || len(page.Invocations) != 1 {
		t.Fatal(err, len(page.Invocations))
	}
	old := page.Invocations[0]
	mustAppend(t, db, finished(old.TaskID, c.now()))
	check := func(when string) {
		t.Helper()
		got, err := db.Get(ctx, old.TaskID)
		if err != nil || got.State != task.StateSuccess || got.ReceivedAt != old.ReceivedAt || got.TaskName != max(old.TaskName, "t") {
			t.Fatalf("%s: %v\n%s", when, err, task.AppendJSON(nil, &got))
		}
		n, err := db.Count(ctx, CountQuery{Filter: task.Filter{TaskID: old.TaskID}, By: "state"})
		if err != nil || n.Total != 1 || n.Groups[0].Key != "SUCCESS" {
			t.Fatalf("%s: counted %+v %v", when, n, err)
		}
		all, err := db.Count(ctx, CountQuery{Step: rollup.Day, Filter: task.Filter{From: old.RowTime() - 1, To: c.now().UnixMicro() + 1}})
		if err != nil || !all.Complete {
			t.Fatal(err)
		}
	}
	check("in the head")
	db.crash(t)
	db = start(t, o)
	check("after a crash")
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	check("cut")
	db.crash(t)
	db = start(t, o)
	check("cut, after a crash")
	beside, err := OpenReadOnly(testOptions(o.Dir, c))
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	infos, err := beside.Blocks(ctx)
	if err != nil || infos[len(infos)-1].Kind != KindLegacy {
		t.Fatalf("a tool does not find the file: %+v %v", infos, err)
	}
}

// An invocation of a legacy file that goes on and is parked is not shown in the
// state that the file has.
func TestLegacyInvocationIsParked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	o.Legacy, o.RetentionTime, o.OpenTimeout = []string{fixture(t, "gen1-small.db", t.TempDir())}, 0, 1000*24*time.Hour
	db := start(t, o)
	defer db.Close()
	page, err := db.Select(ctx, Query{Filter: task.Filter{States: []task.State{task.StateSent, task.StateReceived, task.StateStarted, task.StateRetry}}, Limit: 1})
	if err != nil || len(page.Invocations) != 1 {
		t.Fatalf("%d are unfinished: %v", len(page.Invocations), err)
	}
	old := page.Invocations[0]
	e := task.Event{TaskID: old.TaskID, State: task.StateRetry, At: noon.UnixMicro(), Retries: 7}
	if old.State == task.StateRetry {
		e.State = task.StateStarted
	}
	within := func() (n uint64) { // its hour
		hour := rollup.Hour.Start(old.RowTime())
		tasks, _, err := db.Tasks(ctx, hour, hour+rollup.Hour.Micros(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range tasks {
			n += x.Total
		}
		return n
	}
	before := within()
	mustAppend(t, db, Record{Invocation: e.Invocation()}, started("another", noon.Add(-time.Hour)))
	if n, err := db.compact.Park(ctx, db.cuttable(), 2, true); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n := within(); n != before-1 {
		t.Errorf("a summary counts %d in its hour, before it went on %d", n, before)
	}
	now, err := db.Get(ctx, old.TaskID)
	if err != nil || now.State == old.State {
		t.Fatalf("%v, was %v: %v", now.State, old.State, err)
	}
	f := task.Filter{TaskID: old.TaskID}
	for s, want := range map[task.State]int64{old.State: 0, now.State: 1} {
		f.States = []task.State{s}
		page, err := db.Select(ctx, Query{Filter: f, Limit: 10})
		count, countErr := db.Count(ctx, CountQuery{Filter: f, By: "queue"})
		if err != nil || countErr != nil || int64(len(page.Invocations)) != want || count.Total != want {
			t.Errorf("%v: %d are shown and %d counted, want %d: %v %v", s, len(page.Invocations), count.Total, want, err, countErr)
		}
	}
}

func TestLegacyAgesOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		handed, flag bool
		deleted      bool
	}{{"elsewhere", false, false, false}, {"elsewhere, to be deleted", false, true, true}, {"handed over", true, false, true}} {
		t.Run(c.name, func(t *testing.T) {
			clock := &testClock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
			o := testOptions(t.TempDir(), clock)
			o.RetentionTime, o.LegacyDelete = 3*24*time.Hour, c.flag
			dir := t.TempDir()
			if c.handed {
				dir = filepath.Join(o.Dir, "legacy")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			path := fixture(t, "gen1-small.db", dir)
			if !c.handed {
				o.Legacy = []string{path}
			}
			db := start(t, o)
			defer db.Close()
			count := func() int64 {
				n, err := db.Count(context.Background(), CountQuery{})
				if err != nil {
					t.Fatal(err)
				}
				return n.Total
			}
			if count() == 0 {
				t.Fatal("not attached")
			}
			clock.add(2 * 24 * time.Hour)
			if err := db.retainLegacies(); err != nil || count() == 0 || answers(t, db, 0) != "everything" {
				t.Fatal("gone too early", err)
			}
			clock.add(24 * time.Hour)
			if err := db.retainLegacies(); err != nil || count() != 0 || answers(t, db, 0) == "everything" {
				t.Fatal("still there", err)
			}
			if _, err := os.Stat(path); (err != nil) != c.deleted {
				t.Fatalf("deleted: %v, want %v", err != nil, c.deleted)
			}
		})
	}
}

func TestLegacyRefusals(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon.Add(100 * 24 * time.Hour)}
	o := testOptions(t.TempDir(), c)
	path := fixture(t, "gen0-small.db", t.TempDir())
	o.Legacy, o.LegacyDelete = []string{path}, true
	var oe *OptionsError
	if _, err := Open(o); !errors.As(err, &oe) || !strings.Contains(err.Error(), "at once") {
		t.Fatalf("it would delete at once: %v", err)
	}
	o.LegacyOptional = true
	if _, err := Open(o); !errors.As(err, &oe) {
		t.Fatalf("it may start without a file, not delete one: %v", err)
	}
	o.LegacyDelete, o.LegacyOptional = false, false
	foreign := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(foreign, []byte("not a database"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Legacy = []string{foreign}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "--storage.legacy-optional") {
		t.Fatalf("a foreign file: %v", err)
	}
	o.LegacyOptional = true
	db := start(t, o)
	defer db.Close()
	if h := db.Health(); len(h.Reasons) == 0 {
		t.Fatal("health says nothing of the file that is left out")
	}
}
