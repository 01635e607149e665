package rollup

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/task"
)

func TestSubtractLeavesWhatIsThere(t *testing.T) {
	exact := 0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 6))
		vs := randomInvocations(r, r.IntN(700), 1+r.IntN(3*TopNames))
		gone := r.IntN(len(vs) + 1)
		if r.IntN(2) == 0 {
			gone = min(gone, 5)
		}
		got, rest := of(vs), of(vs[gone:])
		if err := got.Subtract(of(vs[:gone])); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		check(t, got)
		if !got.Agrees(rest) {
			t.Fatalf("seed %d: %d of %d taken away:\n%s\n%s", seed, gone, len(vs), describe(got), describe(rest))
		}
		if bytes.Equal(got.AppendBinary(nil), rest.AppendBinary(nil)) {
			exact++
		}
		if n := rest.Runtime.count; n > 0 {
			us := durations(vs[gone:], func(v *task.Invocation) (int64, bool) { return v.Outcome.Runtime, v.Outcome.HasRuntime })
			d := got.Runtime.Distribution()
			if lo, hi := rest.Runtime.Distribution().Min, rest.Runtime.Distribution().Max; d.Min < lo*0.97 || d.Max > hi*1.03 {
				t.Fatalf("seed %d: minimum %v of %v, maximum %v of %v", seed, d.Min, lo, d.Max, hi)
			} else {
				d.Min, d.Max = lo, hi
			}
			checkDistribution(t, d, us)
		}
	}
	if exact < 100 {
		t.Errorf("only %d of 600 differences have the bytes of what is left", exact)
	}
}

// TestReplaceProtocol: what a live file keeps (rollups of what was ever written,
// and of what was taken away) answers as the rows do, whatever the order.
func TestReplaceProtocol(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 7))
		var plus, minus Rollup
		rows := randomInvocations(r, 200, 1+r.IntN(2*TopNames))
		plus.Merge(of(rows))
		for range r.IntN(300) {
			i := r.IntN(len(rows))
			minus.Add(&rows[i])
			rows[i] = randomInvocations(r, 1, 300)[0]
			plus.Add(&rows[i])
		}
		answer := plus.Clone()
		if err := answer.Subtract(&minus); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !answer.Agrees(of(rows)) {
			t.Fatalf("seed %d:\n%s\n%s", seed, describe(&answer), describe(of(rows)))
		}
	}
}

func TestAgreesSeesEveryDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	rows := randomInvocations(r, 300, 20)
	exact := of(rows)
	for i := range rows {
		changed := rows[i]
		rows[i].Retries++
		if of(rows).Agrees(exact) {
			t.Fatal("a retry more is not seen")
		}
		rows[i] = changed
		if rows[i].Queue != "" {
			rows[i].Queue = "elsewhere"
			if of(rows).Agrees(exact) {
				t.Fatal("another queue is not seen")
			}
		}
		rows[i] = changed
	}
	if !of(rows).Agrees(exact) {
		t.Fatal("it does not agree with itself")
	}
}

func TestSubtractOfWhatIsNotThere(t *testing.T) {
	errors := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 9))
		a, b := of(randomInvocations(r, r.IntN(50), 5)), of(randomInvocations(r, 1+r.IntN(50), 5))
		if a.Subtract(b) != nil {
			errors++
		}
	}
	if errors < 490 {
		t.Errorf("%d of 500 strange rollups were refused", errors)
	}
}
