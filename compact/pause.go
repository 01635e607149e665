package compact

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"daybook/tsdb/fault"
)

// A pause of deletion outlives a restart: who has restored days, or mended a clock,
// restarts more than once. It stands in LOCK, behind the daemon's number, where
// writing takes no room on a full disk.
const (
	pauseAt   = 21 // behind the number and its line break
	pauseText = "paused until "
	pauseLen  = len(pauseText) + 21
)

// notePause writes until when deletion is paused.
func notePause(lock string, until time.Time) (err error) {
	if err := fault.Op("write", lock); err != nil {
		return err
	}
	f, err := os.OpenFile(lock, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nobody has locked the directory
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%s%-20d\n", pauseText, until.Unix()), pauseAt)
	return errors.Join(err, f.Close())
}

// notedPause is the pause that a daemon has noted; zero if none is under way.
func notedPause(lock string, now time.Time) time.Time {
	f, err := os.Open(lock)
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	b := make([]byte, pauseLen)
	if _, err := f.ReadAt(b, pauseAt); err != nil {
		return time.Time{}
	}
	text, ok := strings.CutPrefix(string(b), pauseText)
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	until := time.Unix(seconds, 0)
	if !ok || err != nil || !until.After(now) || until.Sub(now) > clockPause {
		return time.Time{} // or it is of a clock that was wrong
	}
	return until
}
