package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// spread moves the events of each task to one of the six days before today.
func spread(t *testing.T, lines [][]byte, today task.Day) [][]byte {
	t.Helper()
	var out [][]byte
	for _, l := range lines {
		var ev map[string]json.RawMessage
		if err := json.Unmarshal(l, &ev); err != nil {
			t.Fatal(err)
		}
		var id string
		if err := json.Unmarshal(ev["uuid"], &id); err != nil || id == "" {
			continue // of a worker
		}
		at, err := task.ParseSeconds(string(ev["timestamp"]))
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New32a()
		h.Write([]byte(id))
		to := today - task.Day(1+h.Sum32()%6)
		ev["timestamp"] = task.AppendSeconds(nil, at-task.DayOf(at).Start()+to.Start())
		moved, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, moved)
	}
	return out
}

type block struct{ Kind, Day, Path string }

func (p *process) blocks() []block {
	p.t.Helper()
	code, body := p.get("/api/v1/blocks")
	var list struct{ Blocks []block }
	if err := json.Unmarshal(body, &list); err != nil || code != http.StatusOK {
		p.t.Fatalf("%d %s: %v", code, body, err)
	}
	return list.Blocks
}

// sealedDays waits until the six days before today are sealed, and returns them.
func (p *process) sealedDays(today task.Day) []string {
	p.t.Helper()
	var days []string
	for d := today - 6; d < today; d++ {
		days = append(days, d.String())
	}
	eventually(p.t, "past days are sealed", func() error {
		var sealed []string
		for _, b := range p.blocks() {
			switch {
			case b.Kind == "day":
				sealed = append(sealed, b.Day)
			case b.Kind == "live" && slices.Contains(days, b.Day):
				return fmt.Errorf("%s is still live", b.Day)
			}
		}
		slices.Sort(sealed)
		if !slices.Equal(sealed, days) {
			return fmt.Errorf("sealed are %v, want %v", sealed, days)
		}
		return nil
	})
	return days
}

// thisDay is today, and the test begins again tomorrow if that is in a minute.
func thisDay(t *testing.T) task.Day {
	t.Helper()
	var d task.Day
	eventually(t, "midnight is over", func() error {
		now := time.Now()
		d = task.DayOf(now.UnixMicro())
		if left := time.UnixMicro(d.End()).Sub(now); left < 20*time.Second {
			return fmt.Errorf("%s to midnight", left)
		}
		return nil
	})
	return d
}

// TestDays spreads the capture over six days, and then: days are sealed by
// themselves, copies of them are served elsewhere, read by sqlite3, go through
// dump, import and dump unchanged, and leave by retention while ingest goes on.
func TestDays(t *testing.T) {
	t.Parallel()
	today := thisDay(t)
	dir := t.TempDir()
	lines := spread(t, capture(t), today)
	flags := []string{"--head.cut-interval=100ms", "--head.settle=0s", "--head.open-timeout=1s", "--seal.delay=0s", "--log.level=debug"}
	p := serve(t, dir, append(flags, "--retention.time=0")...)
	p.mustPost("/api/v1/events", lines)
	days := p.sealedDays(today)
	if got, ids := len(p.walk("")), len(merged(t, lines)); got != ids {
		t.Errorf("%d invocations of %d", got, ids)
	}
	// What never finished was given up today: it is not in the days before.
	past := fmt.Sprintf("order=oldest&to=%d", today.Start()/1e6)
	want := p.walk(past)
	verified(t, dir)

	t.Run("served elsewhere", func(t *testing.T) {
		elsewhere := t.TempDir()
		copyDir(t, filepath.Join(dir, "days"), filepath.Join(elsewhere, "days"))
		for _, how := range [][]string{{"--storage.read-only"}, {"--retention.time=0"}} {
			q := serve(t, elsewhere, how...)
			if got := q.walk(past); !slices.Equal(got, want) {
				t.Errorf("%v: %d invocations, not the same as the %d of the original", how, len(got), len(want))
			}
			if got := q.walk(past + "&state=FAILURE"); len(got) == 0 || !slices.Equal(got, p.walk(past+"&state=FAILURE")) {
				t.Errorf("%v: not the same failures", how)
			}
			q.quit()
		}
		verified(t, elsewhere)
	})
	t.Run("sqlite3", func(t *testing.T) {
		if _, err := exec.LookPath("sqlite3"); err != nil {
			t.Skip("needs sqlite3 on PATH")
		}
		for _, b := range p.blocks() {
			if b.Kind != "day" {
				continue
			}
			out, err := exec.Command("sqlite3", "-readonly", "-header", filepath.Join(dir, b.Path), "select * from invocations limit 3").CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "task_id|") || strings.Count(string(out), "\n") != 4 {
				t.Errorf("%s: %v\n%s", b.Path, err, out)
			}
		}
	})
	t.Run("dump, import, dump", func(t *testing.T) {
		first := tool(t, append([]string{"dump", "--storage.path=" + dir}, days...)...)
		if got := strings.Split(strings.TrimSuffix(first, "\n"), "\n"); !slices.Equal(got, want) {
			t.Errorf("the dump has %d lines, not the %d invocations of the daemon", len(got), len(want))
		}
		other := t.TempDir()
		q := serve(t, other, append(flags, "--retention.time=0")...)
		out, errOut, code := command(t, strings.NewReader(first), "import", "--url="+q.url, "-")
		if code != 0 || !strings.Contains(out, fmt.Sprintf(`"accepted":%d,`, len(want))) {
			t.Fatalf("import: %d %s%s", code, out, errOut)
		}
		q.sealedDays(today)
		if second := tool(t, append([]string{"dump", "--storage.path=" + other}, days...)...); second != first {
			t.Errorf("the second dump differs: %s", difference(first, second))
		}
		q.quit()
		verified(t, other)
		if third := tool(t, append([]string{"dump", "--storage.path=" + other}, days...)...); third != first {
			t.Errorf("without a daemon the dump differs: %s", difference(first, third))
		}
	})
	t.Run("retention", func(t *testing.T) {
		files := filesOf(t, filepath.Join(dir, "days"))
		p.quit()
		p := serve(t, dir, append(flags, "--retention.time=3d")...)
		keep := (today - 3).String()
		eventually(t, "old days go", func() error {
			now := fmt.Sprintf(`{"task_id":"now-%d","started_at":%d}`, time.Now().UnixNano(), time.Now().Unix())
			if err := p.post("/api/v1/invocations", [][]byte{[]byte(now)}); err != nil {
				t.Fatalf("ingest during retention: %v", err)
			}
			for _, b := range p.blocks() {
				if b.Kind == "day" && b.Day < keep {
					return fmt.Errorf("%s is still there", b.Day)
				}
			}
			return nil
		})
		eventually(t, "their files go", func() error {
			for _, f := range filesOf(t, filepath.Join(dir, "days")) {
				if f < keep {
					return fmt.Errorf("%s is still there", f)
				}
				if !slices.Contains(files, f) {
					t.Fatalf("%s is new", f)
				}
			}
			return nil
		})
		late := fmt.Sprintf(`{"task_id":"late","finished_at":%d}`, (today-6).Start()/1e6)
		if err := p.post("/api/v1/invocations", [][]byte{[]byte(late)}); err == nil {
			t.Error("an invocation of a deleted day was taken")
		}
		p.quit()
		verified(t, dir)
	})
}

func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// copyDir is cp -r.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		return out.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// difference shows the first line in which two texts differ.
func difference(a, b string) string {
	la, lb := bytes.Split([]byte(a), []byte("\n")), bytes.Split([]byte(b), []byte("\n"))
	for i := range min(len(la), len(lb)) {
		if !bytes.Equal(la[i], lb[i]) {
			return fmt.Sprintf("line %d\n%s\n%s", i+1, la[i], lb[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(la), len(lb))
}
