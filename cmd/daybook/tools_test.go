package main_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

// TestFlagsPage wants docs/flags.md to be what the program prints.
func TestFlagsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	if tool(t, "help-markdown") != string(page) {
		t.Error("docs/flags.md is not what the flags are: go run ./cmd/daybook help-markdown >docs/flags.md")
	}
}

// TestEnvironment sets a flag by its environment variable.
func TestEnvironment(t *testing.T) {
	dir := emptyData(t)
	t.Setenv("DAYBOOK_STORAGE_PATH", dir)
	t.Setenv("DAYBOOK_VERSION", "not a flag")
	if out := tool(t, "ls", "--json"); !strings.HasPrefix(out, `{"blocks":[`) {
		t.Error(out)
	}
	t.Setenv("DAYBOOK_STORAGE_PATH", filepath.Join(dir, "nope"))
	if _, _, code := command(t, nil, "ls"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	t.Setenv("DAYBOOK_QUERY_TIMEOUT", "soon")
	if _, errOut, code := command(t, nil, "serve"); code != 2 || !strings.Contains(errOut, "soon") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// TestTools has every tool beside a daemon and without one.
func TestTools(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := "--storage.path=" + dir
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--head.open-timeout=36500d")...)
	p.mustPost("/api/v1/events", capture(t))
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	const day = "2026-11-23"
	for _, how := range []string{"beside a daemon", "without one"} {
		if how == "without one" {
			p.quit()
		} else if _, body := p.get("/api/v1/blocks"); len(strings.Split(tool(t, "ls", "--json", at), `"kind"`)) != len(strings.Split(string(body), `"kind"`)) {
			t.Errorf("ls --json and /api/v1/blocks list other blocks: %s", body)
		}
		if out := tool(t, "ls", at); !strings.HasPrefix(out, "KIND") || !strings.Contains(out, day) {
			t.Errorf("%s: ls: %s", how, out)
		}
		all := strings.Split(strings.TrimSuffix(tool(t, "dump", day, at), "\n"), "\n")
		var before task.Key
		for _, line := range all {
			v, err := task.ParseJSON([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v: %s", how, err, line)
			}
			if before != (task.Key{}) && before.Compare(v.Key()) >= 0 {
				t.Errorf("%s: not in ascending order at %s", how, line)
			}
			before = v.Key()
		}
		if again := tool(t, "dump", day, day, at); again != strings.Join(all, "\n")+"\n" {
			t.Errorf("%s: a day that is named twice is dumped twice", how)
		}
		rows, err := csv.NewReader(strings.NewReader(tool(t, "dump", day, at, "--format=csv"))).ReadAll()
		if err != nil || len(rows) != len(all)+1 || rows[0][0] != "task_id" || len(rows[0]) != 26 {
			t.Errorf("%s: csv: %v, %d rows", how, err, len(rows))
		}
		table := tool(t, "dump", day, at, "--format=table", "--task=shop.*", "--state=success", "--limit=3")
		if strings.Count(table, "\n") != 4 || !strings.HasPrefix(table, "TIME") {
			t.Errorf("%s: table: %s", how, table)
		}
		if out := tool(t, "dump", day, at, "--no-details"); strings.Contains(out, `"args"`) || strings.Count(out, "\n") != len(all) {
			t.Errorf("%s: --no-details shows details or another number of rows", how)
		}
		verified(t, dir)
	}
}

// TestImport sends files of every kind and has refused lines named.
func TestImport(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), anyTime...)
	dir := t.TempDir()
	var good strings.Builder
	for i := range 1300 {
		fmt.Fprintf(&good, "{\"task_id\":\"id-%d\",\"sent_at\":1795435200}\n", i)
	}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", good.String())
	zipped := write("zipped", string(zipped(t, []byte(good.String()))))
	if out := tool(t, "import", "--url="+p.url+"/", plain, zipped); out != `{"accepted":2600,"ignored":0,"rejected":0,"dropped":0}`+"\n" {
		t.Error(out)
	}
	if rows := p.walk("details=false"); len(rows) != 1300 {
		t.Errorf("%d rows", len(rows))
	}
	// More refused lines than an answer lists, blank ones between, and a tail.
	bad := write("bad", strings.Repeat("nope\n\n", 450)+`{"task_id":"tail","sent_at":1795435200}`)
	out, errOut, code := command(t, nil, "import", "--url="+p.url, bad)
	if code != 1 || out != `{"accepted":1,"ignored":0,"rejected":450,"dropped":0}`+"\n" {
		t.Errorf("exit code %d: %s", code, out)
	}
	for n := 1; n < 900; n += 2 {
		if !strings.Contains(errOut, fmt.Sprintf("%s:%d: ", bad, n)) {
			t.Fatalf("line %d is not named", n)
		}
	}
	if _, errOut, code := command(t, strings.NewReader(string(mustRead(t, zipped)[:200])), "import", "--url="+p.url, "-"); code != 1 || errOut == "" {
		t.Errorf("a truncated file: exit code %d %s", code, errOut)
	}
	p.quit()
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestClosedPipe dumps into a reader that goes away.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, anyTime...)
	p.mustPost("/api/v1/events", capture(t))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "dump", "2026-11-23", "--storage.path="+dir)
	var errOut strings.Builder
	cmd.Stdout, cmd.Stderr = w, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if code := exitCode(t, cmd.Wait()); code != 0 || errOut.String() != "" {
		t.Errorf("exit code %d: %s", code, &errOut)
	}
}

// TestNoDataDirectory wants a directory that is not Daybook's named, and not taken for
// one that is empty: a mistyped path, or a place where nothing is mounted.
func TestNoDataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	day := "2026-11-23"
	for _, args := range [][]string{
		{"ls"}, {"dump", day}, {"query", "--url="}, {"sql", "SELECT 1"}, {"sql", "--attach"}, {"analyze", day}, {"verify"}, {"verify", day},
		{"retention", "--dry-run"}, {"serve", "--storage.read-only", "--web.listen-address=127.0.0.1:0"},
	} {
		out, stderr, code := command(t, nil, append(args, "--storage.path="+dir)...)
		if code != 1 || out != "" || !strings.Contains(stderr, dir) || !strings.Contains(stderr, "no data directory") || !strings.Contains(stderr, "--storage.path") {
			t.Errorf("daybook %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, stderr)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
