package daemon_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/daemon"
)

var (
	// example is a command of docs/api.md, with the answer if there is one.
	example = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:\n```(?:json)?\n(.*?)```\n)?")
	// loose is what differs from run to run: days, times, sizes and what has a
	// fraction. Small numbers are counts, and have to come out.
	loose   = regexp.MustCompile(`\d{8}T\d{6}Z|\d{4}-\d\d-\d\d|\d+\.\d+|\d{3,}`)
	between = regexp.MustCompile(`[ \n]+`)
	cursor  = regexp.MustCompile(`"next_cursor":"[^"]*"`)
)

// answerPattern matches what an answer of docs/api.md stands for.
func answerPattern(text string) *regexp.Regexp {
	text = between.ReplaceAllString(strings.TrimSpace(text), "")
	text = cursor.ReplaceAllString(text, `"next_cursor":"…"`)
	text = loose.ReplaceAllString(text, "7777")
	text = regexp.QuoteMeta(text)
	text = strings.ReplaceAll(text, "7777", `[-\d.TZ]+`)
	return regexp.MustCompile("^(?s:" + strings.ReplaceAll(text, "…", ".*?") + ")$")
}

// TestAPIExamples runs the examples of docs/api.md as printed, in order, against a
// fresh daemon, and compares the answers with those that are printed.
func TestAPIExamples(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	c := config(t)
	c.Web.EnableAdmin = true
	c.Storage.CutInterval, c.Storage.Settle = time.Hour, time.Hour // what the page shows is in the head
	c.Build = []daemon.Setting{{Name: "version", Value: "dev"}, {Name: "commit", Value: "unknown"}, {Name: "go_version", Value: "go1.26.8"},
		{Name: "sqlite_version", Value: "3.54.1"}, {Name: "sqlite_attach_limit", Value: "125"}}
	c.Flags = []daemon.Setting{{Name: "storage.path", Value: "./data"}, {Name: "storage.read-only", Value: "false"}, {Name: "wal.sync", Value: "always"},
		{Name: "wal.sync-interval", Value: "1s"}}
	d := start(t, c)
	eventually(t, "the daemon does not get ready", func() bool { return status(t, d, "/-/ready") == 200 })
	ran := 0
	for _, m := range example.FindAllStringSubmatch(readDoc(t, "api.md"), -1) {
		command, answer := m[1], m[2]
		if !strings.Contains(command, "curl") {
			continue
		}
		run := strings.ReplaceAll(command, "127.0.0.1:8365", d.addr)
		// Half a second ahead could be the next minute, which summaries do not have yet.
		run = strings.ReplaceAll(run, "now=$(date +%s)", "now=$(($(date +%s) - 5))")
		out, err := exec.Command("bash", "-euo", "pipefail", "-c", run).CombinedOutput()
		if err != nil {
			t.Errorf("%s%v\n%s", command, err, out)
			continue
		}
		got := between.ReplaceAllString(string(out), "")
		if !answerPattern(answer).MatchString(got) {
			t.Errorf("%s\nanswers\n%s\nand docs/api.md says\n%s", command, out, answer)
		}
		ran++
	}
	if ran < 15 {
		t.Errorf("docs/api.md has %d examples, or they are not found", ran)
	}
}
