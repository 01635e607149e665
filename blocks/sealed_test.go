package blocks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dirState is every name and content below a directory. The directories it is
// used on have no file that this process has open.
func dirState(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || fi.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %s %x\n", path, fi.Mode(), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// sample are the bytes of a small sealed file, a live one and a parked one.
func sample(t *testing.T) (sealed, live, parked []byte) {
	t.Helper()
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	if err := l.Apply(context.Background(), newLoad(2, testDay, 1000).batch(1, 500)); err != nil {
		t.Fatal(err)
	}
	s := seal(t, dir, SealInput{Generation: 1, Live: l})
	p, err := CreateParked(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	closeAll(t, l, s, p)
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return read(s.Path()), read(l.Path()), read(p.Path())
}

// changed is data with bytes at a place replaced.
func changed(data []byte, at int, with ...byte) []byte {
	out := append([]byte(nil), data...)
	copy(out[at:], with)
	return out
}

// TestWhatIsNotADayFileIsLeftAlone opens and checks files of every wrong kind:
// the error has a type, and no byte and no name changes.
func TestWhatIsNotADayFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	sealed, live, parked := sample(t)
	foreign := foreignFile(t)
	type files map[string][]byte
	const name = "2026-11-23.db"
	for what, c := range map[string]struct {
		files files
		path  string
		want  any
	}{
		"nothing":          {files{name: nil}, name, new(*ForeignError)},
		"text":             {files{name: []byte(strings.Repeat("not a database\n", 1000))}, name, new(*ForeignError)},
		"half a header":    {files{name: sealed[:50]}, name, new(*DamagedError)},
		"cut in a page":    {files{name: sealed[:len(sealed)-1000]}, name, new(*DamagedError)},
		"cut at a page":    {files{name: sealed[:len(sealed)-4096]}, name, new(*DamagedError)},
		"one page":         {files{name: sealed[:4096]}, name, new(*DamagedError)},
		"foreign":          {files{name: foreign}, name, new(*ForeignError)},
		"newer":            {files{name: changed(sealed, 60, 0, 0, 0, 9)}, name, new(*VersionError)},
		"version nothing":  {files{name: changed(sealed, 60, 0, 0, 0, 0)}, name, new(*ForeignError)},
		"live":             {files{name: live}, name, new(*ForeignError)},
		"another day":      {files{"2026-11-22.db": sealed}, "2026-11-22.db", new(*ForeignError)},
		"generation":       {files{"2026-11-23.2.db": sealed}, "2026-11-23.2.db", new(*ForeignError)},
		"no day":           {files{"2026-13-23.db": sealed}, "2026-13-23.db", new(*ForeignError)},
		"with a WAL":       {files{name: sealed, name + "-wal": []byte("x")}, name, new(*UnsafeError)},
		"with a journal":   {files{name: sealed, name + "-journal": nil}, name, new(*UnsafeError)},
		"schema gone":      {files{name: changed(sealed, 110, make([]byte, 3000)...)}, name, new(*DamagedError)},
		"parked elsewhere": {files{name: parked}, name, new(*ForeignError)},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before := dirState(t, dir)
			s, err := OpenSealed(filepath.Join(dir, c.path))
			if s != nil || !errors.As(err, c.want) {
				t.Errorf("%T %v, want %T", err, err, c.want)
			}
			for _, deep := range []bool{false, true} {
				findings, err := CheckFile(context.Background(), filepath.Join(dir, c.path), deep)
				bad := 0
				for _, f := range findings {
					if !f.Note && f.Problem != "" && f.Remedy != "" {
						bad++
					}
				}
				if err != nil || bad == 0 {
					t.Errorf("the check finds %+v %v", findings, err)
				}
			}
			if after := dirState(t, dir); after != before {
				t.Errorf("was\n%sis\n%s", before, after)
			}
		})
	}
}

// TestWhatIsNotALiveFileIsLeftAlone is the same for live and parked files.
func TestWhatIsNotALiveFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	sealed, live, parked := sample(t)
	foreign := foreignFile(t)
	for what, c := range map[string]struct {
		data []byte
		want any
	}{
		"nothing":   {nil, new(*ForeignError)},
		"text":      {[]byte(strings.Repeat("not a database\n", 1000)), new(*ForeignError)},
		"cut":       {live[:len(live)-5000], new(*DamagedError)},
		"foreign":   {foreign, new(*ForeignError)},
		"newer":     {changed(live, 60, 0, 0, 0, 9), new(*VersionError)},
		"truncated": {live[:4096], new(*DamagedError)},
	} {
		t.Run(what, func(t *testing.T) {
			for _, name := range []string{"2026-11-23.1.db", "parked.1.db"} {
				dir := liveDir(t)
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, c.data, 0o644); err != nil {
					t.Fatal(err)
				}
				before := dirState(t, dir)
				var err error
				if name == "parked.1.db" {
					_, err = OpenParked(path)
				} else {
					_, err = OpenLive(path)
				}
				if !errors.As(err, c.want) {
					t.Errorf("%s: %T %v, want %T", name, err, err, c.want)
				}
				if findings, err := CheckFile(context.Background(), path, true); err != nil || len(findings) == 0 {
					t.Errorf("%s: the check finds %+v %v", name, findings, err)
				}
				if after := dirState(t, dir); after != before {
					t.Errorf("was\n%sis\n%s", before, after)
				}
			}
		})
	}
	for name, data := range map[string][]byte{"2026-11-24.1.db": live, "2026-11-23.1.db": sealed, "parked.1.db": live, "2026-11-23.2.db": parked} {
		path := filepath.Join(liveDir(t), name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := OpenLive(path)
		if name == "parked.1.db" {
			_, err = OpenParked(path)
		}
		var foreign *ForeignError
		if !errors.As(err, &foreign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// foreignFile is somebody else's database, in WAL mode.
func foreignFile(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	c, err := openFile(path, modeCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script("PRAGMA journal_mode=WAL; CREATE TABLE invocation (x); INSERT INTO invocation VALUES (1)"), c.close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDamageNeverPanics flips bytes all over a sealed file: checking it ends,
// with or without findings. A number that became another number is only found
// by the checksum.
func TestDamageNeverPanics(t *testing.T) {
	t.Parallel()
	sealed, _, _ := sample(t)
	path := filepath.Join(t.TempDir(), "2026-11-23.db")
	found, flips := 0, 0
	for at := 0; at < len(sealed); at += 1 + len(sealed)/150 {
		if err := os.WriteFile(path, changed(sealed, at, sealed[at]^0x55), 0o644); err != nil {
			t.Fatal(err)
		}
		findings, err := CheckFile(context.Background(), path, true)
		if err != nil {
			t.Errorf("byte %d: %v", at, err)
		}
		flips++
		for _, f := range findings {
			if !f.Note {
				found++
				break
			}
		}
	}
	t.Logf("%d of %d flipped bytes were found without a checksum", found, flips)
	if found < flips/3 {
		t.Errorf("only %d of %d flipped bytes were found", found, flips)
	}
	if err := WriteChecksum(path, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, sealed, 0o644); err != nil {
		t.Fatal(err)
	}
	if findings, err := CheckFile(context.Background(), path, false); err != nil || len(findings) != 1 || findings[0].Note {
		t.Errorf("a wrong checksum: %+v %v", findings, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"2026-11-22.db": "2026-11-22 1", "2026-11-22.2.db": "2026-11-22 2", "2026-11-22.1.db": "", "2026-11-22.02.db": "",
		"2026-11-22.0.db": "", "2026-11-22.-2.db": "", "2026-11-22": "", "2026-02-30.db": "", "2026-11-22.db.sha256": "", "x.db": "", ".db": "", "2026-11-22..db": "",
	} {
		day, generation, ok := ParseSealedName(name)
		if got := fmt.Sprint(day, generation); ok != (want != "") || ok && (got != want || SealedName(day, generation) != name) {
			t.Errorf("%s: %s %v", name, got, ok)
		}
	}
	for name, want := range map[string]bool{"2026-11-22.1.db": true, "2026-11-22.12.db": true, "2026-11-22.db": false, "2026-11-22.1.db-wal": false, "parked.1.db": false, "2026-11-22.1.db.tmp": false} {
		if _, _, ok := ParseLiveName(name); ok != want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	for name, want := range map[string]bool{"parked.1.db": true, "parked.0.db": false, "parked.db": false, "parked.01.db": false} {
		if _, ok := ParseParkedName(name); ok != want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestSealedSurvivesAReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	if err := l.Apply(context.Background(), newLoad(2, testDay, 1000).batch(1, 100)); err != nil {
		t.Fatal(err)
	}
	days := t.TempDir()
	s := seal(t, days, SealInput{Generation: 1, Live: l, At: time.Now()})
	closeAll(t, l, s)
	if err := os.Chmod(days, 0o555); err != nil {
		t.Fatal(err)
	}
	before := dirState(t, days)
	s, err := OpenSealed(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LoadFilter(); err != nil {
		t.Fatal(err)
	}
	requireSound(t, s.Path())
	closeAll(t, s)
	if after := dirState(t, days); after != before {
		t.Errorf("was\n%sis\n%s", before, after)
	}
	if err := os.Chmod(days, 0o755); err != nil {
		t.Fatal(err)
	}
}
