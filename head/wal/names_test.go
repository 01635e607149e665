package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func headerOfVersion(magic [8]byte, v uint32) []byte {
	b := header{number: 7, salt: 1}.encode(magic)
	binary.LittleEndian.PutUint32(b[8:], v)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	return append(b, "whatever the future holds"...)
}

func TestNewerVersion(t *testing.T) {
	for _, name := range []string{"00000007", "checkpoint.00000007"} {
		dir := t.TempDir()
		magic := segmentMagic
		if strings.HasPrefix(name, checkpointPrefix) {
			magic = checkpointMagic
		}
		b := headerOfVersion(magic, formatVersion+1)
		for n, content := range map[string][]byte{name: b, "00000006.tmp": []byte("x")} {
			if err := os.WriteFile(filepath.Join(dir, n), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(dir, Options{})
		var ve *VersionError
		if !errors.As(err, &ve) || ve.Version != formatVersion+1 || ve.File != filepath.Join(dir, name) {
			t.Fatalf("%v", err)
		}
		if _, err := Read(dir, nil, func([]byte) error { return nil }); !errors.As(err, &ve) {
			t.Fatalf("%v", err)
		}
		names, _ := os.ReadDir(dir)
		if got, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(got, b) || len(names) != 2 {
			t.Fatal("something was changed")
		}
	}
}

func TestUnknownFiles(t *testing.T) {
	m, fsys := newModel(), newMemFS()
	names := []string{"README", "0000001", "000000001", "00000000", "notes.tmp", "00000003.bak", "checkpoint.3",
		"checkpoint.00000003.old", "-0000001", "+0000001", ".tmp"}
	var want []string
	for _, n := range names {
		path := filepath.Join(testDir, n)
		fsys.live[path] = &memFile{data: []byte(n)}
		want = append(want, path)
	}
	for _, n := range []string{"00000009.tmp", "checkpoint.00000009.tmp"} {
		fsys.live[filepath.Join(testDir, n)] = &memFile{}
	}
	slices.Sort(want)
	l, st, err := m.open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(st.Unknown, want) || len(fsys.live) != len(want) {
		t.Fatalf("%q", st.Unknown)
	}
	m.work(l, 10)
	l.Close()
	for _, path := range want {
		if f := fsys.live[path]; f == nil || string(f.data) != filepath.Base(path) {
			t.Fatal(path)
		}
	}
}

func TestNames(t *testing.T) {
	for _, n := range []uint64{1, 12, 99999999, 100000000, 1 << 62} {
		for name, want := range map[string]kind{segmentName(n): kindSegment, checkpointName(n): kindCheckpoint,
			segmentName(n) + tmpSuffix: kindTmp, checkpointName(n) + damagedSuffix: kindDamaged} {
			if k, got := parseName(name); k != want || got != n {
				t.Errorf("%s: %v %d", name, k, got)
			}
		}
	}
	if fmt.Sprintf("%v %v", SyncInterval, SyncPolicy(9)) != "interval SyncPolicy(9)" {
		t.Error("names of policies")
	}
}
