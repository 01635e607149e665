package rollup

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
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
