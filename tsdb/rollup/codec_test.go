package rollup

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"daybook/tsdb/task"
)

func TestDamagedBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	var d Decoder
	for range 50 {
		b := of(randomInvocations(r, 1+r.IntN(200), 1+r.IntN(200))).AppendBinary(nil)
		for n := range len(b) {
			if err := d.Decode(&Rollup{}, b[:n]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("the first %d of %d bytes: %v", n, len(b), err)
			}
		}
		if err := d.Decode(&Rollup{}, append(b, 0)); !errors.Is(err, ErrDamaged) {
			t.Fatalf("a byte more: %v", err)
		}
		b[0]++
		if err := d.Decode(&Rollup{}, b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("another version: %v", err)
		}
	}
}

func TestDecoderMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 11))
	var d Decoder
	var got, want Rollup
	for range 50 {
		part := of(randomInvocations(r, r.IntN(100), 200))
		want.Merge(part)
		b := part.AppendBinary(nil)
		if err := d.Merge(&got, b); err != nil {
			t.Fatal(err)
		}
		if err := d.Merge(&got, b[:len(b)-1]); err == nil {
			t.Fatal("damaged bytes are merged")
		}
	}
	if !got.Equal(&want) {
		t.Fatalf("\n%+v\n%+v", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 12))
	for _, n := range []int{0, 1, 2, 30, 400} {
		f.Add(of(randomInvocations(r, n, 3)).AppendBinary(nil))
		f.Add(of(randomInvocations(r, n, 300)).AppendBinary(nil))
	}
	// With names that hold the place of others.
	rows := randomInvocations(r, 500, 300)
	emptied := of(rows)
	if err := emptied.Subtract(of(rows[:400])); err != nil {
		f.Fatal(err)
	}
	f.Add(emptied.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Decode(b)
		if err != nil {
			return
		}
		if again := v.AppendBinary(nil); !bytes.Equal(again, b) {
			t.Fatalf("% x\ndecodes and encodes to\n% x", b, again)
		}
		if n := v.footprint(); n > 64*int64(len(b))+1024 {
			t.Fatalf("%d bytes take %d of memory", len(b), n)
		}
		// Nothing that can be done with it may panic.
		Summarize(&v, 5)
		w := v.Clone()
		w.Merge(&v)
		w.Add(&task.Invocation{State: task.StateSuccess, Queue: "q", Outcome: task.Outcome{HasRuntime: true, Runtime: math.MaxInt64}})
		if err := w.Subtract(&v); err == nil {
			Summarize(&w, 5)
			w.Agrees(&v)
		}
	})
}

// TestSizes holds what docs/format/rollup.md promises.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name   string
		n, max int
		draw   func(*rand.Rand) int64
	}{
		{"empty", 0, 0, nil},
		{"one", 1, 8, distributions["lognormal"]},
		{"ten", 10, 48, distributions["lognormal"]},
		{"hundred", 100, 220, distributions["lognormal"]},
		{"thousand", 1000, 320, distributions["lognormal"]},
		{"hundred thousand", 100_000, 560, distributions["lognormal"]},
		{"constant", 100_000, 24, distributions["constant"]},
		{"worst", 2_000_000, 2 * (maxIndex + 1), randomMicros},
	} {
		r := rand.New(rand.NewPCG(1, 13))
		var s Sketch
		for range c.n {
			s.Add(c.draw(r))
		}
		size := len(s.append(nil))
		t.Logf("%s: %d bins, %d bytes", c.name, len(s.bins), size)
		if size > c.max {
			t.Errorf("%s: %d bytes, at most %d were promised", c.name, size, c.max)
		}
	}
}
