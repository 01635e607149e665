package blocks

import (
	"context"
	"testing"
)

// An analysis of a legacy file counts every invocation once, whatever its
// schema, and adds up.
func TestAnalyzeLegacy(t *testing.T) {
	for _, name := range []string{"gen1-small.db", "gen2-small.db", "gen3-small.db"} {
		path := legacyFixture(t, t.TempDir(), name)
		a, err := Analyze(context.Background(), path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(a.Files) != 1 || a.Files[0].Kind != kindLegacy || a.All.Rows != 1957 && a.All.Rows != 1953 || a.Files[0].Rows != a.All.Rows {
			t.Errorf("%s: %+v", name, a.Files)
		}
		for i, kind := range []string{"task_name", "worker", "queue", "exception_type"} {
			var rows, bytes int64
			for _, u := range a.By[i] {
				rows, bytes = rows+u.Rows, bytes+u.DetailBytes
			}
			if rows != a.All.Rows || bytes != a.All.DetailBytes {
				t.Errorf("%s by %s: %d rows and %d bytes, in all %d and %d", name, kind, rows, bytes, a.All.Rows, a.All.DetailBytes)
			}
		}
		if len(a.Largest) != largestRows || a.Largest[0].DetailBytes < a.Largest[1].DetailBytes {
			t.Errorf("%s: largest %+v", name, a.Largest)
		}
	}
}
