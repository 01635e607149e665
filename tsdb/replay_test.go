package tsdb

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-kit/log"
)

// What a replay passed over is told: bytes that nobody was promised, and files
// that are not the log's.
func TestReplayTellsWhatItLeft(t *testing.T) {
	o := testOptions(t.TempDir(), &testClock{at: noon})
	db := start(t, o)
	mustAppend(t, db, finished("a", noon))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "wal", "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o.Logger = log.NewLogfmtLogger(log.NewSyncWriter(&out))
	db = start(t, o)
	defer db.Close()
	if line := out.String(); !strings.Contains(line, "torn_bytes=0 abandoned_bytes=0 unknown_files=1") {
		t.Fatal(line)
	}
}
