package tsdb

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"daybook/blocks"
)

// unreadFor is how long it is told that a day's file could not be read: nobody
// tries again but who asks for the day, so that nothing says that it is over.
const unreadFor = time.Hour

// unread are the files of days that could be opened and then, when they were
// asked, not read: a disk that fails, or bytes that have changed since the start.
type unread struct {
	mu    sync.Mutex
	files map[string]*unreadFile // by path
}

type unreadFile struct {
	err    error
	at     time.Time // last
	logged time.Time
}

// leftOut names the files that a view had to leave out, for the answer. It notes
// them for Health, and logs each once a minute at most.
func (db *DB) leftOut(view *blocks.View) []string {
	for path, err := range view.LeftOut() {
		db.noteUnread(path, err)
	}
	return view.Unreadable()
}

func (db *DB) noteUnread(path string, err error) {
	now := db.opts.Now()
	u := &db.unread
	u.mu.Lock()
	x := u.files[path]
	if x == nil {
		if u.files == nil {
			u.files = map[string]*unreadFile{}
		}
		x = &unreadFile{}
		u.files[path] = x
	}
	x.err, x.at = err, now
	say := now.Sub(x.logged).Abs() >= failureLogged
	if say {
		x.logged = now
	}
	u.mu.Unlock()
	if say {
		level.Error(db.logger).Log("msg", "a file could not be read: answers leave it out", "path", path, "err", oneLine(err))
	}
}

// unreadFiles are those of the last hour that are still in use, by path, with
// what Health says of them. Those that a sealing has replaced or retention
// deleted meanwhile are in nobody's way.
func (db *DB) unreadFiles() map[string]string {
	now := db.opts.Now()
	u := &db.unread
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.files) == 0 {
		return nil
	}
	used := map[string]bool{}
	view := db.catalog.View()
	defer view.Release()
	for _, d := range view.Days() {
		if d.Sealed != nil {
			used[d.Sealed.Path()] = true
		}
		if d.Live != nil {
			used[d.Live.Path()] = true
		}
	}
	maps.DeleteFunc(u.files, func(path string, x *unreadFile) bool { return !used[path] || now.Sub(x.at).Abs() >= unreadFor })
	out := make(map[string]string, len(u.files))
	for path, x := range u.files {
		out[path] = fmt.Sprintf("%s could not be read when it was last asked, at %s: %s", db.relative(path), x.at.UTC().Format(time.RFC3339), oneLine(x.err))
	}
	return out
}

// unreadReasons is what Health says of unreadFiles, in the order of their names.
func (db *DB) unreadReasons() []string {
	files := db.unreadFiles()
	paths := slices.SortedFunc(maps.Keys(files), cmp.Compare[string])
	reasons := make([]string, 0, len(paths))
	for _, path := range paths {
		reasons = append(reasons, files[path])
	}
	return reasons
}

// relative is a path as users know it.
func (db *DB) relative(path string) string {
	if rel, err := filepath.Rel(db.opts.Dir, path); err == nil {
		return rel
	}
	return path
}
