package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// CaptureDir is Capture for a data directory that another process may be
// using. There is no moment to be had from it, so it is made sure afterwards
// that there was one: the names are what they were before, and no live file
// has been written since its transaction began. Otherwise it returns ErrMoved.
//
// listing is what Listing said before the log was read.
func CaptureDir(ctx context.Context, dir, listing string, to CaptureTo) (k *Capture, err error) {
	if k, err = newCapture(to); err != nil {
		return nil, err
	}
	k.beside = true
	defer func() {
		if err != nil {
			// SQLite has many words for a file that is not there any more.
			if now, listErr := Listing(dir); listErr == nil && now != listing && !errors.Is(err, ErrMoved) {
				err = fmt.Errorf("%w: %w", ErrMoved, err)
			}
			err = errors.Join(err, k.Close())
			k = nil
		}
	}()
	absorbed, err := k.lookForDays(filepath.Join(dir, "days"), filepath.Join(dir, "live"))
	if err != nil {
		return k, err
	}
	live, err := k.lookForLive(filepath.Join(dir, "live"), absorbed)
	if err != nil {
		return k, err
	}
	if err := k.holdFiles(dir); err != nil {
		return k, err
	}
	if err := k.holdLiveTogether(ctx, live); err != nil {
		return k, err
	}
	now, err := Listing(dir)
	if err == nil && now != listing {
		err = fmt.Errorf("%w: files came or went", ErrMoved)
	}
	return k, err
}

// pinTries bounds how often a moment between two commits is looked for.
const pinTries = 100

// holdLiveTogether holds the live files as they were at one moment.
func (k *Capture) holdLiveTogether(ctx context.Context, paths []string) error {
	for try := 1; ; try++ {
		if err := k.holdLive(ctx, paths); err != nil {
			return err
		}
		name, err := k.written(ctx)
		if err != nil || name == "" {
			return err
		}
		if try == pinTries {
			return fmt.Errorf("%w: %s", ErrMoved, name)
		}
		if err := errors.Join(k.releaseLive(), ctx.Err()); err != nil {
			return err
		}
	}
}

// written names a live file that was written since it is held.
func (k *Capture) written(ctx context.Context) (string, error) {
	for _, p := range k.live {
		if newest, err := p.Newest(ctx); err != nil || !newest {
			return p.Name(), err
		}
	}
	return "", nil
}

// lookForDays picks the highest readable generation of every day, but none
// that the daemon has not published: its live file goes on. It returns the names
// of the files that they replace.
func (k *Capture) lookForDays(dir, live string) (absorbed map[string]bool, err error) {
	absorbed = map[string]bool{}
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	byDay := map[task.Day][]*blocks.Sealed{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), checksumSuffix) {
			continue
		}
		d, _, ok := blocks.ParseSealedName(e.Name())
		if !ok {
			k.unreadable[filepath.Join("days", e.Name())] = errors.New("not the name of a day file")
			continue
		}
		k.present[d] = true
		s, err := blocks.OpenSealed(filepath.Join(dir, e.Name()))
		switch {
		case err == nil:
			byDay[d] = append(byDay[d], s)
		case notUnderstood(err) || blocks.Lasting(err):
			k.unreadable[filepath.Join("days", e.Name())] = err
		default: // it is gone, or can be opened in a moment: a backup without it would seem to be whole
			return nil, err
		}
	}
	for _, name := range lostDays(filepath.Dir(dir), dir, entries) {
		d, _, _ := blocks.ParseSealedName(name)
		k.present[d] = true // what an earlier copy has of it is to stay
		k.unreadable[filepath.Join("days", name)] = errLost
	}
	// After days/: who mends a day moves its file from there to quarantine, and then has
	// nothing but an earlier copy to put in its place. (Back again is a change of Listing.)
	var aside map[string]bool
	aside, k.asideErr = quarantined(filepath.Dir(dir))
	for name := range aside {
		d, _, _ := blocks.ParseSealedName(name)
		k.present[d] = true
	}
	for d, gens := range byDay {
		slices.SortFunc(gens, func(a, b *blocks.Sealed) int { return b.Generation() - a.Generation() })
		for {
			is, err := unpublished(gens, live, blocks.OpenLiveReadOnly)
			if err != nil {
				return nil, err
			}
			if !is {
				break
			}
			gens = gens[1:]
		}
		if len(gens) == 0 {
			continue
		}
		k.days[d] = gens[0].Name()
		for name := range gens[0].Absorbed() {
			absorbed[name] = true
		}
	}
	return absorbed, nil
}

// lookForLive lists the live files that no sealed one has replaced.
func (k *Capture) lookForLive(dir string, absorbed map[string]bool) (paths []string, err error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".db") {
			continue // the sides of a live file, or one being made
		}
		d, _, live := blocks.ParseLiveName(e.Name())
		_, parked := blocks.ParseParkedName(e.Name())
		switch {
		case live:
			k.present[d] = true
		case !parked:
			k.unreadable[filepath.Join("live", e.Name())] = errors.New("not the name of a live file")
			continue
		}
		if !absorbed[e.Name()] {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// readDir is os.ReadDir of a directory that need not be there.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
