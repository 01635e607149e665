package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// place is where a record lies in a file.
type place struct {
	file       string
	start, end int64
}

// places finds all records of a healthy log.
func places(t *testing.T, fsys *memFS) map[string][]place {
	t.Helper()
	inv, err := list(fsys, testDir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]place{}
	for i, e := range append(inv.checkpoints, inv.segments...) {
		ck := i < len(inv.checkpoints)
		s := &scanner{r: &memHandle{fsys, e.path, fsys.live[e.path]}, limit: e.size, salt: e.header.salt, checkpoint: ck}
		w, err := s.walk(e.bad, func(f frame) error {
			out[string(f.payload)] = append(out[string(f.payload)], place{e.path, f.off, f.end()})
			return nil
		})
		if err != nil || len(w.holes) > 0 {
			t.Fatal(err, w.holes)
		}
	}
	return out
}

// plain returns a log of several segments and, if asked, a checkpoint before them.
func plain(t *testing.T, checkpoint bool) (*memFS, *model) {
	t.Helper()
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if err := m.append(l, 1+i%3); err != nil {
			t.Fatal(err)
		}
		if checkpoint && i == 4 {
			if err := m.checkpoint(l); err != nil {
				t.Fatal(err)
			}
		}
	}
	if l.Segments() < 3 {
		t.Fatal("too few segments for this test")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fsys, m
}

// TestTruncated cuts the log at every byte of every segment: everything before the cut survives.
// TestZeroed fills with zeros from there, TestGarbage with noise.
func TestTruncated(t *testing.T) {
	testTail(t, func(b []byte, at int) []byte { return b[:at] })
}

func TestZeroed(t *testing.T) {
	testTail(t, func(b []byte, at int) []byte { clear(b[at:]); return b })
}

func TestZerosAppended(t *testing.T) {
	testTail(t, func(b []byte, at int) []byte { return append(b[:at], make([]byte, 5000)...) })
}

func TestGarbage(t *testing.T) {
	testTail(t, func(b []byte, at int) []byte {
		for i := at; i < len(b); i++ {
			b[i] ^= byte(0x55 + i*7)
		}
		return b
	})
}

func testTail(t *testing.T, spoil func(b []byte, at int) []byte) {
	start, known := plain(t, true)
	where := places(t, start)
	var segments []string
	for _, n := range start.names() {
		if !strings.Contains(n, checkpointPrefix) {
			segments = append(segments, n)
		}
	}
	for i, last := range segments {
		for at := range start.live[last].data {
			fsys, m := start.after(crashKill), known.clone()
			for _, n := range segments[i+1:] {
				delete(fsys.live, n)
			}
			fsys.live[last].data = spoil(fsys.live[last].data, at)
			m.acked = map[string]bool{}
			for rec, ps := range where {
				for _, p := range ps {
					if fsys.live[p.file] != nil && (p.file != last || p.end <= int64(at)) {
						m.acked[rec] = true
					}
				}
			}
			st := m.reopen(t, fsys)
			if at >= headerSize && len(st.Corruptions) > 0 {
				t.Fatalf("%s cut at %d is called damage: %v", last, at, st.Corruptions)
			}
		}
	}
}

// TestFlippedBytes flips bits at every offset of every file: no panic, no invented record, all
// other records survive, and what is lost is reported.
func TestFlippedBytes(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		start, known := plain(t, checkpoint)
		where := places(t, start)
		for _, name := range start.names() {
			for at := range start.live[name].data {
				for _, bits := range []byte{0x01, 0x80, 0xFF} {
					fsys, m := start.after(crashKill), known.clone()
					fsys.live[name].data[at] ^= bits
					lost := ""
					for rec, ps := range where {
						ps = slices.DeleteFunc(slices.Clone(ps), func(p place) bool {
							return p.file == name && p.start <= int64(at) && int64(at) < p.end
						})
						if len(ps) == 0 {
							lost = rec
							delete(m.acked, rec)
						}
					}
					l, st, err := m.open(fsys, Options{})
					if err != nil {
						t.Fatalf("%s, byte %d ^ %x: %v", name, at, bits, err)
					}
					m.check(t)
					if lost != "" && slices.Contains(m.memory, lost) {
						t.Fatalf("%s, byte %d: a damaged record was believed", name, at)
					}
					if len(st.Corruptions) == 0 && st.TornBytes == 0 {
						t.Fatalf("%s, byte %d ^ %x: not noticed", name, at, bits)
					}
					for _, c := range st.Corruptions {
						if c.File == name && (int64(at) < c.Offset || int64(at) >= c.Offset+max(c.Length, 1)) {
							t.Fatalf("byte %d of %s: %v", at, name, c)
						}
					}
					l.Close()
					if bits == 0xFF {
						m.reopen(t, fsys)
					}
				}
			}
		}
	}
}

// TestDamageIsKept: a file that was not understood survives the checkpoint that replaces it.
func TestDamageIsKept(t *testing.T) {
	fsys, m := plain(t, false)
	name := fsys.names()[1]
	fsys.live[name].data[headerSize+frameOverhead] ^= 1
	spoilt := bytes.Clone(fsys.live[name].data)
	m.acked = map[string]bool{}
	l, st, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(st.Damaged, []string{name}) {
		t.Fatalf("damaged: %q", st.Damaged)
	}
	var ce *CorruptionError
	if err := error(st.Corruptions[0]); !errors.As(err, &ce) || ce.File != name || ce.Offset != headerSize || ce.Length == 0 {
		t.Fatalf("%+v", st.Corruptions[0])
	}
	if err := m.checkpoint(l); err != nil {
		t.Fatal(err)
	}
	if fsys.live[name] != nil || !bytes.Equal(fsys.live[name+damagedSuffix].data, spoilt) {
		t.Fatal(fsys)
	}
	l.Close()
	st = m.reopen(t, fsys)
	if !slices.Equal(st.Unknown, []string{name + damagedSuffix}) || len(st.Corruptions) > 0 {
		t.Fatalf("%+v", st)
	}
}

// TestDamagedMovedAway: the caller may move a damaged file, the log does not miss it.
func TestDamagedMovedAway(t *testing.T) {
	fsys, m := plain(t, false)
	name := fsys.names()[0]
	fsys.live[name].data[headerSize] ^= 1
	m.acked = map[string]bool{}
	l, st, err := m.open(fsys, Options{})
	if err != nil || len(st.Damaged) != 1 {
		t.Fatal(err, st)
	}
	delete(fsys.live, name)
	if err := m.checkpoint(l); err != nil {
		t.Fatal(err)
	}
	if err := m.append(l, 1); err != nil {
		t.Fatal(err)
	}
	l.Close()
	m.reopen(t, fsys)
}

func TestMissingSegment(t *testing.T) {
	for i := range 3 {
		fsys, m := plain(t, true)
		name := fsys.names()[i]
		for rec, ps := range places(t, fsys) {
			if len(ps) == 1 && ps[0].file == name {
				delete(m.acked, rec)
			}
		}
		delete(fsys.live, name)
		st := m.reopen(t, fsys)
		if i < 2 && (len(st.Corruptions) != 1 || st.Corruptions[0].File != name) {
			t.Fatalf("%d: %v", i, st.Corruptions)
		}
	}
}

// TestCheckpointFallback: while the segments are there a damaged checkpoint costs nothing.
func TestCheckpointFallback(t *testing.T) {
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_ = m.append(l, 3)
	}
	_ = m.checkpoint(l)
	for range 5 {
		_ = m.append(l, 3)
	}
	fsys.always = "remove" // the second one is published, and the first stays
	_ = m.checkpoint(l)
	fsys.always = ""
	_ = m.append(l, 2)
	l.Close()

	names := fsys.names()
	newest := names[len(names)-1]
	for at := range fsys.live[newest].data {
		for _, cut := range []bool{false, true} {
			c, m2 := fsys.after(crashKill), m.clone()
			if cut {
				c.live[newest].data = c.live[newest].data[:at]
			} else {
				c.live[newest].data[at] ^= 0x10
			}
			l, st, err := m2.open(c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			m2.check(t)
			if st.Checkpoint == 0 || st.SalvagedRecords != 0 || len(st.Damaged) != 1 || len(st.Corruptions) != 1 {
				t.Fatalf("%d: %+v", at, st)
			}
			l.Close()
		}
	}
	// Without the older one its records are salvaged.
	c, m2 := fsys.after(crashKill), m.clone()
	for _, n := range names {
		if n < filepath.Join(testDir, strings.TrimPrefix(filepath.Base(newest), checkpointPrefix)) ||
			strings.Contains(n, checkpointPrefix) && n != newest {
			delete(c.live, n)
		}
	}
	b := c.live[newest].data
	c.live[newest].data = b[:len(b)-1] // of the trailer
	st := m2.reopen(t, c)
	if st.Checkpoint != 0 || st.SalvagedRecords != 30 || len(st.Damaged) != 1 {
		t.Fatalf("%+v", st)
	}
}

// TestEmbeddedFrames: a record that holds a copy of the log does not become records when the
// frame around it breaks.
func TestEmbeddedFrames(t *testing.T) {
	m, fsys := newModel(), newMemFS()
	l, _, err := m.open(fsys, Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	inner := appendFrame(nil, []byte("evil"), 0)
	stamp(inner, newSalt())
	if err := l.Wait(l.Enqueue(inner, []byte("good"))); err != nil {
		t.Fatal(err)
	}
	l.Close()
	fsys.live[fsys.names()[0]].data[headerSize+frameOverhead-1] ^= 1
	l, st, err := m.open(fsys, Options{})
	if err != nil || !slices.Equal(m.memory, []string{"good"}) || len(st.Corruptions) != 1 {
		t.Fatalf("%v %q %v", err, m.memory, st.Corruptions)
	}
	l.Close()
}
