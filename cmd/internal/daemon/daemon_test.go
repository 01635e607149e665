package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
)

// makeEmptyData makes the directory one that can be served read-only.
func makeEmptyData(t *testing.T, c daemon.Config) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(c.Storage.Dir, "days"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T) daemon.Config {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.Dir = t.TempDir()
	return daemon.Config{
		Storage: o,
		Web:     daemon.WebConfig{ListenAddress: "127.0.0.1:0", MaxBody: 1 << 20},
		Query:   daemon.QueryConfig{Timeout: time.Second, MaxConcurrent: 1},
	}
}

// TestOptions wants everything that is wrong said at once, as an OptionsError.
func TestOptions(t *testing.T) {
	c := config(t)
	c.Web = daemon.WebConfig{ListenAddress: "here"}
	c.Query = daemon.QueryConfig{}
	err := daemon.Run(context.Background(), c, new(bytes.Buffer))
	var options *tsdb.OptionsError
	if !errors.As(err, &options) {
		t.Fatalf("%v", err)
	}
	for _, flag := range []string{"--web.listen-address", "--web.max-body", "--query.timeout", "--query.max-concurrent"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not mentioned: %v", flag, err)
		}
	}
	c = config(t)
	c.Storage.HeadMaxRecords = 0
	if err := daemon.Run(context.Background(), c, new(bytes.Buffer)); !errors.As(err, &options) {
		t.Errorf("an option of the database: %v", err)
	}
}

// TestRun wants a cancelled context to end the daemon cleanly, whether it had
// the time to start or not.
func TestRun(t *testing.T) {
	for name, readOnly := range map[string]bool{"read-write": false, "read-only": true} {
		c := config(t)
		if c.ReadOnly = readOnly; readOnly {
			makeEmptyData(t, c)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var logs watched
		logs.on("addr=", cancel)
		if err := daemon.Run(ctx, c, &logs); err != nil {
			t.Errorf("%s: %v\n%s", name, err, &logs.Buffer)
		}
		cancel()
		if !strings.Contains(logs.String(), "msg=stopped") {
			t.Errorf("%s: %s", name, &logs.Buffer)
		}
	}
}

// TestLog wants levels filtered and messages in the form asked for.
func TestLog(t *testing.T) {
	for _, format := range []string{"logfmt", "json"} {
		var b bytes.Buffer
		logger := daemon.NewLogger(&b, daemon.LogConfig{Level: "info", Format: format})
		if err := logger.Log("level", "info", "msg", "x"); err != nil {
			t.Fatal(err)
		}
		if got := strings.HasPrefix(b.String(), "{"); got != (format == "json") || !strings.Contains(b.String(), "ts") {
			t.Errorf("%s: %s", format, &b)
		}
	}
}

// watched calls a function when something is written; the logger serialises.
type watched struct {
	bytes.Buffer
	text string
	call func()
}

func (w *watched) on(text string, call func()) { w.text, w.call = text, call }

func (w *watched) Write(p []byte) (int, error) {
	if w.call != nil && bytes.Contains(p, []byte(w.text)) {
		w.call()
		w.call = nil
	}
	return w.Buffer.Write(p)
}
