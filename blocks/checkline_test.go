package blocks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What SQLite finds is told in one line.
func TestFindingsAreLines(t *testing.T) {
	t.Parallel()
	sealed, _, _ := sample(t)
	told := false
	for page := sealedPageBytes; page < len(sealed); page += sealedPageBytes {
		path := filepath.Join(t.TempDir(), "2026-11-23.db")
		if err := os.WriteFile(path, changed(sealed, page, make([]byte, 16)...), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := CheckFile(context.Background(), path, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			told = told || strings.HasPrefix(f.Problem, "SQLite finds: Tree ")
			if strings.ContainsAny(f.Problem+f.Remedy, "\n\r") || strings.Contains(f.Problem, "***") {
				t.Errorf("page at %d: %q", page, f.Problem)
			}
		}
	}
	if !told {
		t.Error("SQLite finds nothing")
	}
}

// A range of too many files is told how more can be attached only where that is possible.
func TestTooManyFilesAdvice(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		err   TooManyFilesError
		build bool
	}{{TooManyFilesError{Files: 12, Limit: 10}, true}, {TooManyFilesError{Files: 130, Limit: 125}, false}, {TooManyFilesError{Files: 12, Limit: 10, CLI: true}, false}} {
		if got := x.err.Error(); strings.Contains(got, "SQLITE_MAX_ATTACHED") != x.build || !strings.Contains(got, fmt.Sprintf("attaches %d: narrow", x.err.Limit)) {
			t.Error(got)
		}
	}
}
