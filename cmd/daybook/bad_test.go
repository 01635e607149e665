package main_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // makes a foreign file
)

// TestExitCodes has what each kind of mistake ends with.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := emptyData(t)
	for args, want := range map[string]int{
		"":                     2,
		"bogus":                2,
		"--help":               0,
		"serve --help":         0,
		"--version":            0,
		"serve --no-such-flag": 2,
		"serve --celery.broker=foo://x --storage.path=" + dir + "/new":               2,
		"serve --storage.legacy=" + file + " --storage.path=" + dir + "/new":         1,
		"serve --retention.size=1KiB":                                                2,
		"serve --retention.disk-usage=101":                                           2,
		"serve --retention.size=1GiB --wal.max-bytes=1GiB":                           2,
		"serve --web.task-metrics=-1":                                                2,
		"serve --web.config.file=x":                                                  2,
		"serve --head.max-records=0":                                                 2,
		"serve --storage.read-only --head.max-records=0 --storage.path=" + dir:       2,
		"serve --storage.read-only --retention.disk-usage=500 --storage.path=" + dir: 2,
		"serve --head.max-bytes=lots":                                                2,
		"serve --head.on-overflow=panic":                                             2,
		"serve --retention.time=7":                                                   2,
		"serve --seal.delay=-1h":                                                     2,
		"serve --query.max-concurrent=0":                                             2,
		"serve --web.listen-address=nowhere":                                         2,
		"serve --log.level=loud":                                                     2,
		"serve --storage.path=" + file:                                               1,
		"ls --storage.path=" + dir + "/nope":                                         1,
		"ls --storage.path=" + dir:                                                   1,
		"ls --storage.path=" + empty:                                                 0,
		"ls extra":                                                                   2,
		"dump":                                                                       2,
		"dump --state=DONE 2026-11-23":                                               2,
		"dump --format=xml 2026-11-23":                                               2,
		"dump 2026-11-23 --storage.path=" + dir:                                      1,
		"dump 2026-02-30 --storage.path=" + dir:                                      1,
		"dump " + file + " --storage.path=" + dir:                                    1,
		"verify --storage.path=" + dir:                                               1,
		"verify --storage.path=" + empty:                                             0,
		"verify 2026-11-23 --storage.path=" + dir:                                    1,
		"import":                       2,
		"import --url=nowhere " + file: 2,
		"import --url=http://127.0.0.1:1 " + file:                1,
		"import --url=http://127.0.0.1:1 /no/such":               1,
		"serve --storage.path=" + dir + " --head.max-records=-1": 2,
	} {
		out, errOut, code := command(t, nil, strings.Fields(args)...)
		if code != want {
			t.Errorf("daybook %s: exit code %d, want %d\n%s%s", args, code, want, out, errOut)
		}
		if code != 0 && errOut == "" {
			t.Errorf("daybook %s: says nothing", args)
		}
	}
}

// TestWrongValues wants what is wrong with a value said in words, and files not
// called what nobody said they are.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("nothing of SQLite's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"query --limit=-1":               `"-1" is not a whole number from 0`,
		"dump --limit=x 2026-11-23":      `"x" is not a whole number from 0`,
		"query --limit=1e9999":           `"1e9999" is not a whole`,
		"serve --query.max-concurrent=x": `--query.max-concurrent: "x" is not a number`,
		"bench --seed=-1":                `--seed: "-1" is not a number`,
		"query --details=perhaps":        "unexpected perhaps",
		"dump " + file:                   "neither a file of Daybook nor a database of Phlower's: it is not a SQLite database",
	} {
		_, said, code := command(t, nil, strings.Fields(args)...)
		if code == 0 || !strings.Contains(said, want) || strings.Contains(said, "strconv") || strings.Contains(said, "storage.legacy") {
			t.Errorf("%s: exit code %d: %s", args, code, said)
		}
	}
	out, said, code := command(t, nil, "verify", file)
	if all := out + said; code != 1 || !strings.Contains(all, "it is not a SQLite database: check the path") || strings.Contains(all, "storage.legacy") {
		t.Errorf("verify: exit code %d: %s", code, all)
	}
}

// TestPasswordInURL has passwords that are not encoded in --url: whatever comes
// of it, nothing of them is said.
func TestPasswordInURL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, url := range []string{
		"http://u:/s3cret@127.0.0.1:1", "http://u:12/s3cret@127.0.0.1:1", "http://u:12?s3cret@127.0.0.1:1", "http://u:12#s3cret@127.0.0.1:1", "http://u:p@12/s3cret@127.0.0.1:1",
		"http://u:%zzs3cret@127.0.0.1:1", "http://u:s3cret@127.0.0.1:x", "http://u:s3 cret@127.0.0.1:1", "u:s3cret@127.0.0.1:1", "ftp://u:s3cret@h",
	} {
		for _, args := range [][]string{{"query", "--storage.path=" + dir}, {"import", "-"}, {"bench", "ingest", "--storage.path=" + filepath.Join(dir, "bench")}} {
			out, said, code := command(t, strings.NewReader("{}"), append(args, "--url="+url)...)
			if code != 2 || strings.Contains(out+said, "s3") || !strings.Contains(said, "--url") {
				t.Errorf("%s of %s: exit code %d: %s%s", args[0], url, code, out, said)
			}
		}
	}
}

// TestSwitches has flags that are on or off with a value, as the page of flags
// shows them.
func TestSwitches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, anyTime...)
	if code, body, err := p.do(http.MethodPost, "/api/v1/invocations", []byte(`{"task_id":"x","finished_at":1795435200,"args":"SHOWN"}`)); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	p.quit()
	for args, want := range map[string]bool{
		"": true, "--details": true, "--details=true": true, "--details=false": false, "--no-details": false, "--no-details=false": true, "--no-details=true": false,
		"--open=false": true,
	} {
		out, said, code := command(t, nil, append([]string{"query", "--storage.path=" + dir, "--url=", "--format=ndjson"}, strings.Fields(args)...)...)
		if code != 0 || !strings.Contains(out, `"task_id":"x"`) || strings.Contains(out, "SHOWN") != want {
			t.Errorf("query %s: exit code %d: %s%s", args, code, out, said)
		}
	}
	if out, said, code := command(t, nil, "query", "--storage.path="+dir, "--url=", "--open=true"); code != 0 || out != "" {
		t.Errorf("--open=true: exit code %d: %s%s", code, out, said)
	}
	if _, _, code := command(t, nil, "dump", "--storage.path="+dir, "--", "--no-details=true"); code != 1 {
		t.Errorf("behind --, a file: exit code %d", code)
	}
}

// TestSecondDaemon wants the second one on a directory refused, and the first
// one left alone.
func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir)
	out, errOut, code := command(t, nil, "serve", "--storage.path="+dir, "--web.listen-address=127.0.0.1:0")
	if code != 1 || !strings.Contains(errOut, "in use by another daemon") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	if code, body := p.get("/healthz"); code != http.StatusOK || !strings.Contains(string(body), `"status":"ok"`) {
		t.Errorf("%d %s", code, body)
	}
	p.quit()
	serve(t, dir).quit() // the lock is gone with its holder
}

// TestBrokenLines posts good lines among bad ones of every kind.
func TestBrokenLines(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), anyTime...)
	bad := []string{
		`{"task_id":"x","sent_at":1795435200,"state":"DONE"}`, `{"sent_at":1795435200}`, `{"task_id":"` + strings.Repeat("x", 256) + `","sent_at":1}`,
		`{"task_id":"x","sent_at":NaN}`, `{"task_id":"x","sent_at":1e300}`, `{"task_id":"x","sent_at":-1}`, `{"task_id":"x"}`, "nope", "[]", `{"task_id":"x","sent_at":17954352`,
	}
	var lines []string
	for i, b := range bad {
		lines = append(lines, fmt.Sprintf("{\"task_id\":\"good-%d\",\"sent_at\":1795435200,\"args\":\"\xff\"}", i), b)
	}
	code, body, err := p.do(http.MethodPost, "/api/v1/invocations", []byte(strings.Join(lines, "\n")))
	if err != nil || code != http.StatusOK || !strings.HasPrefix(string(body), fmt.Sprintf(`{"accepted":%d,"ignored":0,"rejected":%d,`, len(bad), len(bad))) {
		t.Fatalf("%d %s %v", code, body, err)
	}
	for i := range bad {
		if !strings.Contains(string(body), fmt.Sprintf(`{"line":%d,`, 2*i+2)) {
			t.Errorf("line %d is not named: %s", 2*i+2, body)
		}
	}
	if rows := p.walk(""); len(rows) != len(bad) || !strings.Contains(rows[0], "\ufffd") {
		t.Errorf("%d rows, the first %s", len(rows), rows[0])
	}

	bomb := zipped(t, bytes.Repeat([]byte(" "), 64<<20))
	if code, body, err := p.do(http.MethodPost, "/api/v1/events", bomb, "Content-Encoding", "gzip"); err != nil || code != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %d %s %v", code, body, err)
	}
	cut := zipped(t, []byte(strings.Repeat(lines[0]+"\n", 100)))
	if code, body, err := p.do(http.MethodPost, "/api/v1/invocations", cut[:len(cut)-9], "Content-Encoding", "gzip"); err != nil || code != http.StatusBadRequest {
		t.Errorf("a truncated gzip: %d %s %v", code, body, err)
	}
	if code, body := p.get("/healthz"); code != http.StatusOK || !strings.Contains(string(body), fmt.Sprintf(`"rejected_total":%d,`, len(bad))) {
		t.Errorf("%d %s", code, body)
	}
	p.quit()
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestForeignFiles puts what is not Daybook's into days/: the rest is served,
// the files are named and left alone.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, append(anyTime, "--head.settle=0s")...)
	p.mustPost("/api/v1/invocations", [][]byte{[]byte(`{"task_id":"a","finished_at":1795000000}`)})
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("cut: %d %s %v", code, body, err)
	}
	p.quit()
	day, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "days", "2026-11-18.db")+"?immutable=1")
	if err != nil {
		t.Fatal(err)
	}
	var by string
	err = day.QueryRow("SELECT group_concat(value, ', ') FROM meta WHERE key IN ('sealed_by', 'daybook_version')").Scan(&by)
	one, other, _ := strings.Cut(by, ", ") // in either order, whatever version is tested
	if err = errors.Join(err, day.Close()); err != nil || one == "" || other == "" || other != "daybook "+one && one != "daybook "+other {
		t.Errorf("sealed by %q: %v", by, err)
	}
	want := map[string]string{"2026-11-01.db": "this is no database", "2026-11-02.db": ""}
	for name, content := range want {
		if err := os.WriteFile(filepath.Join(dir, "days", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	foreign := filepath.Join(dir, "days", "2026-11-03.db")
	db, err := sql.Open("sqlite3", "file:"+foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE invocations(x); INSERT INTO invocations VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	want["2026-11-03.db"] = string(b)

	p = serve(t, dir, anyTime...)
	if rows := p.walk(""); len(rows) != 1 || !strings.Contains(rows[0], `"task_id":"a"`) {
		t.Errorf("%v", rows)
	}
	_, health := p.get("/healthz")
	_, page := p.get("/api/v1/invocations")
	out, errOut, code := command(t, nil, "verify", "--storage.path="+dir)
	if code != 1 {
		t.Errorf("daybook verify: exit code %d %s", code, errOut)
	}
	p.quit()
	for name, content := range want {
		if !strings.Contains(string(health), name) || !strings.Contains(string(health), `"degraded"`) {
			t.Errorf("/healthz does not name %s: %s", name, health)
		}
		if !strings.Contains(string(page), name) {
			t.Errorf("coverage does not name %s: %s", name, page)
		}
		if !strings.Contains(out, name) {
			t.Errorf("verify does not name %s: %s", name, out)
		}
		found := false
		for _, place := range []string{"days", "quarantine"} {
			if b, err := os.ReadFile(filepath.Join(dir, place, name)); err == nil && string(b) == content {
				found = true
			}
		}
		if !found {
			t.Errorf("%s is gone, or has changed", name)
		}
	}
}
