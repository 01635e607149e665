package blocks

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"

	"daybook/tsdb/task"
)

// columns are the stored columns of invocation in the order of encodeRow. The
// dictionary columns (name, worker, queue, exception) hold ids.
const columns = "key, task_id, name, state, sent, received, started, updated, runtime, worker, queue, exception, retries, detail, root, parent, eta, expires, truncated, given_up, residue"

const columnCount = 21

// readColumns are what decodeRow reads, from a row i joined as in joins.
const readColumns = "i.key, i.task_id, n.name, i.state, i.sent, i.received, i.started, i.updated, i.runtime, w.name, q.name, e.name, i.retries, i.detail, i.root, i.parent, i.eta, i.expires, i.truncated, i.given_up, i.residue"

// joins brings in the dictionaries of one attached schema for a row i.
func joins(schema string) string {
	return fmt.Sprintf(" LEFT JOIN %[1]s.task_name AS n ON n.id = i.name LEFT JOIN %[1]s.worker AS w ON w.id = i.worker"+
		" LEFT JOIN %[1]s.queue AS q ON q.id = i.queue LEFT JOIN %[1]s.exception AS e ON e.id = i.exception", schema)
}

// dictIDs are a row's dictionary ids; 0 stands for an empty text.
type dictIDs struct{ name, worker, queue, exception int64 }

// encodeRow fills args, of columnCount values, with the stored form of v under
// a key. detail is the place of its details (chunk*chunkRows+index), or -1; short
// is for files from version 5 on.
func encodeRow(args []driver.NamedValue, v *task.Invocation, key int64, ids dictIDs, detail int64, short bool) {
	at := v.RowTime()
	args[0].Value = key
	args[1].Value = bindID(v.TaskID)
	args[2].Value = orNull(ids.name)
	args[3].Value = int64(v.State)
	args[4].Value = offset(v.SentAt, at-v.SentAt)
	args[5].Value = offset(v.ReceivedAt, at-v.ReceivedAt)
	args[6].Value = offset(v.StartedAt, at-v.StartedAt)
	args[7].Value = orNull(v.UpdatedAt - at)
	args[8].Value = nil
	if v.Outcome.HasRuntime {
		args[8].Value = v.Outcome.Runtime
	}
	args[9].Value = orNull(ids.worker)
	args[10].Value = orNull(ids.queue)
	args[11].Value = orNull(ids.exception)
	args[12].Value = orNull(int64(v.Retries))
	args[13].Value = nil
	if detail >= 0 {
		args[13].Value = detail
	}
	args[14].Value, args[15].Value = nil, nil
	switch {
	case v.RootID == v.TaskID:
		args[14].Value = ownRoot
	case v.RootID != "":
		args[14].Value = bindID(v.RootID)
	}
	if v.ParentID != "" {
		args[15].Value = bindID(v.ParentID)
	}
	args[16].Value = offset(v.ETA, v.ETA-at)
	args[17].Value = offset(v.Expires, v.Expires-at)
	args[18].Value = orNull(int64(v.Truncated))
	args[19].Value = nil
	if v.GivenUpAt != 0 {
		args[19].Value = int64(1)
	}
	args[20].Value = nil
	if r := v.Residue(short); r != nil {
		args[20].Value = r
	}
}

// ownRoot is stored as the root of a row that is its own.
var ownRoot driver.Value = []byte{}

func orNull(n int64) driver.Value {
	if n == 0 {
		return nil
	}
	return n
}

// offset is delta, or NULL if the time itself is not known.
func offset(at, delta int64) driver.Value {
	if at == 0 {
		return nil
	}
	return delta
}

// errRow is returned for a row whose columns are not of the format.
var errRow = errors.New("a stored row is not of the format")

// decodeRow reads readColumns into an Invocation, without its details; after
// the details are set (chunkReader.details) or left out, Restore completes it. It
// returns the row's key and the place of the details, -1 if there are none.
func decodeRow(vals []driver.Value, day task.Day, v *task.Invocation) (key, detail int64, residue []byte, err error) {
	var c columnReader
	key = c.int(vals[0])
	at := keyTime(day, key)
	if v.TaskID, err = scanID(vals[1]); err != nil {
		return 0, 0, nil, err
	}
	v.TaskName = c.text(vals[2])
	v.State = task.State(c.within(vals[3], 0, math.MaxUint8))
	v.SentAt = c.before(at, vals[4])
	v.ReceivedAt = c.before(at, vals[5])
	v.StartedAt = c.before(at, vals[6])
	v.UpdatedAt = at + c.within(vals[7], -farthest, farthest)
	if vals[8] != nil {
		v.Outcome.HasRuntime, v.Outcome.Runtime = true, c.int(vals[8])
	}
	v.Worker = c.text(vals[9])
	v.Queue = c.text(vals[10])
	v.Outcome.ExceptionType = c.text(vals[11])
	v.Retries = int32(c.within(vals[12], 0, math.MaxInt32))
	detail = -1
	if vals[13] != nil {
		detail = c.within(vals[13], 0, math.MaxInt64)
	}
	v.RootID = c.id(vals[14], v.TaskID)
	v.ParentID = c.id(vals[15], "")
	v.ETA = c.after(at, vals[16])
	v.Expires = c.after(at, vals[17])
	v.Truncated = task.Field(c.within(vals[18], 0, math.MaxUint16))
	if vals[19] != nil {
		v.GivenUpAt = at
	}
	if vals[20] != nil {
		residue, _ = vals[20].([]byte)
		c.bad = c.bad || residue == nil
	}
	if v.State.Finished() {
		v.FinishedAt = at
	}
	if c.bad || !v.State.Valid() {
		return 0, 0, nil, fmt.Errorf("key %d: %w", key, errRow)
	}
	return key, detail, residue, nil
}

// columnReader converts driver values; bad once one had the wrong type.
type columnReader struct{ bad bool }

func (c *columnReader) int(v driver.Value) int64 {
	switch n := v.(type) {
	case nil:
		return 0
	case int64:
		return n
	}
	c.bad = true
	return 0
}

// farthest is more than any time is away from another, in microseconds.
const farthest = 1 << 60

// within is int of a number with bounds: one cut to fit would be another.
func (c *columnReader) within(v driver.Value, low, high int64) int64 {
	n := c.int(v)
	if n < low || n > high {
		c.bad = true
		return 0
	}
	return n
}

func (c *columnReader) text(v driver.Value) string {
	switch s := v.(type) {
	case nil:
		return ""
	case string:
		return s
	}
	c.bad = true
	return ""
}

func (c *columnReader) before(at int64, v driver.Value) int64 {
	if v == nil {
		return 0
	}
	return at - c.within(v, -farthest, farthest)
}

func (c *columnReader) after(at int64, v driver.Value) int64 {
	if v == nil {
		return 0
	}
	return at + c.within(v, -farthest, farthest)
}

func (c *columnReader) id(v driver.Value, own string) string {
	if v == nil {
		return ""
	}
	if b, ok := v.([]byte); ok && len(b) == 0 && own != "" {
		return own
	}
	id, err := scanID(v)
	c.bad = c.bad || err != nil
	return id
}
