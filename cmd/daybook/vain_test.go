package main_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// TestNeverInVain has a disk that is too full although deleting days would not
// help, or does not show yet that it did: then no more days go.
func TestNeverInVain(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "64m")
	data := filepath.Join(dir, "data")
	today := thisDay(t)
	days := []task.Day{today - 3, today - 2, today - 1}
	r := rand.New(rand.NewPCG(1, 3))
	p := serve(t, data, append(smallFlags, "--retention.disk-usage=0")...)
	for _, d := range days {
		p.mustPost("/api/v1/invocations", bulky(r, d, 0, 3000)) // some 5 MB
	}
	eventually(t, "the days are sealed", func() error { return wants(len(sealedFiles(t, data)) == len(days)) })
	p.quit()
	var names []string
	for _, d := range days {
		names = append(names, d.String()+".db")
	}
	kept := func(what string, want []string) {
		t.Helper()
		if got := sealedFiles(t, data); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v are left, want %v", what, got, want)
		}
	}
	helpless := func(limit string) {
		t.Helper()
		p := serve(t, data, append(smallFlags, "--retention.disk-usage="+limit)...)
		rounds(t, data, 0)
		eventually(t, "health says that deleting does not help", func() error {
			h, _ := p.health()
			if !strings.Contains(strings.Join(h.Reasons, ";"), "would not bring it under") {
				return fmt.Errorf("%+v", h)
			}
			return nil
		})
		p.quit()
	}

	// What others have fills it: with all of our days gone it is still too full.
	filler := filepath.Join(dir, "somebody-elses")
	if err := os.WriteFile(filler, make([]byte, 36<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	helpless("50")
	kept("others fill the disk", names)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}

	// All days have another name in a backup.
	backup := filepath.Join(dir, "backup")
	tool(t, "backup", "--storage.path="+data, backup)
	helpless("5")
	kept("a backup has links to all days", names)
	if err := os.RemoveAll(backup); err != nil {
		t.Fatal(err)
	}

	// Somebody reads the oldest day: its bytes stay until it is closed.
	f, err := os.Open(filepath.Join(data, "days", names[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	used := usedPercent(t, dir)
	p = serve(t, data, append(smallFlags, fmt.Sprintf("--retention.disk-usage=%.2f", used-2))...)
	eventually(t, "the oldest goes", func() error { return wants(len(sealedFiles(t, data)) < len(days)) })
	rounds(t, data, 1)
	kept("the file system does not show it yet", names[1:])
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	rounds(t, data, 1)
	kept("it is enough", names[1:])
	if h, code := p.health(); code != http.StatusOK {
		t.Errorf("%d %+v", code, h)
	}
	p.quit()
	verified(t, data)
}

// sealedFiles are the names in days/ without checksums.
func sealedFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "days", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// rounds waits until retention has looked so many times: it notes the time in
// the LOCK file before each look.
func rounds(t *testing.T, dir string, n int) {
	t.Helper()
	stamp := func() time.Time {
		fi, err := os.Stat(filepath.Join(dir, "LOCK"))
		if err != nil {
			t.Fatal(err)
		}
		return fi.ModTime()
	}
	for seen := stamp(); n >= 0; n-- { // the last may be under way
		eventually(t, "retention looks", func() error { return wants(stamp().After(seen)) })
		seen = stamp()
	}
}

func usedPercent(t *testing.T, dir string) float64 {
	t.Helper()
	size, used := diskOf(t, dir)
	return 100 * float64(used) / float64(size)
}
