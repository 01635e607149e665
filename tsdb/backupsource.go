package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"daybook/blocks"
)

// markSource begins the line of the marker that says of which directory the
// backup is.
const markSource = "source: "

// otherSourceError is returned for a backup of one data directory into that of
// another.
type otherSourceError struct{ dest, source, dir string }

func (e *otherSourceError) Error() string {
	return fmt.Sprintf("%s is the backup of another data directory, %s, and has no day of %s: choose another directory "+
		"(if it is the same one, moved, write its path into the line %q of %s)", e.dest, e.source, e.dir, markSource+"…", filepath.Join(e.dest, backupMarker))
}

// sameSource refuses a backup into that of another data directory. A directory
// has no name but its path, and may have been moved: then it has days that the
// backup has, too. Where the backup has none to compare, the other directory
// has to be there still. It changes nothing.
func sameSource(dir, dest string) error {
	source, err := sourceOf(dest)
	if err != nil || source == "" {
		return err
	}
	if same, err := isSource(dir, dest); same || err != nil {
		return err
	}
	_, err = os.Stat(source)
	other := err == nil && isDataDir(source) == nil
	days, err := sealedIn(dest)
	if err != nil {
		return err
	}
	if known, err := sharesDay(dir, dest); known || err != nil {
		return err
	}
	if !other && len(days) == 0 {
		return nil
	}
	return &otherSourceError{dest, source, dir}
}

// isSource reports whether a data directory is the one that a backup names.
func isSource(dir, dest string) (bool, error) {
	source, err := sourceOf(dest)
	if err != nil || source == "" {
		return false, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil || abs == source {
		return err == nil, err
	}
	here, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	there, err := os.Stat(source)
	return err == nil && os.SameFile(here, there), nil
}

// sharesDay reports whether a backup has a sealed day that a data directory has, too.
func sharesDay(dir, dest string) (bool, error) {
	days, err := sealedIn(dest)
	for _, name := range days {
		rel := filepath.Join("days", name)
		if sameDay(filepath.Join(dir, rel), filepath.Join(dest, rel)) {
			return true, nil
		}
	}
	return false, err
}

// sealedIn are the names of the sealed days of a directory.
func sealedIn(dir string) (names []string, err error) {
	entries, err := readDir(filepath.Join(dir, "days"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if _, _, ok := blocks.ParseSealedName(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// sourceOf is the source that the marker of a backup names; empty if it is of
// one that was killed before it had written it.
func sourceOf(dest string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dest, backupMarker))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if quoted, ok := strings.CutPrefix(line, markSource); ok {
			if source, err := strconv.Unquote(strings.TrimSpace(quoted)); err == nil {
				return source, nil
			}
			return strings.TrimSpace(quoted), nil // written by hand
		}
	}
	return "", nil
}

// sameDay reports whether two files are one, or have the same checksum.
func sameDay(a, b string) bool {
	if sameFile(a, b) {
		return true
	}
	sumA, errA := os.ReadFile(a + ".sha256")
	sumB, errB := os.ReadFile(b + ".sha256")
	return errA == nil && errB == nil && exists(a) && exists(b) && string(sumA) == string(sumB)
}
