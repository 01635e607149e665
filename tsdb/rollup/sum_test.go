package rollup

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"

	"daybook/tsdb/task"
)

// A Sum is the merging of its parts, one after the other, whatever it held before.
func TestSum(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 1))
	var s Sum
	for range 300 {
		var want Rollup
		for range r.IntN(12) {
			part := of(randomInvocations(r, r.IntN(200), 1+r.IntN(300)))
			want.Merge(part)
			b := part.AppendBinary(nil)
			if err := s.AddBinary(b); err != nil {
				t.Fatal(err)
			}
			if err := s.AddBinary(b[:len(b)-1]); !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
		}
		if got := s.Take(nil); !bytes.Equal(got, want.AppendBinary(nil)) {
			back, err := Decode(got)
			t.Fatalf("%v:\n%s\n%s", err, describe(&back), describe(&want))
		}
	}
}

// With more names than a Decoder remembers it numbers them anew, also in the midst
// of a part.
func TestSumOfManyNames(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 2))
	var s Sum
	for range 4 {
		var want Rollup
		for range 150 {
			var part Rollup
			for range 1 + r.IntN(TopNames) {
				part.States[task.StateSuccess]++
				part.Workers.Add(strconv.Itoa(r.IntN(2 * maxInterned)))
				part.Queues.Add(strconv.Itoa(r.IntN(10)))
				part.Exceptions.Add(strconv.Itoa(r.IntN(2 * maxInterned)))
			}
			want.Merge(&part)
			if err := s.AddBinary(part.AppendBinary(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Take(nil); !bytes.Equal(got, want.AppendBinary(nil)) {
			back, err := Decode(got)
			t.Fatalf("%v:\n%s\n%s", err, describe(&back), describe(&want))
		}
	}
	if s.dec.begun < 4 {
		t.Fatalf("numbering began %d times", s.dec.begun)
	}
}

// All names that were ever met are only ranked again when sums have had more of them
// that have no rank: not for each sum that brings some new ones.
func TestSumRanksFewNames(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 3))
	for _, workers := range []int{200, 2000, 2 * maxInterned} {
		var s Sum
		had, ranked, ranks, begun := 0, 0, 0, 0
		for range 2000 {
			var want Rollup
			for range 1 + r.IntN(3) {
				var part Rollup
				for range 1 + r.IntN(8) {
					part.States[task.StateFailure]++
					part.Workers.Add("host-" + strconv.Itoa(r.IntN(workers)))
					part.Queues.Add("queue-" + strconv.Itoa(r.IntN(3)))
					part.Exceptions.Add("Error" + strconv.Itoa(r.IntN(5)))
				}
				want.Merge(&part)
				if err := s.AddBinary(part.AppendBinary(nil)); err != nil {
					t.Fatal(err)
				}
			}
			had += len(want.Workers.entries) + len(want.Queues.entries) + len(want.Exceptions.entries)
			if got := s.Take(nil); !bytes.Equal(got, want.AppendBinary(nil)) {
				back, err := Decode(got)
				t.Fatalf("%v:\n%s\n%s", err, describe(&back), describe(&want))
			}
			if s.dec.begun != begun {
				begun, ranks = s.dec.begun, 0
			}
			if n := len(s.dec.ranks); n != ranks {
				ranked, ranks = ranked+n, n
			}
		}
		if few := workers < maxInterned; few && ranked == 0 || ranked > had {
			t.Errorf("%d workers: %d names ranked for sums of %d", workers, ranked, had)
		}
	}
}

// What is damaged may have so many names that numbering begins anew: those of the sum
// are known by others then.
func TestSumOfDamagedManyNames(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 4))
	of := func(names ...string) *Rollup {
		part := &Rollup{}
		for _, name := range names {
			part.States[task.StateSuccess]++
			part.Workers.Add(name)
		}
		return part
	}
	var s Sum
	var want Rollup
	for _, name := range []string{"b", "a", "d", "c"} {
		part := of(name)
		want.Merge(part)
		if err := s.AddBinary(part.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
	}
	for begun := s.dec.begun; s.dec.begun == begun; {
		b := of("x"+strconv.Itoa(r.Int()), "y"+strconv.Itoa(r.Int())).AppendBinary(nil)
		if err := s.AddBinary(b[:len(b)-1]); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}
	if got := s.Take(nil); !bytes.Equal(got, want.AppendBinary(nil)) {
		back, err := Decode(got)
		t.Fatalf("%v:\n%s\n%s", err, describe(&back), describe(&want))
	}
}
