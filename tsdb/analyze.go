package tsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"daybook/blocks"
	"daybook/tsdb/task"
)

// Analyze says what fills a day (YYYY-MM-DD) of a data directory, or a file (a
// path). It needs no DB: no other file is read, the log is not, and it may run
// beside a daemon.
func Analyze(ctx context.Context, dir, target string) (*blocks.Analysis, error) {
	d, err := task.ParseDay(target)
	if err != nil {
		if err := oneFile(target); err != nil {
			return nil, err
		}
		return blocks.Analyze(ctx, target)
	}
	for try := 1; ; try++ {
		paths, err := dayPaths(dir, d)
		if err == nil && len(paths) == 0 {
			if err := wantData(dir); err != nil {
				return nil, fmt.Errorf("open %s: %w", dir, err)
			}
			return nil, fmt.Errorf("there is no day %s here: daybook ls shows the days", d)
		}
		var a *blocks.Analysis
		if err == nil {
			a, err = blocks.Analyze(ctx, paths...)
		}
		// A daemon may seal the day meanwhile, or begin to write it.
		if err == nil || try == listTries || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, blocks.ErrChanged) {
			return a, err
		}
	}
}

// dayPaths lists the files of a day without opening those of others: the newest
// generation, and the live files that it has not taken in.
func dayPaths(dir string, d task.Day) ([]string, error) {
	var out []string
	absorbed := map[string]uint64{}
	newest, sealed := 0, ""
	days := filepath.Join(dir, "days")
	if !exists(days) && !exists(filepath.Join(dir, "live")) {
		days = dir // copied day files without a directory around them
	}
	err := eachName(days, func(name string) {
		if day, generation, ok := blocks.ParseSealedName(name); ok && day == d && generation > newest {
			newest, sealed = generation, filepath.Join(days, name)
		}
	})
	if err != nil {
		return nil, err
	}
	if sealed != "" {
		s, err := blocks.OpenSealed(sealed)
		if err != nil {
			return nil, err
		}
		absorbed = s.Absorbed()
		out = append(out, sealed)
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	err = eachName(filepath.Join(dir, "live"), func(name string) {
		if day, _, ok := blocks.ParseLiveName(name); ok && day == d {
			if _, gone := absorbed[name]; !gone {
				out = append(out, filepath.Join(dir, "live", name))
			}
		}
	})
	return out, err
}

// eachName calls fn for every name in a directory; there may be none.
func eachName(dir string, fn func(name string)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		fn(e.Name())
	}
	return err
}
