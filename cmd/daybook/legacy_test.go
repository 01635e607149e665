package main_test

import (
	"compress/bzip2"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// unpacked is a legacy database as it was captured, with its -wal if it has one.
func unpacked(t *testing.T, packed, dir string) string {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(packed), ".bz2")
	for _, side := range []string{"", "-wal"} {
		in, err := os.Open(filepath.Join(filepath.Dir(packed), name+side+".bz2"))
		if errors.Is(err, os.ErrNotExist) && side != "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(dir, name+side))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, bzip2.NewReader(in))
		if err := errors.Join(err, out.Close(), in.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}

// TestLegacyToolsWithoutData looks at files before there is a data directory.
func TestLegacyToolsWithoutData(t *testing.T) {
	t.Parallel()
	packed, err := filepath.Glob("../../blocks/testdata/legacy/*.db.bz2")
	if err != nil || len(packed) != 9 {
		t.Fatal(err, packed)
	}
	dir := t.TempDir()
	nowhere := "--storage.path=" + filepath.Join(dir, "nope")
	for _, p := range packed {
		path := unpacked(t, p, dir)
		out := tool(t, "verify", path, nowhere)
		if !strings.HasSuffix(out, "no findings\n") || strings.Contains(out, "sha256") {
			t.Errorf("verify %s: %s", p, out)
		}
	}
	one, other := filepath.Join(dir, "gen2-crash-small.db"), filepath.Join(dir, "gen3-rollback-small.db")
	want := strings.Count(tool(t, "dump", one, nowhere), "\n")
	seen := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(tool(t, "dump", one, other, nowhere), "\n"), "\n")
	for _, line := range lines {
		v, err := task.ParseJSON([]byte(line))
		if err != nil || seen[v.TaskID] {
			t.Fatalf("twice, or %v: %s", err, line)
		}
		seen[v.TaskID] = true
	}
	if want == 0 || len(lines) != want {
		t.Errorf("%d lines of two files with the same %d ids", len(lines), want)
	}
	foreign := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(foreign, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, code := command(t, nil, "verify", foreign, nowhere); code != 1 || !strings.Contains(out, "not a SQLite database") {
		t.Errorf("a foreign file: %d %s", code, out)
	}
	if _, errOut, code := command(t, nil, "verify", "2026-11-23", nowhere); code != 1 || !strings.Contains(errOut, "no data directory") {
		t.Errorf("a day of no directory: %d %s", code, errOut)
	}
	if exists(filepath.Join(dir, "nope")) {
		t.Error("a data directory was made")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
