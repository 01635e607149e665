package blocks

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIDSorter sorts in memory and in runs of a file.
func TestIDSorter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, n := range []int{0, 1, 100, 101, 5000} {
		for _, limit := range []int{100, 10_000} {
			s := newEntrySorter(t.TempDir())
			s.limit = limit
			var want, got []entry
			for range n {
				e := entry{r.Uint64() >> (60 * r.IntN(2)), r.Int64()}
				want = append(want, e)
				if err := s.add(e); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(want, entry.compare)
			if err := s.each(func(e entry) error { got = append(got, e); return nil }); err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d entries in runs of %d: %d come out, or in another order", n, limit, len(got))
			}
		}
	}
}

// TestIDPage holds what pages say against the entries they were made of.
func TestIDPage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	for range 200 {
		x := sealedIDs{pages: 1 + r.IntN(5), keyBytes: 1 + r.IntN(8)}
		pages := make([][]entry, x.pages)
		for range r.IntN(400) {
			e := entry{r.Uint64(), r.Int64N(86_400_000_000 << slotBits)}
			if r.IntN(4) == 0 {
				e.of |= ^uint64(0) >> r.IntN(20)
			}
			page, _ := x.place(e.of)
			pages[page] = append(pages[page], e)
		}
		for page, entries := range pages {
			slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.key, b.key)) })
			data := x.encode(nil, entries)
			decoded, err := x.decode(data)
			if err != nil || len(decoded) != len(entries) {
				t.Fatal(len(decoded), len(entries), err)
			}
			for _, e := range entries {
				at, rest := x.place(e.of)
				found := slices.ContainsFunc(x.match(decoded, rest), func(s span) bool { return s.low <= e.key && e.key < s.high })
				if at != page || !found {
					t.Fatalf("%+v: the entry %+v is not found", x, e)
				}
			}
			for n := range data {
				if _, err := x.decode(data[:n]); err == nil {
					t.Fatalf("%d of %d bytes are a page", n, len(data))
				}
			}
			for range 20 { // no panic
				data[r.IntN(len(data))] ^= byte(1 << r.IntN(8))
				_, _ = x.decode(data)
			}
		}
	}
}

// TestKeyCrowds counts what a page leads to.
func TestKeyCrowds(t *testing.T) {
	var k keyCrowds
	if n := k.bytes(); n != 1 {
		t.Fatal(n)
	}
	for i := range int64(100_000) { // 10 000 rows a second
		k.add(i * 100 << slotBits)
	}
	shift := idKeyShift(k.bytes())
	if most := int64(1) << shift / (100 << slotBits); most > idCrowd || most < idCrowd/256 {
		t.Fatalf("%d bytes: %d rows", k.bytes(), most)
	}
	for i := range int64(1000) { // all in one microsecond
		k.add(10_000_000<<slotBits + i)
	}
	if n := k.bytes(); n != 8 {
		t.Fatalf("%d bytes tell a thousand adjacent keys apart", n)
	}
}
