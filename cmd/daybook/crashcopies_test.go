//go:build faults

package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"daybook/tsdb"
	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// copies are the snapshots and backups of a run, with what has to be in them.
type copies struct {
	snapshots map[string]record // those that the daemon has answered, or that were found, by path
	asked     *record           // for one that was under way when the daemon was killed
	seen      map[string]bool   // the snapshots that were looked at
	onto      *backup           // the backup that others go over
	beside    *made             // what was made of it beside a daemon, and is to be looked at
	leaving   bool              // there is no room for snapshots
}

// backup is a destination of backups.
type backup struct {
	dest  string
	whole *record // what it has, if it is whole
}

// made is a backup that has ended, and where it was killed; empty if it was not.
type made struct {
	killed string
	moved  bool // it has given up: its source changed all the time
	early  bool // no daemon has lived long enough yet to make a data directory
	holds  record
}

// snapshot asks for one, and notes what it has to hold.
func (c *crashRun) snapshot() error {
	before := c.record()
	code, body, err := request(c.p, http.MethodPost, "/api/v1/admin/snapshot", nil)
	before = before.until(c.record())
	if err != nil {
		c.asked = &before
		return err
	}
	var s struct{ Path string }
	if err := json.Unmarshal(body, &s); err != nil || code != http.StatusOK || s.Path == "" {
		return fmt.Errorf("snapshot: %d %s", code, body)
	}
	c.snapshots[s.Path] = before
	return nil
}

// unfinished are the snapshots that were being made, or deleted.
func (c *crashRun) unfinished() []string {
	building, err := filepath.Glob(filepath.Join(c.dir, "tmp", "snapshot-*"))
	if err != nil {
		c.t.Fatal(err)
	}
	leaving, err := filepath.Glob(filepath.Join(c.dir, "tmp", "snapshots", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	return append(building, leaving...)
}

// lookAtCopies wants what the killed daemon has left under snapshots/ to be
// whole, and looks at a backup that was made beside it.
func (c *crashRun) lookAtCopies() {
	paths, err := filepath.Glob(filepath.Join(c.dir, "snapshots", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, path := range paths {
		rel := filepath.Join("snapshots", filepath.Base(path))
		if _, ok := c.snapshots[rel]; !ok {
			if c.asked == nil {
				c.t.Errorf("nobody has asked for %s", rel)
				continue
			}
			c.snapshots[rel], c.asked = *c.asked, nil
			c.kills.found("a snapshot that was not answered")
		}
		if !c.seen[rel] {
			c.seen[rel] = true
			c.kills.found("a snapshot")
			c.whole(path, c.snapshots[rel])
		}
	}
	c.asked = nil
	for rel := range c.snapshots {
		if slices.Contains(paths, filepath.Join(c.dir, rel)) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(c.dir, "tmp", rel)); err != nil || !c.leaving {
			c.t.Errorf("%s was answered and is gone: %v", rel, err)
		}
		delete(c.snapshots, rel)
	}
	if m := c.beside; m != nil {
		c.beside = nil
		c.lookAtBackup(c.onto, *m)
	}
}

// lookAgain looks at snapshots that have seen days sealed again and deleted,
// has the program verify one, and deletes them.
func (c *crashRun) lookAgain() {
	for i, rel := range sorted(c.snapshots) {
		if path := filepath.Join(c.dir, rel); i == 0 {
			verified(c.t, path)
		} else if i < 3 {
			c.whole(path, c.snapshots[rel])
		}
	}
	if c.t.Failed() {
		return // they may be wanted
	}
	for rel := range c.snapshots {
		if err := os.RemoveAll(filepath.Join(c.dir, rel)); err != nil {
			c.t.Fatal(err)
		}
		delete(c.snapshots, rel)
	}
}

func sorted(m map[string]record) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// whole wants a copy to be whole, and to hold what it has to.
func (c *crashRun) whole(dir string, r record) {
	found, rows, err := examine(dir)
	if err != nil || len(found) > 0 {
		c.t.Errorf("%s: %v %+v", dir, err, found)
		return
	}
	for _, err := range r.differs(rows) {
		c.t.Errorf("%s: %v", dir, err)
	}
}

// differs is what is wrong with the rows of a copy. Days that are kept in it may
// have more than the original.
func (r record) differs(rows map[string]task.Invocation) (wrong []error) {
	for id, row := range rows {
		k, ok := r.tasks[id]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s was not sent", id))
			continue
		}
		k.missing = false
		if err := k.compare(id, row, r.gone); err != nil {
			wrong = append(wrong, err)
		}
	}
	for id, k := range r.tasks {
		if _, ok := rows[id]; !ok {
			if err := k.absent(id, "it is not in the copy", r.gone); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	return wrong
}

// examine verifies a copy as `daybook verify` does, and reads it through.
func examine(dir string) (found []tsdb.Finding, rows map[string]task.Invocation, err error) {
	o := tsdb.DefaultOptions()
	o.Dir = dir
	db, err := tsdb.OpenReadOnly(o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx := context.Background()
	if err := db.Verify(ctx, nil, func(f tsdb.Finding) {
		if !f.Note {
			found = append(found, f)
		}
	}); err != nil || len(found) > 0 { // what says that it is not whole need not show anything
		return found, nil, err
	}
	rows = map[string]task.Invocation{}
	for q := (tsdb.Query{Limit: 1000, Details: true}); ; {
		page, err := db.Select(ctx, q)
		if err != nil {
			return found, rows, err
		}
		for _, v := range page.Invocations {
			if _, twice := rows[v.TaskID]; twice {
				return found, rows, fmt.Errorf("%s is there twice", v.TaskID)
			}
			if rows[v.TaskID], err = task.ParseJSON(task.AppendJSON(nil, &v)); err != nil { // as a client sees it
				return found, rows, err
			}
		}
		if page.Next == nil {
			break
		}
		q.After = page.Next
	}
	tasks := accounts{}
	for _, v := range rows {
		tasks.row(&v)
	}
	sums, series, err := sumsOfCopy(db, tasks.named())
	if err == nil {
		err = errors.Join(tasks.differ("summaries", sums), tasks.named().differ("sums of series", series))
	}
	return found, rows, err
}

// backUp runs daybook backup, which kills itself where it is told to.
func (c *crashRun) backUp(b *backup, crash string, prune bool) (m made, err error) {
	args := []string{"backup", "--storage.path=" + c.dir, b.dest}
	if prune {
		args = append(args, "--prune")
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "DAYBOOK_CRASH="+crash)
	before := c.record()
	out, err := cmd.CombinedOutput()
	m.holds = before.until(c.record())
	m.killed = killedAt(string(out))
	switch {
	case m.killed != "":
		c.kills.backup(m.killed)
		return m, nil
	case err != nil && strings.Contains(string(out), "changed while it was being copied"):
		m.moved = true
		return m, nil
	case err != nil && len(before.tasks) == 0 && strings.Contains(string(out), "is no data directory"):
		m.early = true
		return m, nil
	case err != nil:
		return m, fmt.Errorf("daybook backup, with DAYBOOK_CRASH=%s: %w\n%s", crash, err, out)
	}
	return m, nil
}

// anyMoment is where a backup kills itself, or not.
func anyMoment(r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return ""
	case 1:
		return oneOf(r, backupPoints()...)
	}
	return fmt.Sprint("op:", 1+r.IntN(1<<(2+r.IntN(8))))
}

func backupPoints() (points []string) {
	for _, p := range fault.Points {
		if kind, _, _ := strings.Cut(p, "."); kind == "backup" || kind == "copy" {
			points = append(points, p)
		}
	}
	return points
}

// backupBeside makes one beside the daemon, which goes on.
func (c *crashRun) backupBeside(r *rand.Rand) error {
	if c.beside != nil { // the one before is looked at first
		return nil
	}
	m, err := c.backUp(c.onto, anyMoment(r), r.IntN(2) == 0)
	if err == nil {
		c.beside = &m
	}
	return err
}

// backup makes one without a daemon, looks at what is left of it and of the one
// before, and returns where it killed itself.
func (c *crashRun) backup(b *backup, crash string) string {
	m, err := c.backUp(b, crash, c.r.IntN(2) == 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.lookAtBackup(b, m)
	return m.killed
}

// lookAtBackup wants a backup that has ended to be what it was before, or whole,
// or to say that it is not.
func (c *crashRun) lookAtBackup(b *backup, m made) {
	old := b.whole
	if m.early {
		return // nothing was written
	}
	if _, err := os.Lstat(filepath.Join(b.dest, "BACKUP")); errors.Is(err, fs.ErrNotExist) && old == nil && m.killed != "" {
		return // it was killed before it had begun
	}
	found, rows, err := examine(b.dest)
	what := fmt.Sprintf("%s, a backup killed at %q, over a whole one: %v", b.dest, m.killed, old != nil)
	if err != nil {
		c.t.Errorf("%s: %v %+v", what, err, found)
		return
	}
	unfinished := slices.ContainsFunc(found, func(f tsdb.Finding) bool {
		return strings.Contains(f.Remedy, "run `daybook backup` into this directory again")
	})
	var is string
	var wrong []error
	switch {
	case unfinished:
		is, b.whole = "unfinished", nil
	case len(found) > 0:
		c.t.Errorf("%s: %+v", what, found)
		return
	default:
		wrong = m.holds.differs(rows)
		if len(wrong) == 0 {
			is, b.whole = "new", &m.holds
			break
		}
		if old != nil {
			older := old.differs(rows)
			if len(older) == 0 {
				is = "old"
				break
			}
			wrong = append(wrong, older...)
		}
		c.t.Errorf("%s: it is taken for a whole one: %v", what, errors.Join(wrong[:min(4, len(wrong))]...))
		return
	}
	if !may(m, is, old != nil) {
		c.t.Errorf("%s is %s: %+v", what, is, found)
	}
	over := "a first one"
	if old != nil {
		over = "over a whole one"
	}
	c.kills.found(fmt.Sprintf("a backup, %s, %s", over, is))
}

// may tells whether what is left of a backup may be that.
func may(m made, is string, over bool) bool {
	switch m.killed {
	case "", "backup.marked":
		return is == "new" || m.moved && (is == "old" || !over)
	case "backup.whole": // but it does not say so yet, if it is the first one
		return is == "new" || is == "unfinished" && !over
	case "copy.captured", "copy.live", "backup.logged", "backup.copied": // Dest is what it was
		return over == (is != "unfinished")
	case "op":
		return true
	}
	return is == "unfinished"
}

// complete wants the next backup to mend what a killed one has left, and to have
// everything; now and then it is served.
func (c *crashRun) complete(b *backup, serves bool) {
	if at := c.backup(b, ""); at != "" || b.whole == nil {
		c.t.Fatalf("%s is not whole: %s", b.dest, at)
	}
	if left, err := filepath.Glob(filepath.Join(b.dest, "tmp", "*")); err != nil || len(left) > 0 {
		c.t.Errorf("a backup leaves %v %v", left, err)
	}
	if !serves {
		return
	}
	verified(c.t, b.dest)
	p := serve(c.t, b.dest, "--storage.read-only")
	r := b.whole.kept()
	c.shows(p, r, func(id, answer string) error {
		k := r.tasks[id]
		return k.absent(id, answer, r.gone)
	})
	p.kill()
}

// kept is the record of a copy: days that are gone may be in it.
func (r record) kept() record {
	out := record{tasks: map[string]known{}, gone: r.gone}
	for id, k := range r.tasks {
		k.missing = false
		out.tasks[id] = k
	}
	return out
}
