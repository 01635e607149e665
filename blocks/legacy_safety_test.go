package blocks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// legacyScript makes a database file by SQL.
func legacyScript(tb testing.TB, path, sql string) string {
	tb.Helper()
	c, err := openFile(path, modeCreate)
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(c.script(sql), c.close()); err != nil {
		tb.Fatal(err)
	}
	return path
}

const legacySchemaSQL = `CREATE TABLE invocations (task_id TEXT PRIMARY KEY, task_name TEXT NOT NULL, state TEXT NOT NULL, received_at REAL, started_at REAL, finished_at REAL, runtime_ms REAL, worker TEXT, queue TEXT, exception_type TEXT);
CREATE INDEX idx_inv_finished ON invocations (finished_at);
CREATE INDEX idx_inv_task_name ON invocations (task_name, finished_at);
CREATE TABLE invocation_details (task_id TEXT PRIMARY KEY, args_preview TEXT, kwargs_preview TEXT, traceback_snippet TEXT);
`

// wantLegacyError opens a file that has to be refused, without a change to its
// directory.
func wantLegacyError(t *testing.T, path, reason, remedy string) {
	t.Helper()
	before := listing(t, filepath.Dir(path))
	l, err := OpenLegacy(path)
	if err == nil {
		t.Fatalf("opened: %s", errors.Join(l.Close()))
	}
	var le *LegacyError
	if !errors.As(err, &le) {
		t.Fatalf("a %T: %v", err, err)
	}
	if !strings.Contains(le.Reason, reason) || !strings.Contains(le.Remedy, remedy) {
		t.Errorf("%v\nwant %q and %q", err, reason, remedy)
	}
	if after := listing(t, filepath.Dir(path)); after != before {
		t.Errorf("the directory was\n%s and is\n%s", before, after)
	}
}

func TestLegacyRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, body string) string {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(d, "it's.db")
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sqlite := func(name, sql string) string {
		path := file(name, "")
		return legacyScript(t, path, sql)
	}
	wantLegacyError(t, filepath.Join(dir, "none.db"), "no such file", "--storage.legacy")
	wantLegacyError(t, dir, "regular", "path")
	wantLegacyError(t, file("empty", ""), "not a SQLite database", "")
	wantLegacyError(t, file("text", strings.Repeat("hello ", 1000)), "not a SQLite database", "")
	wantLegacyError(t, sqlite("foreign", "CREATE TABLE t (a)"), "no table of invocations", "--storage.legacy")
	wantLegacyError(t, sqlite("view", "CREATE TABLE t (task_id TEXT PRIMARY KEY); CREATE VIEW invocations AS SELECT * FROM t"), "no table of invocations", "")
	wantLegacyError(t, sqlite("columns", "CREATE TABLE invocations (task_id TEXT PRIMARY KEY, state TEXT)"), "no column task_name", "")
	wantLegacyError(t, sqlite("types", strings.Replace(legacySchemaSQL, "finished_at REAL", "finished_at TEXT", 1)), "wrong type", "")
	wantLegacyError(t, sqlite("nokey", strings.Replace(legacySchemaSQL, "task_id TEXT PRIMARY KEY", "task_id TEXT", 1)), "not a key", "")
	wantLegacyError(t, sqlite("norowid", strings.Replace(legacySchemaSQL, "exception_type TEXT)", "exception_type TEXT) WITHOUT ROWID", 1)), "row ids", "")
	wantLegacyError(t, sqlite("utf16", "PRAGMA encoding = 'UTF-16le'; "+legacySchemaSQL), "UTF-16", ".dump")
	wantLegacyError(t, sqlite("ours", legacySchemaSQL+fmt.Sprintf("PRAGMA application_id = %d", applicationID)), "Daybook", "days")

	whole, err := os.ReadFile(legacyFixture(t, t.TempDir(), "gen2-small.db"))
	if err != nil {
		t.Fatal(err)
	}
	wantLegacyError(t, file("truncated", string(whole[:len(whole)/2+100])), "damaged", ".recover")
	hot := file("hot", string(whole))
	if err := os.WriteFile(hot+"-journal", []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and so on"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantLegacyError(t, hot, "-journal", `'\''s.db' 'PRAGMA`)
}

// The -wal of the crashed file is read although the directory and the files
// cannot be written, and no -shm is made.
func TestLegacyReadOnlyDirectory(t *testing.T) {
	for _, name := range []string{"gen2-crash-small.db", "gen3-small.db"} {
		dir := filepath.Join(t.TempDir(), "ro")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := legacyFixture(t, dir, name)
		before := listing(t, dir)
		for _, p := range []string{path, path + "-wal", dir} {
			if err := os.Chmod(p, 0o555); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
		l, err := OpenLegacy(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(allLegacy(t, l, Select{})); n != legacyTruths(t)[name].Distinct {
			t.Errorf("%s: %d rows", name, n)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("the directory was\n%s and is\n%s", before, after)
		}
	}
}

// A link is followed to the file that has the -wal beside it.
func TestLegacyLink(t *testing.T) {
	path := legacyFixture(t, t.TempDir(), "gen2-crash-small.db")
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if n := len(allLegacy(t, openLegacy(t, link), Select{})); n != 1953 {
		t.Errorf("%d rows through a link", n)
	}
}

// A -wal or -journal without content is no reason for anything.
func TestLegacyEmptyLogs(t *testing.T) {
	dir := t.TempDir()
	path := legacyFixture(t, dir, "gen2-small.db")
	for name, body := range map[string]string{"-wal": "", "-journal": strings.Repeat("\x00", 512)} {
		if err := os.WriteFile(path+name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := listing(t, dir)
	l := openLegacy(t, path)
	if n := len(allLegacy(t, l, Select{})); n != 1957 || l.guard.mode != legacyPlain {
		t.Errorf("%d rows, mode %d", n, l.guard.mode)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory was\n%s and is\n%s", before, after)
	}
}

// A -wal of which no frame counts stays where it is.
func TestLegacyStaleWAL(t *testing.T) {
	dir := t.TempDir()
	path := legacyFixture(t, dir, "gen2-crash-small.db")
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	wal[60] ^= 1 // the first frame's checksum: SQLite reads none of it
	if err := os.WriteFile(path+"-wal", wal, 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	l, err := OpenLegacy(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(allLegacy(t, l, Select{})); n != 1809 {
		t.Errorf("%d rows", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory was\n%s and is\n%s", before, after)
	}
}

// A file that another program has open is refused while it has.
func TestLegacyBeingWritten(t *testing.T) {
	if path := os.Getenv("LEGACY_HOLD"); path != "" {
		holdOpen(t, path)
		return
	}
	dir := t.TempDir()
	path := legacyFixture(t, dir, "gen2-small.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLegacyBeingWritten$")
	cmd.Env = append(os.Environ(), "LEGACY_HOLD="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "held" {
	}
	l, err := OpenLegacy(path)
	var le *LegacyError
	if !errors.As(err, &le) || !strings.Contains(le.Reason, "has it open") || !strings.Contains(le.Remedy, "stop") {
		t.Errorf("opened %v: %v", l, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	openLegacy(t, path)
}

// holdOpen is the old program: it writes, and goes when it is told.
func holdOpen(t *testing.T, path string) {
	c, err := openFile(path, modeWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.script("DELETE FROM invocations WHERE _rowid_ = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("held\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A file that changes while it is open answers nothing any more.
func TestLegacyChanged(t *testing.T) {
	path := legacyFixture(t, t.TempDir(), "gen2-small.db")
	l := openLegacy(t, path)
	legacyScript(t, path, "DELETE FROM invocations WHERE state = 'FAILURE'")
	var le *LegacyError
	err := l.Select(context.Background(), Select{}, func(*task.Invocation) (bool, error) { return true, nil })
	if !errors.As(err, &le) || !strings.Contains(le.Reason, "changed") {
		t.Errorf("select: %v", err)
	}
	if _, err = l.Lookup(context.Background(), []string{"x"}); !errors.As(err, &le) {
		t.Errorf("lookup: %v", err)
	}
	if _, _, err = l.Bounds(context.Background()); !errors.As(err, &le) {
		t.Errorf("bounds: %v", err)
	}
}

// What is damaged in the middle gives the rows before it, then a typed error;
// nothing panics wherever the damage is.
func TestLegacyDamagedPages(t *testing.T) {
	dir := t.TempDir()
	path := legacyFixture(t, dir, "gen3-rollback-small.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for page := 1; page < len(whole)/4096; page += 7 {
		b := append([]byte(nil), whole...)
		for i := range 64 {
			b[page*4096+i*13%4000] ^= byte(0x5a + i)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLegacy(path)
		var le *LegacyError
		if err != nil {
			if !errors.As(err, &le) {
				t.Fatalf("page %d: a %T: %v", page, err, err)
			}
			failed++
			continue
		}
		err = l.Select(context.Background(), Select{Details: true}, func(*task.Invocation) (bool, error) { return true, nil })
		if err != nil && !errors.As(err, &le) {
			t.Errorf("page %d: a %T: %v", page, err, err)
		}
		if err != nil {
			failed++
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if failed == 0 {
		t.Error("no damage was noticed")
	}
}

func TestLegacyClosed(t *testing.T) {
	l, err := OpenLegacy(legacyFixture(t, t.TempDir(), "gen3-small.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Lookup(context.Background(), []string{"x"}); !errors.Is(err, errLegacyClosed) {
		t.Errorf("lookup: %v", err)
	}
	if err := l.Prepare(context.Background()); !errors.Is(err, errLegacyClosed) {
		t.Errorf("prepare: %v", err)
	}
}

// Queries beside each other, and a Close beside them, end as they should.
func TestLegacyConcurrent(t *testing.T) {
	l, err := OpenLegacy(legacyFixture(t, t.TempDir(), "gen3-rollback-small.db"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 12)
	first := make(chan struct{}, 12)
	for i := range cap(ended) {
		go func() {
			n := 0
			err := l.Select(context.Background(), Select{Oldest: i%2 == 0, Details: i%3 == 0}, func(*task.Invocation) (bool, error) {
				if n++; n == 1 {
					first <- struct{}{}
				}
				return true, nil
			})
			if err == nil && n != 1953 {
				err = fmt.Errorf("%d rows", n)
			}
			ended <- err
		}()
	}
	<-first
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for range cap(ended) {
		if err := <-ended; err != nil && !errors.Is(err, errLegacyClosed) {
			t.Error(err)
		}
	}
}
