package tsdb

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// A replay that cuts as it goes must not give its cuts the ids of records that
// it has not read yet: one of a cut that a crash prevented would then look done.
func TestReplayCutsUnderNewIDs(t *testing.T) {
	t.Parallel()
	c := &testClock{at: noon}
	o := testOptions(t.TempDir(), c)
	db := start(t, o)
	for i := range 60 {
		mustAppend(t, db, finished(fmt.Sprint("f", i), noon.Add(time.Duration(i)*time.Millisecond)))
	}
	ready := db.cuttable().Ready(true, 100)
	cut := db.cuttable().BeginCut(ready[0].Inv.Day(), ready[59:], true)
	if err := db.cuttable().SyncCut(cut); err != nil || len(cut.Rows) != 1 {
		t.Fatal(len(cut.Rows), err)
	}
	want := contents(t, db)
	db.crash(t)
	for _, most := range []int64{20, 10} {
		o.HeadMaxRecords = most
		db = start(t, o)
		sameContents(t, fmt.Sprint("a head of ", most), contents(t, db), want)
		db.crash(t)
	}
}

// What a replay passed over is told: bytes that nobody was promised, and files
// that are not the log's.
func TestReplayTellsWhatItLeft(t *testing.T) {
	t.Parallel()
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
