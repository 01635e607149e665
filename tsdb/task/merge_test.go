package task

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// randomEvent draws from few values, so that events collide in every way.
func randomEvent(r *rand.Rand) Invocation {
	e := Event{
		TaskID: "id", At: 1_000_000 + int64(r.IntN(40)), Worker: pick(r, "", "a@h1", "b@h2"), Retries: RetriesUnknown,
		State: pick(r, StateSent, StateReceived, StateStarted, StateRetry, StateRejected, StateRevoked, StateFailure, StateSuccess, StateRequeued),
	}
	if e.State == StateSent || e.State == StateReceived {
		e.Retries = int32(r.IntN(4)) - 1
		e.TaskName, e.Queue = pick(r, "", "t"), pick(r, "", "q1", "q2")
		e.Args, e.Kwargs = pick(r, "", "(1,)", "(2,)"), pick(r, "", "{}")
		e.ETA = pick[int64](r, 0, 5_000_000, 6_000_000)
	}
	if e.State.outcome() {
		e.HasRuntime, e.Runtime = r.IntN(2) == 0, int64(r.IntN(3))
		e.Result, e.ExceptionType = pick(r, "", "r1", "r2"), pick(r, "", "E", "F")
		e.ExceptionMessage, e.Traceback = pick(r, "", "m"), pick(r, "", "tb")
	}
	return e.Invocation()
}

// randomPartial goes through the JSON door, as clients' records do.
func randomPartial(t testing.TB, r *rand.Rand) Invocation {
	line := `{"task_id":"id","updated_at":` + fmt.Sprint(1+r.IntN(3))
	for _, f := range []string{`"state":"%s"`, `"worker":"w%d"`, `"retries":%d`, `"queue":"q%d"`, `"result":[%d, 2]`, `"started_at":%d`,
		`"finished_at":%d`, `"exception_type":"E%d"`, `"runtime_ms":%d.5`, `"truncated":["args","result"],"x":%d`, `"given_up":true,"y":%d`} {
		switch {
		case r.IntN(3) > 0:
		case f == `"state":"%s"`:
			line += "," + fmt.Sprintf(f, pick(r, States...))
		default:
			line += "," + fmt.Sprintf(f, 1+r.IntN(3))
		}
	}
	v, err := ParseJSON([]byte(line + "}"))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return v
}

// stored sends v through its day-file form: columns and residue, both forms of
// which say the same.
func stored(t testing.TB, v Invocation) Invocation {
	t.Helper()
	long, short := storedAs(t, v, false), storedAs(t, v, true)
	requireSame(t, "the short residue", long, short)
	return short
}

func storedAs(t testing.TB, v Invocation, short bool) Invocation {
	t.Helper()
	columns := v
	columns.QueueRank, columns.ArgsRank, columns.KwargsRank = 0, 0, 0
	columns.WorkerHint, columns.Transitions = "", nil
	columns.Outcome.State, columns.Outcome.At = 0, 0
	if err := columns.Restore(v.Residue(short)); err != nil {
		t.Fatal(err)
	}
	return columns
}

func randomInvocation(t testing.TB, r *rand.Rand) Invocation {
	if r.IntN(30) == 0 {
		return Invocation{}
	}
	v := randomEvent(r)
	if r.IntN(3) == 0 {
		v = randomPartial(t, r)
	}
	for range r.IntN(3) * r.IntN(30) {
		v = Merge(v, randomEvent(r))
	}
	if r.IntN(5) == 0 && !v.State.Finished() {
		v.GivenUpAt = v.UpdatedAt + int64(r.IntN(20))
	}
	if r.IntN(3) == 0 {
		v = stored(t, v)
	}
	return v
}

func same(a, b Invocation) bool {
	if len(a.Transitions) == 0 && len(b.Transitions) == 0 {
		a.Transitions, b.Transitions = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func requireSame(t testing.TB, what string, a, b Invocation) {
	t.Helper()
	if !same(a, b) {
		t.Fatalf("%s:\n%+v\n%+v", what, a, b)
	}
}

// rounds is how often a random test goes round; less often in short runs.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func TestMergeIsALattice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds(20_000) {
		a, b, c := randomInvocation(t, r), randomInvocation(t, r), randomInvocation(t, r)
		requireSame(t, "commutative", Merge(a, b), Merge(b, a))
		requireSame(t, "associative", Merge(Merge(a, b), c), Merge(a, Merge(b, c)))
		requireSame(t, "idempotent", Merge(a, a), a)
		requireSame(t, "absorbs", Merge(Merge(a, b), b), Merge(a, b))
		requireSame(t, "zero", Merge(a, Invocation{}), a)
		requireSame(t, "zero on the left", Merge(Invocation{}, a), a)
		x := Merge(a, b)
		x.Canonicalize()
		requireSame(t, "canonical", x, Merge(a, b))
	}
}

func TestEveryOrderAndSplitIsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range rounds(3000) {
		events := make([]Invocation, 1+r.IntN(45))
		for i := range events {
			events[i] = randomEvent(r)
		}
		var want Invocation
		for _, e := range events {
			want = Merge(want, e)
		}
		for range 4 {
			events = append(events, events[r.IntN(len(events))])
		}
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		// Split between head, two files and the log.
		var parts [4]Invocation
		for _, e := range events {
			p := &parts[r.IntN(len(parts))]
			*p = Merge(*p, e)
		}
		var got Invocation
		for i, p := range parts {
			if p.TaskID != "" && i%2 == 0 {
				p = stored(t, p)
			} else if p.TaskID != "" {
				var err error
				if p, err = DecodeBinary(AppendBinary(nil, &p)); err != nil {
					t.Fatal(err)
				}
			}
			got = Merge(got, p)
		}
		requireSame(t, "split", got, want)
	}
}

// Finished is absorbing and decided as docs/adr/0003-merge.md says, against a restatement
// of the rule that shares no code with decide.
func TestFinishedDecision(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	class := map[State]int{StateSuccess: 2, StateFailure: 2, StateRevoked: 1, StateRejected: 1}
	for range rounds(5000) {
		var all Invocation
		var best Invocation
		for range 1 + r.IntN(60) {
			e := randomEvent(r)
			all = Merge(all, e)
			if class[e.State] == 0 {
				continue
			}
			if c, b := class[e.State], class[best.State]; c > b || c == b && (e.FinishedAt > best.FinishedAt || e.FinishedAt == best.FinishedAt && e.State > best.State) {
				best = e
			}
		}
		if class[best.State] == 0 {
			if all.State.Finished() {
				t.Fatalf("finished as %v out of nothing", all.State)
			}
			continue
		}
		if all.State != best.State || all.FinishedAt != best.FinishedAt {
			t.Fatalf("got %v at %d, want %v at %d", all.State, all.FinishedAt, best.State, best.FinishedAt)
		}
		if all.State == StateSuccess && all.Outcome.ExceptionType != "" {
			t.Fatal("SUCCESS carries an exception")
		}
		if len(all.Transitions) > NewestTransitions+2 {
			t.Fatalf("%d transitions", len(all.Transitions))
		}
	}
}

func TestUnfinishedDecision(t *testing.T) {
	const s = 1_000_000
	ev := func(st State, at int64, worker string, retries int32) Invocation {
		return (&Event{TaskID: "x", State: st, At: at * s, Worker: worker, Retries: retries}).Invocation()
	}
	for _, c := range []struct {
		name   string
		events []Invocation
		want   State
	}{
		{"only sent", []Invocation{ev(StateSent, 1, "gen@h", 0)}, StateSent},
		{"retry waits, its child already sent the next attempt", []Invocation{ev(StateReceived, 2, "a", 0), ev(StateStarted, 3, "a", -1), ev(StateSent, 4, "gen", 1), ev(StateRetry, 5, "a", -1)}, StateRetry},
		{"next attempt received before the retry of the last is heard", []Invocation{ev(StateReceived, 2, "a", 0), ev(StateStarted, 3, "a", -1), ev(StateReceived, 4, "b", 1), ev(StateRetry, 5, "a", -1)}, StateReceived},
		{"a later attempt beats a later time", []Invocation{ev(StateReceived, 2, "a", 2), ev(StateStarted, 9, "b", -1)}, StateReceived},
		{"same attempt: time", []Invocation{ev(StateReceived, 2, "a", 0), ev(StateStarted, 3, "a", -1)}, StateStarted},
		{"same attempt and time: rank", []Invocation{ev(StateStarted, 2, "a", -1), ev(StateReceived, 2, "a", 0)}, StateStarted},
		{"requeued is no end", []Invocation{ev(StateReceived, 2, "a", 0), ev(StateStarted, 3, "a", -1), ev(StateRequeued, 4, "a", -1)}, StateStarted},
		{"requeued, then finished", []Invocation{ev(StateRequeued, 4, "a", -1), ev(StateSuccess, 6, "a", -1)}, StateSuccess},
	} {
		var v Invocation
		for _, e := range c.events {
			v = Merge(v, e)
		}
		if v.State != c.want {
			t.Errorf("%s: got %v, want %v", c.name, v.State, c.want)
		}
	}
}
