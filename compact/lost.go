package compact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// errLost is why a sealed file is left out that is not there.
var errLost = &AdvisedError{"the file is gone, but its .sha256 is there: Daybook deletes that one first", "put the file back, from a backup say, while no daemon runs; delete the .sha256 if the day is not missed"}

// lostDays names the sealed files that somebody else than Daybook has taken away:
// a checksum is written after its file is there, and deleted before that goes. dir
// has the entries, and may be in use. A newer generation has what the older ones
// had; and what lies in quarantine is not lost.
func lostDays(root, dir string, entries []fs.DirEntry) (lost []string) {
	newest := map[task.Day]int{}
	for _, e := range entries {
		if d, gen, ok := blocks.ParseSealedName(e.Name()); ok {
			newest[d] = max(newest[d], gen)
		}
	}
	for _, e := range entries {
		name, _ := strings.CutSuffix(e.Name(), checksumSuffix)
		d, gen, ok := blocks.ParseSealedName(name)
		if !ok || gen <= newest[d] {
			continue
		}
		// Now, and in this order: a daemon may have published or deleted it meanwhile.
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || !exists(path+checksumSuffix) || quarantined(root, name) {
			continue
		}
		lost = append(lost, name)
	}
	return lost
}

// quarantined reports whether a sealed file was set aside, here or by a backup: a
// crash may have left its checksum where it was.
func quarantined(root, name string) bool {
	dir := filepath.Join(root, "quarantine")
	entries, _ := readDir(dir) // what cannot be read, Open tells
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name) || exists(filepath.Join(dir, e.Name(), "days", name)) {
			return true
		}
	}
	return false
}
