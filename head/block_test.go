package head

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/load"
	"daybook/tsdb/task"
)

// blocksOf are the log records of n invocations with args of a size, all taken at once.
func blocksOf(t testing.TB, n, args int) [][]byte {
	t.Helper()
	var invs []*task.Invocation
	for i := range n {
		v := event(fmt.Sprint("id", i), task.StateSuccess, int64(i+1)*second)
		v.Args = strings.Repeat("x", args)
		invs = append(invs, v)
	}
	recs := Encode(invs)
	return recs.take(n, nil)
}

func unpack(t testing.TB, u *unpacker, recs [][]byte) (out [][]byte) {
	t.Helper()
	for _, rec := range recs {
		if err := u.each(rec, func(b []byte) error {
			out = append(out, bytes.Clone(b))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Whatever is accepted of a request, in whatever pieces, and passed over: what is
// logged is exactly the rest, in order, and a block is never more than it may be.
func TestRecordsAreWhatWasAccepted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	var u unpacker
	packed, skipped := 0, 0
	for range 60 {
		var invs []*task.Invocation
		var want [][]byte
		for i := range 1 + r.IntN(300) {
			v := event(fmt.Sprint("id", i), task.StateSuccess, int64(i+1))
			switch r.IntN(20) {
			case 0: // does not fit a block
				v.Args = strings.Repeat("x", blockBytes+r.IntN(10))
			case 1: // does not get smaller
				b := make([]byte, r.IntN(blockBytes))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				v.Args = string(b)
			default:
				v.Args = strings.Repeat("x", r.IntN(1000))
			}
			invs, want = append(invs, v), append(want, appendEvent(nil, v))
		}
		recs := Encode(invs)
		if recs.Len() != len(invs) || recs.Bytes() != int64(len(bytes.Join(want, nil))) {
			t.Fatal("they are counted wrong")
		}
		for done := 0; done < len(invs); {
			n := 1 + r.IntN(len(invs)-done)
			var skip []int
			var taken [][]byte
			few := r.IntN(3) * r.IntN(40) // in a thousand
			for i := range n {
				if r.IntN(1000) < few {
					skip = append(skip, i)
				} else {
					taken = append(taken, want[done+i])
				}
			}
			skipped += len(skip)
			logged := recs.take(n, skip)
			for _, rec := range logged {
				if rec[0] != kindBlock {
					continue
				}
				packed++
				plain := bytes.Join(unpack(t, &u, [][]byte{rec}), nil)
				if len(plain) > blockBytes || len(plain) < leastBlock || len(rec) >= len(plain) {
					t.Fatalf("a block of %d bytes for %d", len(rec), len(plain))
				}
			}
			got := unpack(t, &u, logged)
			if len(got) != len(taken) || !bytes.Equal(bytes.Join(got, nil), bytes.Join(taken, nil)) {
				t.Fatalf("%d records of %d: others are logged", len(got), len(taken))
			}
			done += n
		}
		recs.GiveBack()
		var all [][]byte
		if err := EmitAll(invs, func(rec []byte) error {
			all = append(all, unpack(t, &u, [][]byte{rec})...)
			return nil
		}); err != nil || !bytes.Equal(bytes.Join(all, nil), bytes.Join(want, nil)) {
			t.Fatal("a checkpoint holds others", err)
		}
	}
	if packed == 0 || skipped == 0 {
		t.Fatal("no block was made, or nothing passed over", packed, skipped)
	}
}

// A request that fits only in part is logged only in part, and comes back so.
func TestAcceptedPartOfABlock(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	h := open(t, dir, c, Options{MaxRecords: 70})
	replay(t, h, none, nil)
	var invs []*task.Invocation
	bases := map[string]Base{}
	for i := range 100 {
		v := event(fmt.Sprint("id", i), task.StateSuccess, c.now().UnixMicro())
		v.Args = strings.Repeat("x", 2000)
		invs, bases[v.TaskID] = append(invs, v), Base{}
	}
	if a := addAll(t, h, invs, bases); a.N != 70 || !a.Full {
		t.Fatalf("%+v", a)
	}
	if got := h.log.Bytes(); got > 80_000 { // a block of 32, the rest plain
		t.Errorf("%d bytes of log", got)
	}
	again := open(t, copyOf(t, dir), c, Options{})
	replay(t, again, none, nil)
	if n, _ := again.Size(); n != 70 || again.Get("id69") == nil {
		t.Fatalf("%d come back", n)
	}
}

// A block that is not understood is reported, and costs nothing but itself.
func TestBlockNotUnderstood(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	h := open(t, dir, c, Options{})
	replay(t, h, none, nil)
	add(t, h, event("before", task.StateSuccess, c.now().UnixMicro()), Base{})
	good := bytes.Clone(blocksOf(t, 5, leastBlock/4)[0])
	nested := encodeOneBlock(encodeDrop(slices.Repeat([]string{"before"}, 50)))
	var huge []byte // what it claims to hold is a gigabyte
	huge = append(binary.AppendUvarint(append(huge, kindBlock, 1, 5), 1<<30), "five."...)
	for _, bad := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0), huge, {kindBlock}, {kindBlock, 0}, {kindBlock, 1, 5}, nested,
		{kindBlock, 1, 0x80, 0x80, 0x80, 0x80, 0x04, 0x80, 0x80, 0x80, 0x80, 0x04, 0}} {
		h.log.Enqueue(bad)
	}
	if err := h.log.Wait(h.log.Enqueue(good)); err != nil {
		t.Fatal(err)
	}
	bad := copyOf(t, dir)
	found, err := VerifyLog(bad)
	if err != nil || len(found) != 8 || !found[0].Damage || found[0].Offset == 0 || found[0].Length == 0 || found[0].Advice == "" {
		t.Fatal(found, err)
	}
	again := open(t, bad, c, Options{})
	var m, after runtime.MemStats
	runtime.ReadMemStats(&m)
	res, err := again.Replay(context.Background(), Replaying{Known: none})
	if runtime.ReadMemStats(&after); after.TotalAlloc-m.TotalAlloc > 16<<20 {
		t.Errorf("it took %d bytes of memory", after.TotalAlloc-m.TotalAlloc)
	}
	if err != nil || len(res.Log.Corruptions) != 8 || res.Records != 6+8 {
		t.Fatalf("%v, %d records, %v", err, res.Records, res.Log.Corruptions)
	}
	if n, _ := again.Size(); n != 6 || again.Get("before") == nil || again.Get("id4") == nil {
		t.Fatalf("%d come back", n)
	}
	kept, err := os.ReadFile(found[0].File)
	if err != nil {
		t.Fatal(err)
	}
	// Who understands it may come yet: the checkpoint that replaces it keeps it.
	if err := again.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(found[0].File + ".damaged"); err != nil || !bytes.Equal(got, kept) {
		t.Error(len(got), err)
	}
	read, size, err := ReadLog(dir, Options{Now: c.now}, none)
	if n, _ := read.Size(); err != nil || n != 6 || size != h.log.Bytes() {
		t.Fatalf("%d are read of %d bytes, want %d: %v", n, size, h.log.Bytes(), err)
	}
}

func encodeOneBlock(rec []byte) []byte {
	r := Records{buf: rec, ends: []int{len(rec)}}
	r.packBlock(0, 1)
	return r.packed
}

// A log that a daemon with version 2 wrote, of a batch and of Celery's events, is read as
// it read it, and goes on with this version; so is one of version 1, which has no blocks.
func TestOlderVersions(t *testing.T) {
	var want []string
	for line := range bytes.Lines(unzipped(t, "testdata", "version2", "dump.ndjson.gz")) {
		want = append(want, string(bytes.TrimSpace(line)))
	}
	held := func(h *Head) (lines []string) {
		for _, line := range want {
			v, err := task.ParseJSON([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			if got := h.Get(v.TaskID); got != nil {
				lines = append(lines, string(task.AppendJSON(nil, got)))
			}
		}
		return lines
	}
	two := unzipped(t, "testdata", "version2", "00000001.gz")
	for version, segment := range map[byte][]byte{2: two, 1: asVersion1(t, two)} {
		dir, c := t.TempDir(), newClock()
		if err := os.WriteFile(filepath.Join(dir, "00000001"), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		if segment[8] != version {
			t.Fatalf("it has version %d", segment[8])
		}
		if found, err := VerifyLog(dir); err != nil || len(found) > 0 {
			t.Fatalf("version %d: %d findings, %v", version, len(found), err)
		}
		for again := range 3 {
			h := open(t, dir, c, Options{})
			replay(t, h, none, nil)
			if n, _ := h.Size(); n != int64(len(want)+again) || n < 50 || !slices.Equal(held(h), want) {
				t.Fatalf("version %d, read the %d. time: %d of %d, or others", version, again+1, n, len(want))
			}
			add(t, h, event(fmt.Sprint("new", again), task.StateSuccess, c.now().UnixMicro()), Base{})
			if again == 1 {
				if err := h.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
			dir = copyOf(t, dir)
		}
	}
}

func unzipped(t testing.TB, path ...string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asVersion1 is a segment with the records of another, none of them in a block.
func asVersion1(t *testing.T, segment []byte) []byte {
	t.Helper()
	crc := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	out := bytes.Clone(segment[:48])
	out[8] = 1
	binary.LittleEndian.PutUint32(out[12:], crc(out[:12]))
	binary.LittleEndian.PutUint32(out[44:], crc(out[:44]))
	var u unpacker
	blocks := 0
	for at := 48; at < len(segment); {
		n := int(binary.LittleEndian.Uint32(segment[at+8:]))
		rec := segment[at+16 : at+16+n]
		if rec[0] == kindBlock {
			blocks++
		}
		for _, plain := range unpack(t, &u, [][]byte{rec}) {
			if plain[0] == kindEvent && plain[1] != 1 {
				t.Fatalf("an event in form %d", plain[1])
			}
			frame := append(bytes.Clone(segment[at:at+8]), 0, 0, 0, 0, 0, 0, 0, 0)
			binary.LittleEndian.PutUint32(frame[8:], uint32(len(plain)))
			binary.LittleEndian.PutUint32(frame[12:], crc(append(bytes.Clone(frame[8:12]), plain...)))
			out = append(append(out, frame...), plain...)
		}
		at += 16 + n
	}
	if blocks == 0 {
		t.Fatal("there is no block")
	}
	return out
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// BenchmarkEncode makes the log records of requests of 500 invocations of the
// reference load; docs/adr/0014-log-blocks.md quotes it.
func BenchmarkEncode(b *testing.B) {
	const n = 500
	var invs []*task.Invocation
	for line := range bytes.Lines(load.NewPool(1, 5000, false).Lines(1).Append(nil, 10*n, time.Now().UnixMicro())) {
		v, err := task.ParseJSON(bytes.TrimSpace(line))
		if err != nil {
			b.Fatal(err)
		}
		invs = append(invs, &v)
	}
	var plain, logged, reqs int
	b.ReportAllocs()
	for b.Loop() {
		at := reqs % 10 * n
		r := Encode(invs[at : at+n])
		plain += len(r.buf)
		for _, rec := range r.take(n, nil) {
			logged += len(rec)
		}
		r.GiveBack()
		reqs++
	}
	b.ReportMetric(float64(plain)/float64(reqs*n), "plain-B/inv")
	b.ReportMetric(float64(logged)/float64(reqs*n), "B/inv")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(reqs*n), "ns/inv")
}
