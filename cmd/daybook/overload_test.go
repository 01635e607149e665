package main_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// holdLive keeps all live files from being written, as a slow disk does, until
// it is told to let go: a transaction of ours is open in each.
func holdLive(t *testing.T, dir string) (letGo func()) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "live", "*.db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	type holder struct {
		db *sql.DB
		tx *sql.Tx
	}
	var held []holder
	for _, f := range files {
		db, err := sql.Open("sqlite3", "file:"+f+"?mode=rw&_txlock=immediate&_busy_timeout=10000")
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, holder{db, tx})
	}
	return func() {
		for _, h := range held {
			if err := errors.Join(h.tx.Rollback(), h.db.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOverload sends more than a daemon can cut, beside cuts, over an orderly
// restart and a kill, under both policies: what was sent is stored, or counted
// as dropped, or rejected, to the record.
func TestOverload(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"drop-oldest", "reject"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			flags := []string{"--head.on-overflow=" + policy, "--head.max-records=600", "--head.max-bytes=1MiB", "--head.cut-interval=100ms", "--head.settle=0s"}
			l := &load{details: 100}
			var dropped int64
			life := func(end func(p *process)) {
				p := serve(t, dir, flags...)
				l.run(t, p, 4, 40, 100) // beside cuts
				letGo := holdLive(t, dir)
				l.next.Add(1) // other ids are broken
				blocked := make(chan struct{})
				go func() {
					defer close(blocked)
					l.run(t, p, 8, 24, 100)
				}()
				if policy == "reject" {
					eventually(t, "requests are refused", func() error { return wants(l.refused.Load() > 0) })
				} else {
					eventually(t, "records are dropped", func() error {
						h, _ := p.health()
						return wants(h.Dropped > 0)
					})
				}
				letGo()
				<-blocked
				l.run(t, p, 4, 10, 100)
				h, _ := p.health()
				dropped += h.Dropped
				end(p)
			}
			life((*process).quit)
			life((*process).kill)
			p := serve(t, dir, flags...)
			l.balance(p, dropped)
			if _, told := p.gaps("dropped"); told != dropped {
				t.Errorf("%d records were dropped, the gaps count %d", dropped, told)
			}
			_, page := p.get("/api/v1/invocations?limit=1")
			if policy == "reject" && dropped > 0 || policy == "drop-oldest" && !strings.Contains(string(page), `"cause":"dropped"`) {
				t.Errorf("%d dropped; %s", dropped, page)
			}
			p.quit()
			verified(t, dir)
		})
	}
}
