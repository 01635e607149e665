package wal

import (
	"context"
	"runtime"
	"testing"
)

const benchRecord = 300 // bytes

func benchGroup(b *testing.B, policy SyncPolicy, n int) {
	l := started(b, b.TempDir(), Options{Sync: policy})
	recs := make([][]byte, n)
	for i := range recs {
		recs[i] = make([]byte, benchRecord)
	}
	b.SetBytes(int64(n * benchRecord))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Wait(l.Enqueue(recs...)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkFsync500 is the unit of ingest: 500 records and one fsync.
func BenchmarkFsync500(b *testing.B) { benchGroup(b, SyncAlways, 500) }

// BenchmarkNoFsync500 is the ceiling of the code.
func BenchmarkNoFsync500(b *testing.B) { benchGroup(b, SyncNever, 500) }

// BenchmarkConcurrent64 has 64 writers of single records who share their fsyncs.
func BenchmarkConcurrent64(b *testing.B) {
	l := started(b, b.TempDir(), Options{})
	rec := make([]byte, benchRecord)
	b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Wait(l.Enqueue(rec)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkReplay(b *testing.B) {
	const n = 200_000
	dir := b.TempDir()
	l := started(b, dir, Options{Sync: SyncNever})
	rec := make([]byte, benchRecord)
	for i := range n {
		if t := l.Enqueue(rec); i%500 == 0 {
			if err := l.Wait(t); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(n * benchRecord)
	for b.Loop() {
		l, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if st, err := l.Replay(context.Background(), discard, nil); err != nil || st.Records != n {
			b.Fatal(st, err)
		}
		l.Close()
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
}
