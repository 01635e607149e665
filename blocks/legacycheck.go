package blocks

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// legacyCheckLines is how many complaints of SQLite are passed on.
const legacyCheckLines = 20

// IsOurs tells a file of Daybook's, damaged ones included, from a legacy or a
// foreign one: by its name, or by what its header says.
func IsOurs(path string) bool {
	base := filepath.Base(path)
	_, _, sealed := ParseSealedName(base)
	_, _, live := ParseLiveName(base)
	_, parked := ParseParkedName(base)
	if sealed || live || parked {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [72]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:16]) == sqliteMagic && binary.BigEndian.Uint32(head[68:]) == uint32(applicationID)
}

// CheckLegacy looks for what is wrong with a legacy file: why it cannot be
// attached, damage, rows that are passed over. It reads all of it and changes
// nothing. The error is that of ctx.
func CheckLegacy(ctx context.Context, path string) ([]Finding, error) {
	l, err := OpenLegacy(path)
	if err != nil {
		return []Finding{legacyFinding(path, err)}, nil
	}
	found, err := l.check(ctx)
	if cause := ctx.Err(); cause != nil {
		return found, errors.Join(cause, l.Close())
	}
	if err != nil {
		found = append(found, legacyFinding(path, legacyError(ctx, path, err)))
	}
	if err := l.Close(); err != nil {
		found = append(found, legacyFinding(path, err))
	}
	return found, nil
}

// legacyFinding is an error as a finding.
func legacyFinding(path string, err error) Finding {
	var le *LegacyError
	if errors.As(err, &le) {
		if errors.Is(err, ErrForeign) { // wherever the path is from
			return Finding{Path: le.Path, Problem: le.Reason, Remedy: "check the path: this is neither a file of Daybook nor a database of Phlower's"}
		}
		return Finding{Path: le.Path, Problem: le.Reason, Remedy: le.Remedy}
	}
	return Finding{Path: path, Problem: err.Error()}
}

func (l *Legacy) check(ctx context.Context) (found []Finding, err error) {
	if err := l.guard.check(); err != nil {
		return nil, err
	}
	err = l.pool.with(ctx, func(c *conn) error {
		var v legacyTexts
		err := c.each(ctx, 1, func(vals []driver.Value) error {
			if line := v.text(vals[0]); line != "ok" {
				found = append(found, Finding{Path: l.path, Problem: "damaged: " + foundLine(line), Remedy: legacyRecover(l.path)})
			}
			return nil
		}, fmt.Sprintf("PRAGMA integrity_check(%d)", legacyCheckLines))
		if err != nil || len(found) > 0 {
			return err
		}
		for _, t := range l.tables {
			n, err := t.passedOver(ctx, c)
			if err != nil {
				return err
			}
			if n > 0 {
				found = append(found, Finding{Path: l.path, Note: true,
					Problem: fmt.Sprintf("%d rows of table %s are not shown: they have no usable task_id, no task_name, or a state that Phlower does not write", n, t.plain),
					Remedy:  "nothing, unless they are missed: sqlite3 shows them"})
			}
			if t.byTime == "" {
				found = append(found, Finding{Path: l.path, Note: true,
					Problem: "table " + t.plain + " has no index by time: it was written by an older Phlower after a rollback",
					Remedy:  "nothing: Daybook makes one in memory when it is first asked"})
			}
		}
		return nil
	})
	if err == nil {
		err = l.guard.check()
	}
	return found, err
}

// passedOver counts the rows of a table that are never shown.
func (t *legacyTable) passedOver(ctx context.Context, c *conn) (n int64, err error) {
	var r legacyRow
	for after := t.firstRow - 1; ; {
		batch := 0
		err := c.each(ctx, legacyCoreCount, func(vals []driver.Value) error {
			batch++
			if !r.scan(t, vals) {
				n++
			}
			after, _ = vals[0].(int64)
			return nil
		}, t.allText(), after, int64(legacyBatch))
		if err != nil || batch < legacyBatch {
			return n, err
		}
	}
}
