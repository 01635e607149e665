package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// profile takes a CPU profile of a daemon of ours while something is measured;
// call what it returns afterwards.
func (r *run) profile(ctx context.Context, d *daemon, name string) (done func() error) {
	if r.Profile == "" || d.pid == 0 {
		return func() error { return nil }
	}
	result := make(chan error, 1)
	go func() {
		seconds := max(1, int(r.Length/time.Second)-1)
		code, body, err := d.get(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(seconds))
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("the daemon answers %d: %.300s", code, body)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(r.Profile, name+".pprof"), body, 0o644)
		}
		if err != nil {
			err = fmt.Errorf("taking a profile: %w", err)
		}
		result <- err
	}()
	return func() error { return <-result }
}
