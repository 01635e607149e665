package blocks

import (
	"cmp"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// The fixtures were written by every schema generation of the old program's own
// code. EXPECTED.json is the truth about each.

var legacyFixtures = []string{"gen0-small.db", "gen1-small.db", "gen2-small.db", "gen2b-small.db", "gen2m-small.db",
	"gen2-crash-small.db", "gen3-small.db", "gen3-fresh-small.db", "gen3-rollback-small.db"}

// legacyFixture puts a fixture, with its -wal, into a directory.
func legacyFixture(tb testing.TB, dir, name string) string {
	tb.Helper()
	for _, suffix := range []string{"", "-wal"} {
		f, err := os.Open(filepath.Join("testdata", "legacy", name+suffix+".bz2"))
		if os.IsNotExist(err) && suffix != "" {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(bzip2.NewReader(f))
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+suffix), b, 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}

func openLegacy(tb testing.TB, path string) *Legacy {
	tb.Helper()
	l, err := OpenLegacy(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// allLegacy is what a Select gives.
func allLegacy(tb testing.TB, l *Legacy, s Select) []task.Invocation {
	tb.Helper()
	var out []task.Invocation
	err := l.Select(context.Background(), s, func(v *task.Invocation) (bool, error) {
		out = append(out, *v)
		return true, nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// listing is what a directory holds: names, sizes, times and hashes.
func listing(tb testing.TB, dir string) string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if e.IsDir() {
			fmt.Fprintln(&b, e.Name())
			continue
		}
		body, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		fi, err := e.Info()
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %s %x\n", e.Name(), fi.Size(), fi.ModTime(), sha256.Sum256(body))
	}
	return b.String()
}

// legacyTruth is the part of EXPECTED.json that is compared.
type legacyTruth struct {
	TotalRows   int                 `json:"total_rows"`
	Distinct    int                 `json:"distinct_task_ids"`
	Newest      json.Number         `json:"newest_finished_at"`
	Oldest      json.Number         `json:"oldest_row_time"`
	ByFinished  map[string]int      `json:"rows_per_utc_day_of_finished_at"`
	ByFallback  map[string]int      `json:"rows_per_utc_day_of_coalesce_finished_started_received"`
	States      map[string]int      `json:"states"`
	NoTime      [][2]string         `json:"rows_without_any_time"`
	Twice       map[string][][3]any `json:"ids_with_two_rows_listed"`
	Samples     []map[string]any    `json:"sample_rows"`
	FinishedMin json.Number         `json:"oldest_finished_at"`
}

func legacyTruths(tb testing.TB) map[string]*legacyTruth {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", "legacy", "EXPECTED.json"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.UseNumber()
	var truths map[string]*legacyTruth
	if err := d.Decode(&truths); err != nil {
		tb.Fatal(err)
	}
	return truths
}

func seconds(tb testing.TB, n json.Number) int64 {
	tb.Helper()
	us, err := task.ParseSeconds(n.String())
	if err != nil {
		tb.Fatal(err)
	}
	return us
}

func TestLegacyFixtures(t *testing.T) {
	truths := legacyTruths(t)
	if len(truths) != len(legacyFixtures) {
		t.Fatalf("%d fixtures are known, EXPECTED.json has %d", len(legacyFixtures), len(truths))
	}
	for _, name := range legacyFixtures {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := legacyFixture(t, dir, name)
			before := listing(t, dir)
			l, err := OpenLegacy(path)
			if err != nil {
				t.Fatal(err)
			}
			checkLegacyTruth(t, l, truths[name])
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory was\n%s and is\n%s", before, after)
			}
		})
	}
}

func checkLegacyTruth(t *testing.T, l *Legacy, want *legacyTruth) {
	t.Helper()
	rows := allLegacy(t, l, Select{Details: true})
	if len(rows) != want.Distinct {
		t.Errorf("%d rows, want %d", len(rows), want.Distinct)
	}
	byFinished, byRowTime, states := map[string]int{}, map[string]int{}, map[string]int{}
	byID := map[string]task.Invocation{}
	for i := range rows {
		v := &rows[i]
		if i > 0 && rows[i-1].Key().Compare(v.Key()) <= 0 {
			t.Fatalf("%q is not behind %q", v.TaskID, rows[i-1].TaskID)
		}
		if v.Open() {
			t.Errorf("%s is open", v.TaskID)
		}
		if v.State.Finished() {
			byFinished[v.Day().String()]++
		}
		byRowTime[v.Day().String()]++
		states[v.State.String()]++
		byID[v.TaskID] = *v
	}
	if fmt.Sprint(byFinished) != fmt.Sprint(want.ByFinished) {
		t.Errorf("finished by day: %v, want %v", byFinished, want.ByFinished)
	}
	// Each id that has two rows shows once: the superseded row, a retry, is not
	// counted. Rows without any time are where their table or neighbour is.
	wantByTime := map[string]int{}
	for day, n := range want.ByFallback {
		if day != "unknown" {
			wantByTime[day] = n
		}
	}
	wantStates := map[string]int{}
	for s, n := range want.States {
		wantStates[s] = n
	}
	for id, places := range want.Twice {
		wantStates["RETRY"]--
		v, ok := byID[id]
		state, _ := places[0][1].(string)
		if s, _ := places[1][1].(string); s != "RETRY" {
			state = s
		}
		if !ok || v.State.String() != state {
			t.Errorf("%s is %v, want %s", id, v.State, state)
		}
		// The retry of a straddler is of the evening before.
		wantByTime[task.Day(v.Day()-1).String()]--
	}
	unplaced := map[string]int{}
	for _, r := range want.NoTime {
		if r[0] == legacyPlainName { // EXPECTED.json does not know their day either
			v := byID[r[1]]
			unplaced[v.Day().String()]++
		}
		if v, ok := byID[r[1]]; !ok || v.State != task.StateRetry || v.GivenUpAt == 0 {
			t.Errorf("%s, which has no time: %+v", r[1], v)
		}
	}
	for day, n := range unplaced {
		wantByTime[day] += n
	}
	if fmt.Sprint(byRowTime) != fmt.Sprint(wantByTime) {
		t.Errorf("by day: %v, want %v", byRowTime, wantByTime)
	}
	if fmt.Sprint(states) != fmt.Sprint(wantStates) {
		t.Errorf("states: %v, want %v", states, wantStates)
	}
	oldest, newest, err := l.Bounds(context.Background())
	if err != nil || oldest != seconds(t, want.Oldest) || newest != seconds(t, want.Newest) {
		t.Errorf("from %d to %d (%v), want %s to %s", oldest, newest, err, want.Oldest, want.Newest)
	}
	first := slices.MinFunc(rows, func(a, b task.Invocation) int {
		return cmp.Compare(cmp.Or(a.FinishedAt, math.MaxInt64), cmp.Or(b.FinishedAt, math.MaxInt64))
	})
	if first.FinishedAt != seconds(t, want.FinishedMin) {
		t.Errorf("the first to finish did at %d, want %s", first.FinishedAt, want.FinishedMin)
	}
	if n, exact := l.Rows(); exact || n < int64(want.TotalRows) {
		t.Errorf("%d rows (exact: %v), there are %d", n, exact, want.TotalRows)
	}
	checkLegacySamples(t, l, want, byID)
}

// checkLegacySamples compares rows field by field, from a Lookup as well.
func checkLegacySamples(t *testing.T, l *Legacy, want *legacyTruth, byID map[string]task.Invocation) {
	t.Helper()
	for _, sample := range want.Samples {
		id, _ := sample["task_id"].(string)
		found, err := l.Lookup(context.Background(), []string{id, "no such id"})
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %d found, %v", id, len(found), err)
		}
		got := found[id]
		if a, b := string(task.AppendJSON(nil, &got)), jsonOf(byID[id]); a != b {
			t.Errorf("a lookup of %s gives\n%s, a select\n%s", id, a, b)
		}
		if places := want.Twice[id]; len(places) > 1 && sample["state"] == "RETRY" {
			continue // superseded
		}
		if sample["state"] == "SUCCESS" {
			sample["exception_type"] = nil // gen0 keeps that of an attempt before
		}
		for field, w := range sample {
			if g := sampleField(&got, field); field != "table" && !sameSample(t, g, w) {
				t.Errorf("%s: %s is %q, want %v", id, field, g, w)
			}
		}
	}
}

func jsonOf(v task.Invocation) string { return string(task.AppendJSON(nil, &v)) }

// sampleField prints a field as EXPECTED.json names it.
func sampleField(v *task.Invocation, field string) string {
	at := func(us int64) string {
		if us == 0 {
			return ""
		}
		return fmt.Sprint(us)
	}
	typ, _, trace := v.Exception()
	switch field {
	case "task_id":
		return v.TaskID
	case "task_name":
		return v.TaskName
	case "state":
		return v.State.String()
	case "received_at":
		return at(v.ReceivedAt)
	case "started_at":
		return at(v.StartedAt)
	case "finished_at":
		return at(v.FinishedAt)
	case "runtime_ms":
		if v.Outcome.HasRuntime {
			return fmt.Sprint(v.Outcome.Runtime)
		}
	case "worker":
		return v.Worker
	case "queue":
		return v.Queue
	case "exception_type":
		return typ
	case "args_preview":
		return v.Args
	case "kwargs_preview":
		return v.Kwargs
	case "traceback_snippet":
		return trace
	}
	return ""
}

func sameSample(t *testing.T, got string, want any) bool {
	t.Helper()
	switch w := want.(type) {
	case nil:
		return got == ""
	case string:
		return got == w
	case json.Number:
		us := seconds(t, w)
		f, err := w.Float64()
		return got == fmt.Sprint(us) || err == nil && got == fmt.Sprint(int64(f*1000)) // runtime_ms
	case map[string]any:
		starts, _ := w["starts"].(string)
		return fmt.Sprint(len([]rune(got))) == fmt.Sprint(w["length_chars"]) && strings.HasPrefix(got, starts)
	}
	return false
}

// What a legacy file gives can be posted again and prints the same bytes.
func TestLegacyRoundTrip(t *testing.T) {
	l := openLegacy(t, legacyFixture(t, t.TempDir(), "gen3-rollback-small.db"))
	for _, v := range allLegacy(t, l, Select{Oldest: true, Details: true}) {
		line := task.AppendJSON(nil, &v)
		again, err := task.ParseJSON(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := task.AppendJSON(nil, &again); string(got) != string(line) {
			t.Fatalf("%s\nbecomes\n%s", line, got)
		}
		if merged := task.Merge(v, v); jsonOf(merged) != string(line) {
			t.Fatalf("%s merged with itself becomes\n%s", line, jsonOf(merged))
		}
	}
}
