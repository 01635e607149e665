package text

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestFilterHasAll builds groups of random rows and looks every word up.
func TestFilterHasAll(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var b Builder
	for _, spans := range []int{1, 2, 3, 7, 8, 9, 64, 65, 127, 128} {
		want := map[uint64]Spans{}
		for i := range spans {
			for range r.IntN(20) {
				v := randomRow(r)
				if r.IntN(2) == 0 {
					v.Args = fmt.Sprint(r.Uint64(), r.Uint64(), r.Uint64())
				}
				b.Add(&v)
				texts := []string{v.TaskName, v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback}
				if !wholeID(v.TaskID) {
					texts = append(texts, v.TaskID)
				}
				for _, s := range texts {
					for _, w := range naiveWords(s) {
						s := want[hashWord(w)]
						s.add(i)
						want[hashWord(w)] = s
					}
				}
			}
			b.EndSpan()
		}
		if !b.TextIDs() && spans > 8 || b.Spans() != spans || b.Full() != (spans == MaxSpans) {
			t.Fatal(b.Spans(), b.Full())
		}
		pages := b.Take()
		if b.TextIDs() || b.Spans() != 0 {
			t.Fatal("the next group is not new")
		}
		extra, n := 0, 0
		for word, in := range want {
			got := lookUp(t, pages, word)
			both := got
			both.And(in)
			if both != in {
				t.Fatalf("%d spans: %x, want at least %x", spans, got, in)
			}
			extra, n = extra+got.Len()-in.Len(), n+spans
		}
		if extra*50 > n {
			t.Errorf("%d spans: %d of %d are wrong", spans, extra, n)
		}
		for _, p := range pages {
			if err := CheckPage(p); err != nil {
				t.Error(err)
			}
		}
	}
}

func lookUp(t *testing.T, pages [][]byte, word uint64) Spans {
	t.Helper()
	s, err := LookUp(pages[PageOf(word, len(pages))], len(pages), word)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFilterReference is the promise about the reference load: at most 12
// bytes a row, pages that fit a database page, one false span in 200.
func TestFilterReference(t *testing.T) {
	pages := buildPages(newLoad(1).rows(benchSpan*MaxSpans), benchSpan)
	bytes := 0
	for _, p := range pages {
		if bytes += len(p); len(p) > 4061 {
			t.Errorf("a page has %d bytes", len(p))
		}
	}
	if perRow := float64(bytes) / benchSpan / MaxSpans; perRow > 6 {
		t.Errorf("%.1f bytes a row", perRow)
	}
	found := 0
	for n := range uint64(10_000) {
		s := lookUp(t, pages, endHash(hashSeed, n, 9))
		found += s.Len()
	}
	if found > 10_000*MaxSpans/200 {
		t.Errorf("%d false spans", found)
	}
}

func TestBuilderBounds(t *testing.T) {
	var b Builder
	if b.Take() != nil && len(b.Take()) != 0 {
		t.Error("pages of nothing")
	}
	b.EndSpan()
	if pages := b.Take(); len(pages) != 1 || !ptr(lookUp(t, pages, hashWord("x"))).Empty() {
		t.Error("a span without words")
	}
	var long strings.Builder
	for i := range 300_000 {
		fmt.Fprint(&long, i, " ")
	}
	b.AddText(long.String())
	b.EndSpan()
	if !b.Full() {
		t.Error("not full")
	}
	pages := b.Take()
	for _, i := range []int{0, 1234, 299_999} {
		if s := lookUp(t, pages, hashWord(fmt.Sprint(i))); !s.Has(0) {
			t.Error(i)
		}
	}
	for range 3 * MaxSpans { // more than a group takes: still nothing is missed
		b.AddText("late")
		b.EndSpan()
	}
	b.AddText("later")
	if b.Spans() != MaxSpans {
		t.Error(b.Spans())
	}
	pages = b.Take()
	if s := lookUp(t, pages, hashWord("late")); s != AllSpans(MaxSpans) {
		t.Errorf("%x", s)
	}
	if s := lookUp(t, pages, hashWord("later")); !s.Has(MaxSpans - 1) {
		t.Errorf("%x", s)
	}
}

func ptr(s Spans) *Spans { return &s }

func TestSpans(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 127, 128} {
		s := AllSpans(n)
		if s.Len() != n || s.Empty() != (n == 0) || s.Has(n) || s.Has(-1) || n > 0 && !s.Has(n-1) {
			t.Error(n, s)
		}
	}
}

// TestPagePinned pins the format.
func TestPagePinned(t *testing.T) {
	var b Builder
	for _, s := range []string{"alpha beta", "beta gamma", "beta", "", "beta", "beta delta", "beta", "beta"} {
		b.AddText(s)
		b.EndSpan()
	}
	if got := fmt.Sprintf("%x", b.Take()); got != "[010701000300000006475434f7130d1051]" {
		t.Error(got)
	}
}

func FuzzLookUp(f *testing.F) {
	f.Add(buildPages(newLoad(1).rows(4), 1)[0], uint64(1)<<60, 3) // small: large seeds are minimized for ever
	f.Add([]byte{1, 127, 1, 0, 2, 0, 0, 0}, uint64(0), 0)
	f.Add(slices.Concat([]byte{1, 127, 0, 0, 2, 0, 0, 0}, []byte{0xff, 1, 2}), ^uint64(0), -1)
	f.Fuzz(func(t *testing.T, page []byte, word uint64, n int) {
		s, err := LookUp(page, n, word)
		if err == nil && s.Len() > int(page[1])+1 {
			t.Fatal("more spans than there are")
		}
		_ = CheckPage(page)
	})
}
