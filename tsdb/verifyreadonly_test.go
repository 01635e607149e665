package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"daybook/blocks"
	"daybook/compact"
)

// What nobody writes is checked and analyzed also where nothing can be written, and
// nothing appears beside it.
func TestVerifyReadOnlyDisk(t *testing.T) {
	t.Parallel()
	for _, disk := range []string{"writable", "read-only", "full"} {
		t.Run(disk, func(t *testing.T) {
			c := &testClock{at: noon}
			o := testOptions(smallDisk(t, "32m"), c)
			db := start(t, o)
			ctx := context.Background()
			fill(t, db, noon.Add(-24*time.Hour), 100)
			if _, err := db.Cut(ctx, true); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, db, finished("a", noon), started("b", noon))
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			switch disk {
			case "read-only":
				if err := syscall.Mount("", o.Dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
					t.Skipf("needs a kernel that lets root remount a file system: %v", err)
				}
			case "full":
				fillDisk(t, o.Dir)
			}
			db, err := OpenReadOnly(o)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if found := findings(t, db); len(found) > 0 {
				t.Errorf("%+v", found)
			}
			a, err := Analyze(ctx, o.Dir, "2026-11-23")
			if err != nil || len(a.Files) != 1 || a.Files[0].Rows != 1 {
				t.Errorf("%+v %v", a, err)
			}
			sides, err := filepath.Glob(filepath.Join(o.Dir, "live", "*-*-*-*")) // -wal and -shm
			more, _ := filepath.Glob(filepath.Join(o.Dir, "live", "parked*-*"))
			if err != nil || len(sides)+len(more) > 0 {
				t.Errorf("left beside the files: %v %v %v", sides, more, err)
			}
		})
	}
}

// What a killed daemon has left needs a writable directory to be read. That is a
// finding about each such file, and the rest is checked.
func TestVerifyReadOnlyWAL(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(smallDisk(t, "32m"), c)
	db := start(t, o)
	ctx := context.Background()
	fill(t, db, noon.Add(-24*time.Hour), 100)
	if _, err := db.Cut(ctx, true); err != nil {
		t.Fatal(err)
	}
	db.compact.Settle()
	mustAppend(t, db, finished("a", noon))
	if _, err := db.Cut(ctx, false); err != nil {
		t.Fatal(err)
	}
	far := o
	far.Dir = smallDisk(t, "32m")
	if err := os.CopyFS(far.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	indexes, err := filepath.Glob(filepath.Join(far.Dir, "live", "*-shm"))
	if err != nil || len(indexes) == 0 {
		t.Fatal(indexes, err)
	}
	for _, path := range indexes {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(far.Dir, "days", "odd"), nil, 0o600); err != nil { // is found, too
		t.Fatal(err)
	}
	if err := syscall.Mount("", far.Dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("needs a kernel that lets root remount a file system: %v", err)
	}
	db, err = OpenReadOnly(far)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := fmt.Sprint(findings(t, db))
	for _, want := range []string{"2026-11-23", "parked", "copy the whole directory", "not the name of a day file"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	live, err := filepath.Glob(filepath.Join(far.Dir, "live", "2026-11-23*.db"))
	if err != nil || len(live) != 1 {
		t.Fatal(live, err)
	}
	found, err := blocks.CheckFile(ctx, live[0], true)
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Remedy, "copy the whole directory") {
		t.Errorf("%+v %v", found, err)
	}
}

// Advice fits the error: what the system does not give is no reason to move a file
// away, and advice that the reason gives is given once.
func TestRemedies(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		err       error
		want, but string
	}{
		{syscall.ENOSPC, "make room", "move it"},
		{fmt.Errorf("opening x: %w", syscall.EDQUOT), "make room", "move it"},
		{syscall.EACCES, "right to read", "move it"},
		{syscall.EMFILE, "ulimit", "move it"},
		{syscall.EIO, "kernel", "move it"},
		{&compact.AdvisedError{Reason: "it is odd", Advice: "wait"}, "wait", "move it"},
		{&blocks.ForeignError{Path: "x", Reason: "no"}, "move it", "room"},
	} {
		if got := remedy(x.err); !strings.Contains(got, x.want) || strings.Contains(got, x.but) {
			t.Errorf("%v: %q", x.err, got)
		}
	}
}
