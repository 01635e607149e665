package rollup

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"daybook/tsdb/task"
)

// sum merges everything in a set.
func sumOf(s *Set) *Rollup {
	all := s.Rest().Clone()
	for _, r := range s.All() {
		all.Merge(r)
	}
	return &all
}

func TestSetCountsApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 14))
	vs := randomInvocations(r, 3000, 20)
	s := NewSet(Hour, DefaultLimits)
	want := map[Key]*Rollup{}
	for i := range vs {
		vs[i].TaskName = fmt.Sprintf("app.task%d", r.IntN(7))
		k := Key{vs[i].TaskName, Hour.Start(vs[i].RowTime())}
		if want[k] == nil {
			want[k] = &Rollup{}
		}
		want[k].Add(&vs[i])
		s.Add(&vs[i])
	}
	last := Key{}
	for k, got := range s.All() {
		if k.Name < last.Name || k.Name == last.Name && k.Bucket <= last.Bucket {
			t.Fatalf("%v after %v", k, last)
		}
		if last = k; want[k] == nil || !got.Equal(want[k]) || s.Get(k.Name, k.Bucket+5) != got {
			t.Fatalf("%v is not what was added", k)
		}
	}
	if s.Len() != len(want) || s.Folded() != 0 || s.Full() || !s.Rest().Empty() {
		t.Fatalf("%d rollups, want %d; %d folded", s.Len(), len(want), s.Folded())
	}
	// The same by way of bytes, in days.
	days := NewSet(Day, DefaultLimits)
	for k, r := range s.All() {
		if err := days.MergeBinary(k.Name, k.Bucket, r.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if !sumOf(days).Equal(of(vs)) || days.Len() > 14 {
		t.Fatal("merged by days it is something else")
	}
	if err := days.MergeBinary("x", 0, []byte{9}); err == nil || days.Get("x", 0) != nil {
		t.Fatal("damaged bytes leave something")
	}
	s.Reset()
	if s.Len() != 0 || s.Bytes() != 0 {
		t.Fatal("Reset leaves something")
	}
}

func TestSetWithTooManyNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 15))
	vs := randomInvocations(r, 2000, 5)
	s := NewSet(Hour, Limits{Names: 10, Bytes: 64 << 20})
	folded := uint64(0)
	for i := range vs {
		vs[i].TaskName = fmt.Sprintf("task%d", r.IntN(100))
		s.Add(&vs[i])
	}
	names := map[string]bool{}
	for k, r := range s.All() {
		if names[k.Name] = true; k.Name == Other {
			folded += r.Total()
		}
	}
	if len(names) != 11 || s.Folded() != folded || folded == 0 || !sumOf(s).Equal(of(vs)) {
		t.Fatalf("%d names, %d folded, %d counted under %s", len(names), s.Folded(), folded, Other)
	}
}

// TestSetIsBounded: names, buckets, values and workers without end, as bad
// clients may send them.
func TestSetIsBounded(t *testing.T) {
	for name, spoil := range map[string]func(r *rand.Rand, i int, v *task.Invocation){
		"names":   func(r *rand.Rand, i int, v *task.Invocation) { v.TaskName = fmt.Sprintf("task%d", i) },
		"buckets": func(r *rand.Rand, i int, v *task.Invocation) { v.FinishedAt = int64(i+1) * 60_000_000 },
		"values": func(r *rand.Rand, i int, v *task.Invocation) {
			v.TaskName = fmt.Sprintf("task%d", r.IntN(50))
			v.Worker, v.Outcome.Runtime = fmt.Sprintf("w%d", i), randomMicros(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 4 << 20
			r := rand.New(rand.NewPCG(1, 16))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			s := NewSet(Minute, Limits{Names: 1 << 30, Bytes: limit})
			n := uint64(60_000)
			for i := range n {
				v := task.Invocation{TaskName: "t", State: task.StateFailure, FinishedAt: 1, Queue: "q",
					Outcome: task.Outcome{HasRuntime: true, Runtime: 5_000, ExceptionType: "E"}}
				spoil(r, int(i), &v)
				s.Add(&v)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			heap := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			t.Logf("%d rollups, %d folded, accounted %d, on the heap %d", s.Len(), s.Folded(), s.Bytes(), heap)
			if s.Bytes() > limit || heap > limit+limit/4 {
				t.Errorf("the limit is %d", limit)
			}
			if got := sumOf(s).Total(); got != n {
				t.Errorf("%d counted, want %d", got, n)
			}
			runtime.KeepAlive(s)
		})
	}
}
