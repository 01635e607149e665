package tsdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"daybook/blocks"
	"daybook/head/wal"
	"daybook/tsdb/task"
)

// tree is what there is under a directory, but for LOCK.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == "LOCK" {
			return err
		}
		var data []byte
		if e.Type().IsRegular() {
			data, err = os.ReadFile(path)
		}
		found[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A directory that a newer program wrote is refused before anything in it is
// changed: whoever goes back to the newer one finds it as it was.
func TestRefusedDowngradeChangesNothing(t *testing.T) {
	t.Parallel()
	var newerLog *wal.VersionError
	var newerFile *blocks.VersionError
	for name, c := range map[string]struct {
		pattern string
		at      int
		version []byte
		refused any
	}{
		"log":    {"wal/*", 8, binary.LittleEndian.AppendUint32(nil, 99), &newerLog},
		"parked": {"live/parked.*.db", 60, binary.BigEndian.AppendUint32(nil, 99), &newerFile},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &testClock{at: noon}
			o := testOptions(t.TempDir(), clock)
			db := store(t, o, clock)
			mustAppend(t, db, finished("logged", noon))
			db.crash(t)
			found, err := filepath.Glob(filepath.Join(o.Dir, c.pattern))
			if err != nil || len(found) == 0 {
				t.Fatal(found, err)
			}
			path := found[len(found)-1]
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(data[c.at:], c.version)
			if name == "log" { // what every version of it keeps
				binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[:12], crc32.MakeTable(crc32.Castagnoli)))
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(o.Dir, "tmp", "seal-1.sort"), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			before := tree(t, o.Dir)
			db, err = Open(o)
			if err == nil {
				db.Close()
			}
			if !errors.As(err, c.refused) {
				t.Errorf("opened: %v", err)
			}
			if after := tree(t, o.Dir); !maps.Equal(before, after) {
				t.Errorf("the directory was changed: %d files before, %d after", len(before), len(after))
			}
		})
	}
}

// Two files of parked invocations, after a start that could not read the one
// there was, become one: nothing is hidden by the order of their names.
func TestParkedFilesBecomeOne(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	clock := &testClock{at: noon}
	o := testOptions(t.TempDir(), clock)
	live := filepath.Join(o.Dir, "live")
	if err := os.MkdirAll(live, 0o755); err != nil {
		t.Fatal(err)
	}
	old, newer := started("both", noon), finished("both", noon.Add(1))
	for seq, recs := range map[int][]Record{9: {old, started("nine", noon)}, 10: {newer}} {
		p, err := blocks.CreateParked(live, seq)
		if err != nil {
			t.Fatal(err)
		}
		for i := range recs {
			inv := recs[i].Invocation
			if err := p.Put(ctx, uint64(seq*10+i), []*task.Invocation{&inv}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, o.Dir)
	r, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	if left := r.compact.Unreadable(); len(left) != 1 {
		t.Errorf("reading only: %v", left)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, o.Dir); !maps.Equal(before, after) {
		t.Error("reading changed the directory")
	}
	for range 2 {
		db := start(t, o)
		if got := db.compact.Parked(); got.Name() != "parked.10.db" || got.Rows() != 2 || !got.Knows(90) || !got.Knows(91) || !got.Knows(100) {
			t.Errorf("%s has %d", got.Name(), got.Rows())
		}
		for id, events := range map[string]int{"both": 2, "nine": 1} {
			if v, err := db.Get(ctx, id); err != nil || len(v.Transitions) != events {
				t.Errorf("%s: %+v %v", id, v, err)
			}
		}
		if left := db.compact.Unreadable(); len(left) > 0 {
			t.Error(left)
		}
		db.crash(t)
	}
	if found, err := filepath.Glob(filepath.Join(live, "parked.*.db")); err != nil || len(found) != 1 {
		t.Error(fmt.Sprint(found), err)
	}
}
