package blocks

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"daybook/tsdb/task"
)

// cliAttaches is how many files a sqlite3 CLI attaches unless it was compiled
// otherwise.
const cliAttaches = 10

// AttachText is a script for the sqlite3 CLI, 3.37 or newer: it attaches the
// sealed days of a range and makes a TEMP view `invocations` over them that
// shows each task_id once. Live files are left out: older versions of the CLI
// can damage one that is being written.
func AttachText(ctx context.Context, v *View, o SQLOptions) (string, error) {
	var b strings.Builder
	var arms []string
	gone, err := v.superseded(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range v.gen.days {
		if d.Sealed == nil || !o.inRange(d.Day) {
			continue
		}
		path, err := filepath.Abs(d.Sealed.Path())
		if err != nil {
			return "", err
		}
		schema := "d" + strings.ReplaceAll(d.Day.String(), "-", "")
		fmt.Fprintf(&b, "ATTACH %s AS %s;\n", quoteText(fileURI(path, modeImmutable)), schema)
		arm := "SELECT * FROM " + schema + ".invocations"
		where := o.within(d.Day)
		if len(gone[d.Day]) > 0 {
			var ids []string
			for id := range gone[d.Day] {
				ids = append(ids, quoteText(id))
			}
			slices.Sort(ids)
			where = append(where, "task_id NOT IN ("+strings.Join(ids, ", ")+")")
		}
		if len(where) > 0 {
			arm += " WHERE " + strings.Join(where, " AND ")
		}
		arms = append(arms, arm)
	}
	if len(arms) > cliAttaches {
		return "", &TooManyFilesError{Files: len(arms), Limit: cliAttaches, CLI: true}
	}
	if len(arms) > 0 {
		fmt.Fprintf(&b, "CREATE TEMP VIEW invocations AS\n%s;\n", strings.Join(arms, "\nUNION ALL\n"))
	}
	return b.String(), nil
}

// within are the conditions on the row time of a day's rows, where the range
// begins or ends in it. The view shows it: what is sealed is finished or given up.
func (o *SQLOptions) within(d task.Day) (where []string) {
	const rowTime = "ifnull(finished_at, updated_at)"
	text := func(us int64) string { return time.UnixMicro(us).UTC().Format("'2006-01-02T15:04:05.000000Z'") }
	if o.From > d.Start() {
		where = append(where, rowTime+" >= "+text(o.From))
	}
	if o.To != 0 && o.To < d.End() {
		where = append(where, rowTime+" < "+text(o.To))
	}
	return where
}

// quoteText is a text as SQL writes it; a NUL, which would end it, cannot be
// in a path, and ids with one are left as their hexadecimal.
func quoteText(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Sprintf("CAST(x'%x' AS TEXT)", s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
