package text

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

const benchSpan = 128 // rows: one chunk of details

// BenchmarkBuild makes the pages of groups of MaxSpans spans; an operation is
// a row. false% are the spans that an absent word is wrongly said to be in.
func BenchmarkBuild(b *testing.B) {
	for _, spans := range []int{1, 8, MaxSpans} {
		b.Run(fmt.Sprintf("%d spans", spans), func(b *testing.B) {
			rows := newLoad(1).rows(benchSpan * MaxSpans)
			var w Builder
			var bytes, built, pages, i int
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n++ {
				w.Add(&rows[i])
				if i++; i == len(rows) {
					i = 0
				}
				built++
				if built%benchSpan == 0 {
					w.EndSpan()
				}
				if w.Spans() == spans {
					for _, p := range w.Take() {
						bytes, pages = bytes+len(p), pages+1
					}
				}
			}
			if full := built / (spans * benchSpan) * spans * benchSpan; full > 0 {
				b.ReportMetric(float64(bytes)/float64(full), "B/row")
				b.ReportMetric(float64(bytes)/float64(pages), "B/page")
			}
		})
	}
}

// BenchmarkLookUp probes one page for an absent word.
func BenchmarkLookUp(b *testing.B) {
	for _, spans := range []int{1, 16, MaxSpans} {
		b.Run(fmt.Sprintf("%d spans", spans), func(b *testing.B) {
			pages := buildPages(newLoad(1).rows(benchSpan*spans), benchSpan)
			found := 0
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n++ {
				h := endHash(hashSeed, uint64(n), 9)
				s, err := LookUp(pages[PageOf(h, len(pages))], len(pages), h)
				if err != nil {
					b.Fatal(err)
				}
				found += s.Len()
			}
			b.ReportMetric(100*float64(found)/float64(b.N)/float64(spans), "false%")
		})
	}
}

func buildPages(rows []task.Invocation, span int) [][]byte {
	var w Builder
	for i := range rows {
		w.Add(&rows[i])
		if (i+1)%span == 0 || i == len(rows)-1 {
			w.EndSpan()
		}
	}
	return w.Take()
}

// BenchmarkBloom is the alternative that was rejected (docs/adr/0008): one
// Bloom filter for each group of rows. An operation is a row.
func BenchmarkBloom(b *testing.B) {
	for _, group := range []int{128, 512, 1024, 4096} {
		for _, perWord := range []int{8, 10, 12} {
			b.Run(fmt.Sprintf("%d rows/%d bits", group, perWord), func(b *testing.B) {
				rows := newLoad(1).rows(16384)
				var set wordSet
				var words, hashes []uint64
				bytes, groups, hits := 0, 0, 0
				absent := uint64(0)
				k := int(math.Round(float64(perWord) * math.Ln2))
				b.ResetTimer()
				for n := 0; n < b.N; n++ {
					v := &rows[n%len(rows)]
					for _, s := range []string{v.TaskName, v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback} {
						hashes = appendHashes(hashes[:0], s)
						for _, h := range hashes {
							if set.add(h) {
								words = append(words, h)
							}
						}
					}
					if (n+1)%group != 0 {
						continue
					}
					size := uint64((len(words)*perWord + 63) / 64 * 64)
					bits := make([]uint64, size/64)
					for _, h := range words {
						x, y := h>>32, h&0xffffffff|1
						for range k {
							bits[x%size/64] |= 1 << (x % 64)
							x = (x + y) % size
						}
					}
					for range 100 {
						absent++
						h := endHash(hashSeed, absent, 9)
						x, y, all := h>>32, h&0xffffffff|1, true
						for range k {
							all = all && bits[x%size/64]>>(x%64)&1 != 0
							x = (x + y) % size
						}
						if all {
							hits++
						}
					}
					bytes, groups = bytes+int(size/8), groups+1
					words = words[:0]
					set.reset()
				}
				if groups > 0 {
					b.ReportMetric(float64(bytes)/float64(groups*group), "B/row")
					b.ReportMetric(float64(hits)/float64(groups), "false%")
				}
			})
		}
	}
}

// BenchmarkMatch matches one row that does not match.
func BenchmarkMatch(b *testing.B) {
	rows := newLoad(1).rows(4096)
	size := 0
	for i := range rows {
		v := &rows[i]
		size += len(v.TaskID) + len(v.TaskName) + len(v.Args) + len(v.Kwargs) + len(v.Outcome.Result) + len(v.Outcome.ExceptionMessage) + len(v.Outcome.Traceback)
	}
	for _, s := range []string{"xylophone", "ORD-00512345x", "user17@example.com", `"nobody was there"`, "zeb*", "/ORD-0051234x/", "größe", "97ab73a3-0000-4000-8000-000000000000"} {
		b.Run(s, func(b *testing.B) {
			q, err := Parse(s)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size / len(rows)))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n++ {
				q.Match(&rows[n%len(rows)])
			}
		})
	}
}

// BenchmarkScan looks through blocks of the texts of 128 rows; an operation is
// a row.
func BenchmarkScan(b *testing.B) {
	var t strings.Builder
	for _, v := range newLoad(1).rows(benchSpan) {
		t.WriteString(v.Args + v.Kwargs + v.Outcome.Result + v.Outcome.ExceptionMessage + v.Outcome.Traceback)
	}
	block := t.String()
	for _, s := range []string{"/ORD-x051/", "/no such thing/", "/größe/", "xylophone", `"customer trace"`} {
		b.Run(s, func(b *testing.B) {
			q, err := Parse(s)
			if err != nil {
				b.Fatal(err)
			}
			scan := q.Scan([]string{"shop.orders.charge"}, []string{"ValueError"})
			b.SetBytes(int64(len(block) / benchSpan))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += benchSpan {
				scan.May(block)
			}
		})
	}
}
