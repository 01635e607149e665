package blocks

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
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
		if len(gone[d.Day]) > 0 {
			var ids []string
			for id := range gone[d.Day] {
				ids = append(ids, quoteText(id))
			}
			slices.Sort(ids)
			arm += " WHERE task_id NOT IN (" + strings.Join(ids, ", ") + ")"
		}
		arms = append(arms, arm)
	}
	if len(arms) > cliAttaches {
		return "", &TooManyFilesError{len(arms), cliAttaches}
	}
	if len(arms) > 0 {
		fmt.Fprintf(&b, "CREATE TEMP VIEW invocations AS\n%s;\n", strings.Join(arms, "\nUNION ALL\n"))
	}
	return b.String(), nil
}

// quoteText is a text as SQL writes it; a NUL, which would end it, cannot be
// in a path, and ids with one are left as their hexadecimal.
func quoteText(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Sprintf("CAST(x'%x' AS TEXT)", s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
