package yardstick

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// The ancestor's layout: pages of 4 KiB, as it had them.
var ancestor = layout{
	schema: `PRAGMA journal_mode=WAL;
CREATE TABLE invocations (task_id TEXT PRIMARY KEY, task_name TEXT NOT NULL, state TEXT NOT NULL,
  received_at REAL, started_at REAL, finished_at REAL, runtime_ms REAL, worker TEXT, queue TEXT, exception_type TEXT);
CREATE INDEX idx_inv_finished ON invocations (finished_at);
CREATE INDEX idx_inv_task_name ON invocations (task_name, finished_at);
CREATE TABLE invocation_details (task_id TEXT PRIMARY KEY, args_preview TEXT, kwargs_preview TEXT, traceback_snippet TEXT);`,
	insert: insertAncestor,
}

// What the ancestor kept of args and kwargs.
const (
	argsPreview   = 500
	kwargsPreview = 1000
)

func insertAncestor(t *Table, invs []*task.Invocation) error {
	for _, v := range invs {
		var runtime driver.Value
		if v.Outcome.HasRuntime {
			runtime = float64(v.Outcome.Runtime) / 1e3
		}
		err := t.exec("INSERT OR REPLACE INTO invocations VALUES (?,?,?,?,?,?,?,?,?,?)", v.TaskID, v.TaskName, v.State.String(),
			seconds(v.ReceivedAt), seconds(v.StartedAt), seconds(v.FinishedAt), runtime, v.Worker, v.Queue, orNull(v.Outcome.ExceptionType))
		if err != nil {
			return err
		}
		if err := t.exec("INSERT OR REPLACE INTO invocation_details VALUES (?,?,?,?)", v.TaskID,
			v.Args[:min(len(v.Args), argsPreview)], v.Kwargs[:min(len(v.Kwargs), kwargsPreview)], orNull(v.Outcome.Traceback)); err != nil {
			return err
		}
	}
	return nil
}

func seconds(us int64) driver.Value {
	if us == 0 {
		return nil
	}
	return float64(us) / 1e6
}

func orNull(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

// The queries below are those of the ancestor. Each returns how many rows it
// read.

// Get looks an id up, with its details.
func (t *Table) Get(id string) (int, error) {
	return t.count("SELECT i.*, d.* FROM invocations i LEFT JOIN invocation_details d USING (task_id) WHERE i.task_id = ?", id)
}

// NewestOfTask lists the newest of a task.
func (t *Table) NewestOfTask(name string, n int) (int, error) {
	return t.count("SELECT i.*, d.* FROM invocations i LEFT JOIN invocation_details d USING (task_id) WHERE task_name = ? ORDER BY finished_at DESC LIMIT ?", name, int64(n))
}

// NewestFailures lists the newest failures.
func (t *Table) NewestFailures(n int) (int, error) {
	return t.count("SELECT i.*, d.* FROM invocations i LEFT JOIN invocation_details d USING (task_id) WHERE state = 'FAILURE' ORDER BY finished_at DESC LIMIT ?", int64(n))
}

// Summary counts all tasks by state and averages their runtimes: less than a
// summary with percentiles, which plain SQL has not.
func (t *Table) Summary() (int, error) {
	return t.count("SELECT task_name, state, count(*), avg(runtime_ms), min(runtime_ms), max(runtime_ms) FROM invocations GROUP BY task_name, state")
}

// DeleteBefore deletes what ended before a time, in microseconds, as the
// ancestor's retention did every hour. It takes minutes of a large table, and
// ends when ctx does.
func (t *Table) DeleteBefore(ctx context.Context, us int64) error {
	for _, sql := range []string{
		"DELETE FROM invocation_details WHERE task_id IN (SELECT task_id FROM invocations WHERE finished_at < ?)",
		"DELETE FROM invocations WHERE finished_at < ?",
	} {
		s, err := t.prepare(sql)
		if err = errors.Join(err, ctx.Err()); err == nil {
			_, err = s.ExecContext(ctx, t.named([]driver.Value{seconds(us)}))
		}
		if err != nil {
			return fmt.Errorf("deleting from the ancestor's layout: %w", err)
		}
	}
	return nil
}
