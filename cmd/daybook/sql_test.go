package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// contents are the checksums of the files of a data directory that hold data;
// an index of a WAL, which readers write to, is none.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSQL asks the same in SQL and of dump and query, beside a daemon and
// without one.
func TestSQL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := "--storage.path=" + dir
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--head.cut-interval=1h", "--head.open-timeout=36500d")...)
	events := capture(t)
	p.mustPost("/api/v1/events", events[:len(events)/2])
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.mustPost("/api/v1/events", events[len(events)/2:len(events)*3/4])
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.mustPost("/api/v1/events", events[len(events)*3/4:])
	sql := func(format, query string, more ...string) string {
		t.Helper()
		return tool(t, append([]string{"sql", at, "--format=" + format, query}, more...)...)
	}
	for _, how := range []string{"beside a daemon", "without one"} {
		if how == "without one" {
			p.quit()
		}
		before := contents(t, filepath.Join(dir, "days"))
		want := map[string]task.Invocation{}
		for _, line := range strings.Split(strings.TrimSpace(tool(t, "query", at, "--url=", "--limit=0")), "\n") {
			v, err := task.ParseJSON([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			want[v.TaskID] = v
		}
		n := 0
		for _, line := range strings.Split(strings.TrimSpace(sql("ndjson", "SELECT * FROM invocations")), "\n") {
			var row struct {
				TaskID           string   `json:"task_id"`
				State            string   `json:"state"`
				FinishedAt       string   `json:"finished_at"`
				Args             string   `json:"args"`
				Traceback        string   `json:"traceback"`
				ExceptionMessage string   `json:"exception_message"`
				RuntimeMS        *float64 `json:"runtime_ms"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			n++
			v, ok := want[row.TaskID]
			finished := ""
			if v.FinishedAt != 0 {
				finished = time.UnixMicro(v.FinishedAt).UTC().Format("2006-01-02T15:04:05.000000Z")
			}
			if !ok || row.State != v.State.String() || row.FinishedAt != finished || row.Args != v.Args || row.Traceback != v.Outcome.Traceback ||
				row.ExceptionMessage != v.Outcome.ExceptionMessage || (row.RuntimeMS != nil) != v.Outcome.HasRuntime {
				t.Errorf("%s: %s\nquery says %s", how, line, task.AppendJSON(nil, &v))
			}
		}
		if n != len(want) || n != len(merged(t, events)) {
			t.Errorf("%s: %d rows, want %d", how, n, len(want))
		}
		if got := sql("csv", "SELECT count(*), count(DISTINCT task_id) FROM invocations"); got != fmt.Sprintf("count(*),count(DISTINCT task_id)\n%d,%d\n", n, n) {
			t.Errorf("%s: %s", how, got)
		}
		later := 0
		for _, v := range want {
			if v.RowTime() >= 1795417200_000_000 {
				later++
			}
		}
		if got := sql("csv", "SELECT count(*) FROM invocations", "--from=2026-11-23T07:00:00Z"); later == 0 || got != fmt.Sprintf("count(*)\n%d\n", later) {
			t.Errorf("%s: a range: %s, want %d", how, got, later)
		}
		if got := sql("table", "SELECT task_name, count(*) AS n FROM invocations GROUP BY 1 ORDER BY n DESC LIMIT 2"); strings.Count(got, "\n") != 3 || !strings.HasPrefix(got, "task_name") {
			t.Errorf("%s: %s", how, got)
		}
		if contents(t, filepath.Join(dir, "days")) != before {
			t.Errorf("%s: bytes in days/ have changed", how)
		}
	}
	all := contents(t, dir)
	sql("csv", "SELECT count(*) FROM invocations WHERE args LIKE '%1%'")
	if contents(t, dir) != all {
		t.Error("bytes of the data directory have changed")
	}

	// Values of every kind, in every form.
	const values = `SELECT NULL AS a, 1 AS b, 1.5 AS c, x'00ff' AS d, 'x",' || char(10) AS e, '' AS f, 1e999 AS g, 2 AS b`
	for format, want := range map[string]string{
		"ndjson": `{"a":null,"b":1,"c":1.5,"d":"x'00ff'","e":"x\",\n","f":"","g":null,"b:1":2}` + "\n",
		"json":   `[{"a":null,"b":1,"c":1.5,"d":"x'00ff'","e":"x\",\n","f":"","g":null,"b:1":2}]` + "\n",
		"csv":    "a,b,c,d,e,f,g,b\n,1,1.5,x'00ff',\"x\"\",\n\",,+Inf,2\n",
		"table":  "a     b    c  d        e     f     g  b\nNULL  1  1.5  x'00ff'  x\",\ufffd     +Inf  2\n",
	} {
		if got := sql(format, values); got != want {
			t.Errorf("%s:\n%q\n%q", format, got, want)
		}
	}
	if got := sql("json", "SELECT 1 WHERE 0") + sql("ndjson", "SELECT 1 WHERE 0") + sql("csv", "SELECT 1 AS x WHERE 0"); got != "[]\nx\n" {
		t.Errorf("no rows: %q", got)
	}
	if got := sql("json", "SELECT 1 AS x UNION ALL SELECT 2"); got != "[{\"x\":1},\n{\"x\":2}]\n" {
		t.Errorf("two rows: %q", got)
	}

	// What is refused, and how.
	for query, says := range map[string]string{
		"DELETE FROM invocations": "cannot modify", "DELETE FROM d20261123.invocation": "only reading", "ATTACH 'new.db' AS x": "only reading",
		"PRAGMA query_only = 0": "only reading", "PRAGMA journal_mode = DELETE": "only reading", "VACUUM INTO 'new.db'": "VACUUM",
		"CREATE TEMP TABLE x (a)": "only reading", "BEGIN": "only reading", "SELECT 1; DROP TABLE x": "one statement", "SELECT nope FROM invocations": "no such column",
		"SELEC 1": "syntax error", "SELECT ?": "parameter", " -- nothing": "no statement", "SELECT load_extension('x')": "", "DETACH d20261123": "only reading",
		"SELECT daybook_detail(99, 1, 1)": "no such detail", "SELECT daybook_legacy(0, 0, 0, 0)": "no such file",
	} {
		out, said, code := command(t, nil, "sql", at, query)
		if code != 1 || out != "" || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d: %s%s", query, code, out, said)
		}
	}
	for _, args := range [][]string{{}, {"SELECT 1", "--attach"}, {"SELECT 1", "--from=nope"}, {"SELECT 1", "--from=2026-11-23", "--to=2026-11-22"}, {"SELECT 1", "--format=xml"}} {
		if _, said, code := command(t, nil, append([]string{"sql", at}, args...)...); code != 2 || said == "" {
			t.Errorf("%v: exit code %d: %s", args, code, said)
		}
	}
	if got := tool(t, "sql", at, "PRAGMA table_info(invocations)", "--format=csv"); !strings.Contains(got, "traceback") {
		t.Errorf("the columns: %s", got)
	}
	if got := tool(t, "sql", at, "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT sum(n) FROM c;", "--format=csv"); got != "sum(n)\n6\n" {
		t.Errorf("a recursive query: %s", got)
	}
	if rest, err := filepath.Glob("new.db*"); err != nil || rest != nil {
		t.Errorf("%v: a file was made", rest)
	}
}

// manyDays makes a directory of n sealed days with one invocation each.
func manyDays(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	p := serve(t, dir, append(anyTime, "--head.settle=0s")...)
	var lines [][]byte
	for i := range n {
		lines = append(lines, fmt.Appendf(nil, `{"task_id":"id-%d","task_name":"it's","args":"[%d]","finished_at":%d}`, i, i, 1795435200-86400*i))
	}
	p.mustPost("/api/v1/invocations", lines)
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.quit()
	return dir
}

// TestSQLRange asks for more days than can be attached, and copies of days as
// somebody who may only read.
func TestSQLRange(t *testing.T) {
	t.Parallel()
	dir := manyDays(t, 12)
	at := "--storage.path=" + dir
	if strings.Contains(tool(t, "--version"), "125") { // more days than a plain build attaches, and fewer than this one
		if got := tool(t, "sql", at, "SELECT count(*) FROM invocations", "--format=csv"); got != "count(*)\n12\n" {
			t.Error(got)
		}
	} else if _, said, code := command(t, nil, "sql", at, "SELECT count(*) FROM invocations"); code != 2 || !strings.Contains(said, "--from") {
		t.Errorf("12 days: exit code %d: %s", code, said)
	}
	if got := tool(t, "sql", at, "SELECT count(*), max(args) FROM invocations", "--format=csv", "--from=2026-11-13", "--to=2026-11-22"); got != "count(*),max(args)\n9,[9]\n" {
		t.Error(got)
	}
	if got := tool(t, "sql", at, "SELECT day, task_id FROM invocations", "--format=csv", "--from=2026-11-20T12:00:00Z", "--to=2026-11-21T12:00:00Z"); got != "day,task_id\n2026-11-20,id-3\n" {
		t.Error(got)
	}

	// Nothing but the day files, in a directory that this user cannot write to.
	copied := filepath.Join(t.TempDir(), "it's 100% ?new")
	if err := os.CopyFS(filepath.Join(copied, "days"), os.DirFS(filepath.Join(dir, "days"))); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Join(copied, "days"), copied} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(d, 0o755) // so that it can be removed
	}
	before := contents(t, copied)
	if got := tool(t, "sql", "--storage.path="+copied, "SELECT count(*) FROM invocations", "--from=2026-11-20", "--format=csv"); got != "count(*)\n4\n" {
		t.Error(got)
	}
	if contents(t, copied) != before {
		t.Error("bytes have changed")
	}
	// The script is for a sqlite3 CLI as Debian has it.
	if _, said, code := command(t, nil, "sql", "--attach", "--storage.path="+copied); code != 2 || !strings.Contains(said, "--from") || !strings.Contains(said, "sqlite3 CLI attaches 10") || strings.Contains(said, "SQLITE_MAX_ATTACHED") {
		t.Errorf("12 days for the CLI: exit code %d: %s", code, said)
	}
	script := tool(t, "sql", "--attach", "--storage.path="+copied, "--from=2026-11-20")
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("needs sqlite3 on PATH")
	}
	for args, want := range map[string]string{"--from=2026-11-20 --to=2026-11-23T12:00:00Z": "3\n", "--from=2026-11-23T12:00:00Z": "1\n", "--from=2026-11-23T12:00:00.000001Z": "0\n"} {
		script := tool(t, append([]string{"sql", "--attach", "--storage.path=" + copied}, strings.Fields(args)...)...)
		cli := exec.Command("sqlite3", "-batch", "-bail")
		cli.Stdin = strings.NewReader(script + "SELECT count(*) FROM invocations;\n")
		if out, err := cli.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("sqlite3, %s: %v: %s, want %s\n%s", args, err, out, want, script)
		}
	}
	cli := exec.Command("sqlite3", "-batch", "-bail")
	cli.Stdin = strings.NewReader(script + "SELECT count(*), max(task_name), max(finished_at) FROM invocations;\nATTACH '' AS x; SELECT count(*) FROM pragma_database_list;")
	out, err := cli.CombinedOutput()
	if err != nil || string(out) != "4|it's|2026-11-23T12:00:00.000000Z\n7\n" {
		t.Errorf("sqlite3: %v: %s\n%s", err, out, script)
	}
	if contents(t, copied) != before {
		t.Error("bytes have changed")
	}
	if got := tool(t, "sql", "--attach", "--storage.path="+emptyData(t)); !strings.HasPrefix(got, "--") {
		t.Error(got)
	}
}

// TestSQLInterrupt ends queries that would never end: one that prints, and one that
// has stopped printing.
func TestSQLInterrupt(t *testing.T) {
	t.Parallel()
	dir := emptyData(t)
	const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c), d(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM d LIMIT 50000) "
	for _, query := range []string{endless + "SELECT n FROM c", endless + "SELECT n FROM d UNION ALL SELECT count(*) FROM c"} {
		cmd := exec.Command(bin, "sql", "--storage.path="+dir, "--format=csv", query)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer watchdog.Stop()
		if _, err := io.ReadFull(out, make([]byte, 1<<12)); err != nil { // it is at it
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Fatal(err)
		}
		if code := exitCode(t, cmd.Wait()); code != 1 || !strings.Contains(errOut.String(), "interrupted") {
			t.Errorf("exit code %d: %s", code, &errOut)
		}
	}
}

// TestSQLWhileWriting asks again and again while a daemon takes in, cuts and
// seals: each id is there once, and what was acknowledged is there.
func TestSQLWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--head.cut-interval=100ms", "--seal.delay=0s", "--head.max-records=400")...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	acked := make(chan int, 1)
	failed := make(chan error, 1)
	const most = 20_000
	go func() {
		defer close(failed)
		defer close(acked)
		now := time.Now().Unix()
		for n := 0; ctx.Err() == nil && n < most; n += 100 {
			var lines bytes.Buffer
			for i := n; i < n+100; i++ {
				// Over three days, and each starts before it ends.
				fmt.Fprintf(&lines, `{"task_id":"id-%d","task_name":"t","state":"STARTED","started_at":%d}`+"\n", i, now-86400*int64(i%3))
				if i >= 100 {
					fmt.Fprintf(&lines, `{"task_id":"id-%d","finished_at":%d}`+"\n", i-100, now-86400*int64(i%2))
				}
			}
			code, body, err := p.do(http.MethodPost, "/api/v1/invocations", lines.Bytes())
			if err != nil || code != http.StatusOK {
				failed <- fmt.Errorf("%d %s %w", code, body, err)
				return
			}
			select {
			case <-acked:
			default:
			}
			acked <- n + 100
		}
	}()
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	for range rounds {
		n, more := <-acked
		if !more {
			break
		}
		out := tool(t, "sql", "--storage.path="+dir, "--format=csv", "SELECT count(*), count(DISTINCT task_id), sum(state = 'SUCCESS') FROM invocations")
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%v: %s", err, out)
		}
		var all, distinct, ended int
		if _, err := fmt.Sscan(rows[1][0], &all); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(rows[1][1], &distinct); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(rows[1][2], &ended); err != nil {
			t.Fatal(err)
		}
		if all != distinct || all < n || ended < n-100 {
			t.Errorf("%d rows of %d ids, %d ended; %d were acknowledged", all, distinct, ended, n)
		}
	}
	cancel()
	if err := <-failed; err != nil && ctx.Err() == nil {
		t.Error(err)
	}
	p.quit()
	verified(t, dir)
}
