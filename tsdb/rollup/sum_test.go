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
