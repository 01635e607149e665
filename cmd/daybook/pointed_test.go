package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// commandEnv is command with variables in the environment.
func commandEnv(t *testing.T, env []string, args ...string) (said string, code int) {
	t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), exitCode(t, err)
}

// TestWhoseValue wants the flag or the variable named that has a wrong value.
func TestWhoseValue(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ env, args, want string }{
		{"DAYBOOK_RETENTION_TIME=15", "serve", `DAYBOOK_RETENTION_TIME: "15" is not a duration`},
		{"DAYBOOK_RETENTION_TIME=15", "serve --retention.time=16", `--retention.time: "16" is not a duration`},
		{"", "serve --web.max-body=x", `--web.max-body: "x" is not a size`},
		{"DAYBOOK_FORMAT=json", "query", "DAYBOOK_FORMAT: must be one of table,ndjson,csv, got 'json'"},
		{"", "query --format=xml", "--format: must be one of"},
		{"DAYBOOK_WEB_ENABLE_ADMIN_API=yes", "serve", `DAYBOOK_WEB_ENABLE_ADMIN_API: "yes" is neither true nor false`},
		{"DAYBOOK_LIMIT=x", "query", `DAYBOOK_LIMIT: "x" is not a whole number`},
		{"DAYBOOK_BATCH=x", "bench", `DAYBOOK_BATCH: "x" is not a number`},
		{"DAYBOOK_PROFILE=/no/such", "bench", "DAYBOOK_PROFILE: "},
		{"", "bench nothing", "<benchmark>: must be one of"},
		{"", "help bogus", "bogus"},
	} {
		if said, code := commandEnv(t, []string{x.env}, strings.Fields(x.args)...); code != 2 || !strings.Contains(said, x.want) {
			t.Errorf("%s daybook %s: exit code %d: %s", x.env, x.args, code, said)
		}
	}
}

// TestPointedAt points at what is no day file, or not by its name.
func TestPointedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir, append([]string{"--seal.delay=0s"}, anyTime...)...)
	if code, body, err := p.do(http.MethodPost, "/api/v1/invocations", []byte(`{"task_id":"x","finished_at":1795435200}`)); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	if code, body, err := p.do(http.MethodPost, "/api/v1/admin/cut?seal=true", nil); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	p.quit()
	days, err := filepath.Glob(filepath.Join(dir, "days", "*.db"))
	if err != nil || len(days) != 1 {
		t.Fatal(days, err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "wal", "0*"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	sealed := days[0]
	misnamed := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(misnamed, mustRead(t, sealed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ path, want, not string }{
		{misnamed, "name it " + filepath.Base(sealed), "data directory"},
		{dir, "--storage.path", "database file"},
		{logs[0], "a piece of the log", "SQLite"},
	} {
		for _, tool := range []string{"verify", "dump", "analyze"} {
			out, said, code := command(t, nil, tool, x.path)
			if all := out + said; code != 1 || !strings.Contains(all, x.want) || x.path != dir && strings.Contains(all, x.not) {
				t.Errorf("%s %s: exit code %d: %s", tool, x.path, code, all)
			}
		}
	}
	for _, stray := range []string{"-wal", "-journal"} {
		if err := os.WriteFile(sealed+stray, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{sealed}, {"--storage.path=" + dir}} {
			out, said, code := command(t, nil, append([]string{"verify"}, args...)...)
			if code != 1 || !strings.Contains(out, "move "+filepath.Base(sealed)+stray+" away") {
				t.Errorf("verify %q with a stray %s: exit code %d: %s%s", args, stray, code, out, said)
			}
		}
		if err := os.Remove(sealed + stray); err != nil {
			t.Fatal(err)
		}
	}
	// One whose content is not what its checksum says is another matter.
	if err := os.Remove(sealed + ".sha256"); err != nil { // nobody may write to it
		t.Fatal(err)
	}
	if err := os.WriteFile(sealed+".sha256", []byte(strings.Repeat("0", 64)+"  "+filepath.Base(sealed)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sealed+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said, code := command(t, nil, "verify", sealed); code != 1 || !strings.Contains(out, "quarantine") {
		t.Errorf("a stray -wal beside a damaged file: exit code %d: %s%s", code, out, said)
	}
}
