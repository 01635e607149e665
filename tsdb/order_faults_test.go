//go:build faults

package tsdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"daybook/tsdb/fault"
)

// journal is a hook that writes operations down.
type journal struct {
	dir string

	mu  sync.Mutex
	ops []string // "op path", in the order in which they were about to be done
}

func (j *journal) hook(op, path string) error {
	if rel, err := filepath.Rel(j.dir, path); err == nil && path != "" {
		path = rel
	}
	// Temporary names have a random part.
	if strings.HasPrefix(path, "tmp/seal-") {
		path = "tmp/seal"
	}
	if i := strings.Index(path, ".sha256."); i >= 0 {
		path = path[:i] + ".sha256"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ops = append(j.ops, op+" "+path)
	return nil
}

// take returns what was written down, and begins anew.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	ops := j.ops
	j.ops = nil
	return ops
}

// inOrder wants some operations among others, in this order. "…" at the end
// stands for any end; "!" before one wants none of it up to the next.
func inOrder(t *testing.T, what string, ops []string, want ...string) {
	t.Helper()
	at := 0
	var never []string
	match := func(op, want string) bool {
		prefix, some := strings.CutSuffix(want, "…")
		return op == want || some && strings.HasPrefix(op, prefix)
	}
	for _, w := range want {
		if no, ok := strings.CutPrefix(w, "!"); ok {
			never = append(never, no)
			continue
		}
		found := false
		for at < len(ops) && !found {
			for _, no := range never {
				if match(ops[at], no) {
					t.Errorf("%s: %s comes before %s:\n%s", what, ops[at], w, strings.Join(ops, "\n"))
				}
			}
			found = match(ops[at], w)
			at++
		}
		if !found {
			t.Fatalf("%s: no %s, or not after the one before it:\n%s", what, w, strings.Join(ops, "\n"))
		}
		never = nil
	}
	for _, op := range ops[at:] {
		for _, no := range never {
			if match(op, no) {
				t.Errorf("%s: %s comes last:\n%s", what, op, strings.Join(ops, "\n"))
			}
		}
	}
}

// TestOrderOnDisk holds the order of fsync, rename and unlink: content before its
// name, the name before what it replaces goes, and a checksum never without its file.
func TestOrderOnDisk(t *testing.T) {
	c := &testClock{at: noon}
	o := testOptions(filepath.Join(t.TempDir(), "data"), c)
	j := &journal{dir: o.Dir}
	far := filepath.Join(filepath.Dir(o.Dir), "far") // where nothing can be linked
	defer fault.Set(func(op, path string) error {
		if op == "link" && strings.HasPrefix(path, far) {
			return &os.LinkError{Op: op, New: path, Err: syscall.EXDEV}
		}
		return j.hook(op, path)
	})()
	db := start(t, o)
	ctx := context.Background()
	yesterday := noon.Add(-24 * time.Hour)
	cut := func(seal bool) {
		t.Helper()
		if _, err := db.Cut(ctx, seal); err != nil {
			t.Fatal(err)
		}
		db.compact.Settle()
	}
	j.take()
	mustAppend(t, db, finished("a", yesterday))
	inOrder(t, "append", j.take(), "log.write wal/00000001", "log.sync wal/00000001")

	cut(false)
	past := fmt.Sprintf("live/2026-11-22.%d.db", noon.Unix()) // numbers of past days are the time
	inOrder(t, "cut",
		j.take(),
		// the live file is whole before it has its name
		"sqlite.sync "+past+".tmp", "sync "+past+".tmp", "!link "+past, "point live.created",
		"link "+past, "remove "+past+".tmp", "syncdir live",
		// so is the name of its -wal before there is anything in it
		"!sqlite.write "+past+"-wal", "sqlite.open "+past+"-wal", "syncdir live",
		// the record, then the transaction
		"log.write wal/00000001", "!sqlite.write…", "log.sync wal/00000001", "point cut.logged",
		"sqlite.write "+past+"-wal", "!point cut.stored", "sqlite.sync "+past+"-wal", "point cut.stored")

	seal := func(what, point, name, live, old string) {
		t.Helper()
		ops := j.take()
		inOrder(t, what, ops,
			"point "+point+".begun", "!link…", "!remove live…", "sync tmp/seal", "point "+point+".built", "sync tmp/seal", "link days/"+name, "remove tmp/seal", "syncdir days",
			"!remove live…", "create days/"+name+".sha256", "write tmp/"+name+".sha256", "sync tmp/"+name+".sha256", "rename days/"+name+".sha256", "syncdir days",
			"point "+point+".published", "point live.closed", "remove live/"+live, "syncdir live")
		if old != "" {
			inOrder(t, what, ops, "!remove days…", "point "+point+".published", "point sealed.drained",
				"remove days/"+old+".sha256", "!remove days/"+old, "syncdir days", "point sealed.unsummed", "remove days/"+old, "syncdir days")
		}
	}
	cut(true)
	seal("seal", "seal", "2026-11-22.db", filepath.Base(past), "")
	mustAppend(t, db, finished("b", yesterday))
	cut(true)
	seal("seal again", "reseal", "2026-11-22.2.db", fmt.Sprintf("2026-11-22.%d.db", noon.Unix()+1), "2026-11-22.db")

	mustAppend(t, db, started("open", noon))
	j.take()
	if err := db.head.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	inOrder(t, "checkpoint", j.take(),
		"log.create wal/00000002.tmp", "log.write wal/00000002", "log.sync wal/00000002", "log.rename wal/00000002", "log.syncdir wal",
		"!log.rename wal/checkpoint…", "!log.remove…", "log.create wal/checkpoint.00000002.tmp", "log.write wal/checkpoint.00000002", "log.sync wal/checkpoint.00000002",
		"!log.remove…", "log.rename wal/checkpoint.00000002", "log.syncdir wal", "log.remove wal/00000001")

	mustAppend(t, db, finished("c", noon))
	dest := filepath.Join(filepath.Dir(o.Dir), "backup")
	for i := range 2 {
		j.take()
		if _, err := Backup(ctx, BackupOptions{Dir: o.Dir, Dest: dest, Now: c.now}); err != nil {
			t.Fatal(err)
		}
		what := []string{"create ../backup/days/unfinished-backup", "syncdir ../backup/days", "point backup.flagged",
			"rename ../backup/live", "syncdir ../backup", "rename ../backup/wal", "syncdir ../backup"}
		copies := []string{"!rename ../backup/live", "log.sync ../backup/tmp/backup/wal…", "point copy.captured",
			"syncdir ../backup/tmp/backup/live", "syncdir ../backup/tmp/backup", "point backup.copied"}
		if i == 0 {
			what = append(what, "rename ../backup/days/2026-11-22.2.db", "rename ../backup/days/2026-11-22.2.db.sha256", "syncdir ../backup/days")
		}
		if i > 0 { // a new one is unfinished from the beginning
			copies = append([]string{"!create ../backup/days/unfinished-backup"}, copies...)
		}
		what = append(what, "!rename ../backup/BACKUP", "point backup.tidied", "remove ../backup/days/unfinished-backup", "syncdir ../backup/days",
			"point backup.whole", "sync ../backup/tmp/BACKUP", "rename ../backup/BACKUP", "syncdir ../backup")
		ops := j.take()
		inOrder(t, fmt.Sprint("backup ", i), ops, append(copies, what...)...)
		// what a copy holds before it has its name
		copied := 0
		for _, op := range ops {
			if name, ok := strings.CutPrefix(op, "sqlite.open ../backup/tmp/backup/live/"); ok && strings.HasSuffix(name, ".db") {
				copied++
				inOrder(t, "a copied live file", ops, "sqlite.write ../backup/tmp/backup/live/"+name, "!syncdir ../backup/tmp/backup/live", "!rename ../backup/live", "sync ../backup/tmp/backup/live/"+name, "!sqlite.write ../backup/tmp/backup/live/"+name, "point backup.flagged")
			}
		}
		if copied == 0 {
			t.Errorf("no live file was copied:\n%s", strings.Join(ops, "\n"))
		}
	}
	if _, err := Backup(ctx, BackupOptions{Dir: o.Dir, Dest: far, Now: c.now}); err != nil {
		t.Fatal(err)
	}
	inOrder(t, "a copied day", j.take(), "create ../far/tmp/backup/days/2026-11-22.2.db", "write ../far/tmp/backup/days/2026-11-22.2.db", "!create ../far/days/unfinished-backup", "sync ../far/tmp/backup/days/2026-11-22.2.db", "!write ../far/tmp/backup/days/2026-11-22.2.db",
		"write ../far/tmp/backup/days/2026-11-22.2.db.sha256", "sync ../far/tmp/backup/days/2026-11-22.2.db.sha256", "syncdir ../far/tmp/backup/days",
		"create ../far/days/unfinished-backup", "rename ../far/days/2026-11-22.2.db", "rename ../far/days/2026-11-22.2.db.sha256", "syncdir ../far/days")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
