package rollup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"daybook/tsdb/task"
)

// randomInvocations draws n invocations with up to names different workers,
// queues and exception types.
func randomInvocations(r *rand.Rand, n, names int) []task.Invocation {
	out := make([]task.Invocation, n)
	for i := range out {
		v := &out[i]
		v.TaskID = fmt.Sprint(i)
		v.State = task.States[r.IntN(len(task.States))]
		at := 1_700_000_000_000_000 + int64(r.IntN(7_200_000_000))
		v.UpdatedAt = at
		if v.State.Finished() {
			v.FinishedAt = at
		} else if r.IntN(2) == 0 {
			v.GivenUpAt = at
		}
		v.Retries = int32(r.IntN(4))
		if r.IntN(5) > 0 {
			v.Outcome.HasRuntime, v.Outcome.Runtime = true, randomMicros(r)
		}
		if r.IntN(3) > 0 {
			v.StartedAt = at
			v.SentAt = max(1, at-randomMicros(r)%at)
		}
		if r.IntN(9) > 0 {
			v.Worker = fmt.Sprintf("celery@w%d", r.IntN(names))
			if r.IntN(20) == 0 {
				v.Worker = []string{"celery@", "@", "@w1"}[r.IntN(3)]
			}
			v.Queue = fmt.Sprintf("q%d", r.IntN(names))
			v.Outcome.ExceptionType = fmt.Sprintf("Error%d", r.IntN(names))
		}
	}
	return out
}

// randomMicros is of any size, small ones and 0 being frequent.
func randomMicros(r *rand.Rand) int64 {
	return r.Int64N(1 << r.IntN(63))
}

func of(vs []task.Invocation) *Rollup {
	var r Rollup
	for i := range vs {
		r.Add(&vs[i])
	}
	return &r
}

// describe is short enough for a failure that somebody reads.
func describe(r *Rollup) string { return fmt.Sprintf("%+v", Summarize(r, 3)) }

// check fails unless r is sound and its bytes give it back.
func check(t *testing.T, r *Rollup) {
	t.Helper()
	b := r.AppendBinary(nil)
	back, err := Decode(b)
	if err != nil {
		t.Fatalf("%v: % x", err, b)
	}
	if !back.Equal(r) || !bytes.Equal(back.AppendBinary(nil), b) {
		t.Fatalf("decoded to something else:\n%s\n%s", describe(r), describe(&back))
	}
	if back.footprint() == 0 && r.Runtime.count > 0 {
		t.Fatal("a decoded rollup accounts for no memory")
	}
}

// mergeRandomly merges the parts in a random order and grouping.
func mergeRandomly(r *rand.Rand, parts []*Rollup) *Rollup {
	parts = slices.Clone(parts)
	for len(parts) > 1 {
		i := r.IntN(len(parts))
		a := parts[i]
		parts = slices.Delete(parts, i, i+1)
		j := r.IntN(len(parts))
		m := a.Clone()
		m.Merge(parts[j])
		parts[j] = &m
	}
	return parts[0]
}

func TestMergeOfAnySplitIsTheSame(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		// Beyond TopNames names every bounded list overflows.
		vs := randomInvocations(r, r.IntN(900), 1+r.IntN(4*TopNames))
		want := of(vs)
		check(t, want)
		r.Shuffle(len(vs), func(i, j int) { vs[i], vs[j] = vs[j], vs[i] })
		parts := []*Rollup{{}}
		for len(vs) > 0 {
			n := 1 + r.IntN(len(vs))
			parts = append(parts, of(vs[:n]))
			vs = vs[n:]
		}
		before := make([][]byte, len(parts))
		for i, p := range parts {
			before[i] = p.AppendBinary(nil)
		}
		got := mergeRandomly(r, parts)
		if !bytes.Equal(got.AppendBinary(nil), want.AppendBinary(nil)) {
			t.Fatalf("seed %d: %d parts merge to something else:\n%s\n%s", seed, len(parts), describe(got), describe(want))
		}
		for i, p := range parts {
			if !bytes.Equal(before[i], p.AppendBinary(nil)) {
				t.Fatalf("seed %d: merging changed its argument", seed)
			}
		}
	}
}

func TestMergeLaws(t *testing.T) {
	merge := func(a, b *Rollup) *Rollup {
		m := a.Clone()
		m.Merge(b)
		return &m
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		names := 1 + r.IntN(3*TopNames)
		a, b, c := of(randomInvocations(r, r.IntN(400), names)), of(randomInvocations(r, r.IntN(400), names)), of(randomInvocations(r, r.IntN(400), names))
		if !merge(a, b).Equal(merge(b, a)) {
			t.Fatalf("seed %d: not commutative", seed)
		}
		if !merge(merge(a, b), c).Equal(merge(a, merge(b, c))) {
			t.Fatalf("seed %d: not associative", seed)
		}
		if !merge(a, &Rollup{}).Equal(a) || !merge(&Rollup{}, a).Equal(a) {
			t.Fatalf("seed %d: the zero is no identity", seed)
		}
	}
}

func TestCountsAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		vs := randomInvocations(r, r.IntN(600), 1+r.IntN(2*TopNames))
		s := Summarize(of(vs), 10)
		state := func(want task.State) (n uint64) {
			for i := range vs {
				if vs[i].State == want {
					n++
				}
			}
			return n
		}
		var givenUp, retries uint64
		workers := map[string]uint64{}
		for i := range vs {
			retries += uint64(vs[i].Retries)
			if vs[i].GivenUpAt != 0 {
				givenUp++
			}
			if g := task.WorkerGroup(vs[i].Worker); g != "" {
				workers[g]++
			}
		}
		want := Summary{Total: uint64(len(vs)), Success: state(task.StateSuccess), Failure: state(task.StateFailure),
			Revoked: state(task.StateRevoked), Rejected: state(task.StateRejected), GivenUp: givenUp, Retries: retries}
		if n := want.Failure + want.Success; n > 0 {
			want.FailureRate = float64(want.Failure) / float64(n)
		}
		got := s
		got.Runtime, got.Wait, got.Exceptions, got.Workers, got.Queues = Distribution{}, Distribution{}, Ranking{}, Ranking{}, Ranking{}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed, got, want)
		}
		checkRanking(t, s.Workers, workers)
		checkDistribution(t, s.Runtime, durations(vs, func(v *task.Invocation) (int64, bool) { return v.Outcome.Runtime, v.Outcome.HasRuntime }))
		checkDistribution(t, s.Wait, durations(vs, (*task.Invocation).WaitMicros))
	}
}

// checkRanking holds a ranking of ten against all counts.
func checkRanking(t *testing.T, got Ranking, counts map[string]uint64) {
	t.Helper()
	var all []Count
	var total uint64
	for name, n := range counts {
		all = append(all, Count{name, n})
		total += n
	}
	slices.SortFunc(all, func(a, b Count) int {
		if a.Count != b.Count {
			return int(b.Count) - int(a.Count)
		}
		return bytes.Compare([]byte(a.Name), []byte(b.Name))
	})
	shown := got.Other
	for _, c := range got.Named {
		if counts[c.Name] != c.Count {
			t.Fatalf("%s: %d, want %d", c.Name, c.Count, counts[c.Name])
		}
		shown += c.Count
	}
	if shown != total {
		t.Fatalf("all in all %d, want %d", shown, total)
	}
	if want := all[:min(10, len(all))]; len(counts) <= TopNames && !slices.Equal(got.Named, want) {
		t.Fatalf("ranking\n%v\nwant\n%v", got.Named, want)
	}
}

func TestTheSmallCases(t *testing.T) {
	var r Rollup
	if !r.Empty() || !bytes.Equal(r.AppendBinary(nil), []byte{codecVersion, 0}) {
		t.Fatalf("the zero encodes to % x", r.AppendBinary(nil))
	}
	check(t, &r)
	r.Add(&task.Invocation{State: task.State(200), Retries: -1, Worker: "celery@app-7d9f8b6c5d-x2x9z",
		Outcome: task.Outcome{HasRuntime: true, Runtime: -5, ExceptionType: "E"}})
	check(t, &r)
	if r.Total() != 1 || r.Retries != 0 || r.Runtime.Max() != 0 || r.Workers.entries[0].name != "app" {
		t.Fatalf("%+v", r)
	}
	r.Reset()
	if !r.Equal(&Rollup{}) {
		t.Fatal("Reset leaves something")
	}
	r.Add(&task.Invocation{State: task.StateSuccess, Outcome: task.Outcome{ExceptionType: "E"}})
	if len(r.Exceptions.entries) != 0 {
		t.Fatal("SUCCESS carries an exception")
	}
}

// TestNamesAreCopied: a decoded invocation is one string, which a name of a few
// bytes must not keep alive.
func TestNamesAreCopied(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 1<<20))
	var top Top
	if n := testing.AllocsPerRun(1, func() { top = Top{}; top.Add(long[:5]) }); n != 2 {
		t.Fatalf("%v allocations, want one for the name and one for its entry", n)
	}
}
