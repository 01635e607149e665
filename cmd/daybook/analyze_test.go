package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// analysis is what the test reads of `daybook analyze --json`.
type analysis struct {
	Rows, Bytes int64
	DetailBytes int64 `json:"detail_bytes"`
	Stored      int64 `json:"detail_compressed_bytes"`
	Files       []struct {
		Path, Kind, Day string
		Rows, Bytes     int64
		Parts           []struct {
			Name  string
			Bytes int64
		}
	}
	Tasks, Workers, Queues, Exceptions []struct {
		Name        string
		Rows        int64
		DetailBytes int64 `json:"detail_bytes"`
		Share       float64
	}
	Largest []struct {
		TaskID      string           `json:"task_id"`
		DetailBytes int64            `json:"detail_bytes"`
		Fields      map[string]int64 `json:"detail_fields"`
	}
}

func analyze(t *testing.T, args ...string) (a analysis) {
	t.Helper()
	out := tool(t, append([]string{"analyze", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return a
}

// TestAnalyze has a day analyzed beside a daemon and without one, live and
// sealed, with a damaged day beside it that is not its business.
func TestAnalyze(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := "--storage.path=" + dir
	p := serve(t, dir, append(anyTime, "--head.settle=0s", "--seal.delay=36500d")...)
	const day, start = "2026-11-20", 1795132800
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, `{"task_id":"id-%d","task_name":"shop.task_%d","finished_at":%d,"worker":"celery@w%d","queue":"q","args":"%0100d"}`+"\n", i, i%3, start+i, i%2, i)
	}
	fmt.Fprintf(&lines, `{"task_id":"big","task_name":"shop.big","finished_at":%d,"exception_type":"KeyError","traceback":"%s"}`+"\n", start+9, strings.Repeat("line ", 9000))
	fmt.Fprintf(&lines, `{"task_id":"elsewhere","task_name":"shop.other","finished_at":%d}`+"\n", start+86400)
	p.mustPost("/api/v1/invocations", bytes.Split([]byte(strings.TrimSpace(lines.String())), []byte("\n")))
	cut := func(path string) {
		t.Helper()
		if code, body, err := p.do(http.MethodPost, path, nil); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %s %v", path, code, body, err)
		}
	}
	check := func(how, kind string, a analysis) {
		t.Helper()
		const details = 500*100 + 9000*5
		if a.Rows != 501 || a.DetailBytes != details || a.Stored <= 0 || a.Stored >= details || len(a.Files) != 1 || a.Files[0].Kind != kind || a.Files[0].Day != day {
			t.Fatalf("%s: %+v", how, a)
		}
		if len(a.Tasks) != 4 || len(a.Workers) != 3 || len(a.Queues) != 2 || len(a.Exceptions) != 2 {
			t.Errorf("%s: names: %+v", how, a)
		}
		rows, share := int64(0), 0.0
		for _, u := range a.Tasks {
			rows, share = rows+u.Rows, share+u.Share
			if u.Name == "shop.big" && (u.Rows != 1 || u.DetailBytes != 45_000) {
				t.Errorf("%s: %+v", how, u)
			}
		}
		if rows != 501 || share < 0.999 || share > 1.001 {
			t.Errorf("%s: tasks add up to %d rows and %v", how, rows, share)
		}
		if len(a.Largest) != 10 || a.Largest[0].TaskID != "big" || a.Largest[0].Fields["traceback"] != 45_000 {
			t.Errorf("%s: largest: %+v", how, a.Largest)
		}
		parts, words := int64(0), int64(0)
		for _, x := range a.Files[0].Parts {
			if parts += x.Bytes; x.Name == "word filters" {
				words = x.Bytes
			}
		}
		if words == 0 {
			t.Errorf("%s: word filters take nothing: %+v", how, a.Files[0].Parts)
		}
		// Of a live file, pages may still be in the log beside it.
		if fi, err := os.Stat(a.Files[0].Path); err != nil || a.Files[0].Bytes != fi.Size() || kind == "sealed" && parts != fi.Size() {
			t.Errorf("%s: parts add up to %d, the file has %d: %v", how, parts, a.Files[0].Bytes, err)
		}
	}
	cut("/api/v1/admin/cut")
	check("live, beside a daemon", "live", analyze(t, day, at))
	live, err := filepath.Glob(filepath.Join(dir, "live", day+".*.db"))
	if err != nil || len(live) != 1 {
		t.Fatal(live, err)
	}
	check("live, by its path", "live", analyze(t, live[0]))
	cut("/api/v1/admin/cut?seal=true")
	check("sealed, beside a daemon", "sealed", analyze(t, day, at))
	p.quit()

	other := filepath.Join(dir, "days", "2026-11-21.db")
	if err := os.Chmod(other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("sealed, beside a damaged day", "sealed", analyze(t, day, at))
	file := filepath.Join(t.TempDir(), day+".db")
	if err := os.WriteFile(file, mustRead(t, filepath.Join(dir, "days", day+".db")), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a copy", "sealed", analyze(t, file, "--storage.path="+filepath.Join(dir, "nope")))

	table := tool(t, "analyze", day, at)
	for _, want := range []string{"WHAT FILLS IT", "details (compressed)", "TASK ", "WORKER", "QUEUE", "EXCEPTION", "KeyError", "traceback", "LARGEST", "estimated"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
	for _, bad := range [][2]string{{"2026-11-01", "there is no day 2026-11-01 here"}, {"nonsense", "neither a day"}, {"2026-11-21", "2026-11-21.db"}} {
		if _, errOut, code := command(t, nil, "analyze", bad[0], at); code != 1 || !strings.Contains(errOut, bad[1]) {
			t.Errorf("analyze %s: exit code %d: %s", bad[0], code, errOut)
		}
	}
	if _, _, code := command(t, nil, "analyze", at); code != 2 {
		t.Errorf("analyze without a day: exit code %d", code)
	}
}
