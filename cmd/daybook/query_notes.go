package main

import (
	"fmt"
	"io"
	"slices"

	"daybook/tsdb"
)

// coverageNotes collects what pages do not cover, to be said once.
type coverageNotes struct {
	from, retention int64
	gaps            []tsdb.Gap
	unreadable      []string
	inexact         bool
}

func (n *coverageNotes) add(c *tsdb.Coverage) {
	n.from, n.retention = c.From, c.RetentionFrom
	n.inexact = n.inexact || c.Inexact
	for _, g := range c.Gaps {
		if !slices.Contains(n.gaps, g) {
			n.gaps = append(n.gaps, g)
		}
	}
	for _, name := range c.Unreadable {
		if !slices.Contains(n.unreadable, name) {
			n.unreadable = append(n.unreadable, name)
		}
	}
}

// print says it. That rows are deleted by age is worth saying if they were asked for,
// or if nothing was found.
func (n *coverageNotes) print(w io.Writer, found int, complete bool) {
	if !complete {
		fmt.Fprintln(w, "daybook: the time limit ended the query: there may be more")
	}
	if n.inexact {
		fmt.Fprintln(w, "daybook: rows moved while they were read: some may be missing, ask again")
	}
	for _, name := range n.unreadable {
		fmt.Fprintf(w, "daybook: not covered: %s cannot be read, daybook verify says more\n", printable(name))
	}
	for _, g := range n.gaps {
		source, missing := "", ""
		if g.Source != "" {
			source = fmt.Sprintf(" (%s)", printable(g.Source))
		}
		if g.Count > 0 {
			missing = fmt.Sprintf(", %d missing", g.Count)
		}
		fmt.Fprintf(w, "daybook: not covered: %s to %s, %s%s%s\n", clock(g.From), clock(g.To), printable(g.Cause), source, missing)
	}
	if n.retention > 0 && (found == 0 || n.from != 0) && n.from < n.retention {
		fmt.Fprintf(w, "daybook: not covered: what ended before %s is not kept (--retention.time)\n", clock(n.retention))
	}
}
