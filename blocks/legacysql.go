package blocks

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// Every statement names its index, so that the planner has nothing to choose:
// testdata/legacy-explain.golden has the plans. Texts are read as bytes, which
// a NUL does not end, and no further than a row may be long; what is not text
// in a column of texts is absent.

const (
	legacyCoreCount   = 11
	legacyDetailCount = 3
)

// core lists what legacyRow.scan reads.
func (t *legacyTable) core() string {
	text := func(name string, limit int) string {
		if !t.columns[name] {
			return "NULL"
		}
		return legacyText("t."+name, limit)
	}
	number := func(name string) string {
		if !t.columns[name] {
			return "NULL"
		}
		return "+t." + name // an expression: no conversion by the declared type
	}
	return strings.Join([]string{"t._rowid_", text("task_id", task.MaxID), text("task_name", task.MaxName), text("state", 16),
		number("received_at"), number("started_at"), number("finished_at"), number("runtime_ms"),
		text("worker", task.MaxName), text("queue", task.MaxName), text("exception_type", task.MaxName)}, ", ")
}

// legacyText reads a text with some bytes more than are kept, by which it is
// seen that it is longer.
func legacyText(column string, limit int) string {
	return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'text' THEN substr(CAST(%[1]s AS BLOB), 1, %[2]d) END", column, limit+utf8.UTFMax)
}

func legacyDetailList(alias string) string {
	return legacyText(alias+".args_preview", task.MaxText) + ", " + legacyText(alias+".kwargs_preview", task.MaxText) + ", " + legacyText(alias+".traceback_snippet", task.MaxTraceback)
}

// byIDText finds the row of an id, byRowText that of a row id.
func (t *legacyTable) byIDText() string {
	return "SELECT " + t.core() + " FROM " + t.name + " AS t INDEXED BY " + t.byID + " WHERE t.task_id = ? COLLATE BINARY"
}

func (t *legacyTable) byRowText() string {
	return "SELECT " + t.core() + " FROM " + t.name + " AS t NOT INDEXED WHERE t._rowid_ = ?"
}

// detailsText finds the details of a row; "" if there are none. Its argument is
// the row id if they are inline, else the task id.
func (t *legacyTable) detailsText() string {
	switch {
	case t.inline:
		return "SELECT " + legacyDetailList("t") + " FROM " + t.name + " AS t NOT INDEXED WHERE t._rowid_ = ?"
	case t.details != "":
		return "SELECT " + legacyDetailList("d") + " FROM " + t.details + " AS d INDEXED BY " + t.detailID + " WHERE d.task_id = ? COLLATE BINARY"
	}
	return ""
}

// legacyCompound is how many tables one statement asks: SQLite compounds 500.
const legacyCompound = 200

// legacyHoldsTexts tell which tables hold an id, by their indexes alone.
func legacyHoldsTexts(tables []*legacyTable) []string {
	var out []string
	for some := range slices.Chunk(tables, legacyCompound) {
		var arms []string
		for _, t := range some {
			arms = append(arms, fmt.Sprintf("SELECT %d FROM %s AS t INDEXED BY %s WHERE t.task_id = ?1 COLLATE BINARY", t.n, t.name, t.byID))
		}
		out = append(out, strings.Join(arms, " UNION ALL "))
	}
	return out
}

// legacyRange is the condition that keeps to rows with a proper finished_at.
const legacyRange = "t.finished_at >= ? AND t.finished_at <= ?"

// scanText is the statement of an arm: the rows between two times, by time. With a
// name, those of that name.
func (t *legacyTable) scanText(name bool, conds []string, oldest bool) string {
	return "SELECT " + t.core() + t.armText(name, conds, oldest)
}

// edgeText is the statement that finds the time of an arm's next row.
func (t *legacyTable) edgeText(name, oldest bool) string {
	return "SELECT +t.finished_at" + t.armText(name, nil, oldest) + " LIMIT 1"
}

func (t *legacyTable) armText(name bool, conds []string, oldest bool) string {
	index, where := t.byTime, legacyRange
	if name {
		index, where = t.byName, "t.task_name = ? COLLATE BINARY AND "+where
	}
	order := " DESC"
	if oldest {
		order = ""
	}
	return " FROM " + t.name + " AS t INDEXED BY " + index + " WHERE " + strings.Join(append([]string{where}, conds...), " AND ") + " ORDER BY t.finished_at" + order
}

// nameText finds the first name at or after one: a walk over the distinct
// names of an index, however many rows each has.
func (t *legacyTable) nameText() string {
	return "SELECT " + legacyText("t.task_name", task.MaxName) + " FROM " + t.name + " AS t INDEXED BY " + t.byName +
		" WHERE t.task_name > ? COLLATE BINARY ORDER BY t.task_name COLLATE BINARY LIMIT 1"
}

// legacyStrayConds are the ranges of the index by finished_at in which rows without
// a proper time are: absent, before or after all time, or no number. The last
// one is of texts and blobs, which come after all numbers.
var legacyStrayConds = []string{
	"t.finished_at IS NULL",
	fmt.Sprintf("t.finished_at < %f", legacyFirst),
	fmt.Sprintf("t.finished_at >= %.1f AND t.finished_at < ''", legacyLast),
	"t.finished_at >= ''",
}

// strayText is the statement for the rows of one of these ranges, of one name
// or after a row id. Those that are NULL, the only ones there are, come by row
// id; the others all at once.
func (t *legacyTable) strayText(i int, name bool) string {
	index, where := t.byTime, ""
	if name {
		index, where = t.byName, "t.task_name = ? COLLATE BINARY AND "
	}
	text := "SELECT " + t.core() + " FROM " + t.name + " AS t INDEXED BY " + index + " WHERE " + where + legacyStrayConds[i]
	if i == 0 {
		text += " AND t._rowid_ > ? ORDER BY t._rowid_"
	}
	return text + " LIMIT ?"
}

// oddText tells whether there is a row in any of these ranges but the first.
func (t *legacyTable) oddText() string {
	var any []string
	for _, cond := range legacyStrayConds[1:] {
		any = append(any, "EXISTS (SELECT 1 FROM "+t.name+" AS t INDEXED BY "+t.byTime+" WHERE "+cond+")")
	}
	return "SELECT " + strings.Join(any, " OR ")
}

// allText reads a table without an index by time, in the order of its rows.
func (t *legacyTable) allText() string {
	return "SELECT " + t.core() + " FROM " + t.name + " AS t NOT INDEXED WHERE t._rowid_ > ? ORDER BY t._rowid_ LIMIT ?"
}

// neighbourText finds the time of the nearest row before or after a row id.
func (t *legacyTable) neighbourText(before bool) string {
	where, order := "t._rowid_ > ?1 AND t._rowid_ <= ?1 + ?2", ""
	if before {
		where, order = "t._rowid_ < ?1 AND t._rowid_ >= ?1 - ?2", " DESC"
	}
	return "SELECT +t.finished_at FROM " + t.name + " AS t NOT INDEXED WHERE " + where + fmt.Sprintf(" AND t.finished_at >= %f AND t.finished_at < %.1f", legacyFirst, legacyLast) + " ORDER BY t._rowid_" + order + " LIMIT 1"
}

// legacyFilter are the conditions of a filter that SQL can tell for a single
// row. Every row that stands for a task that matches passes; task.Filter.Match
// has the last word. gaps says that other tables may fill what a row leaves
// open, so that open ones pass too.
func legacyFilter(t *legacyTable, f *task.Filter, states []task.State, gaps bool) (text []string, args []driver.Value) {
	add := func(s string, a ...driver.Value) { text, args = append(text, s), append(args, a...) }
	if len(states) == 1 {
		// Of the three states, the one that is not meant is left out; a row in
		// a state RETRY that has ended can be either.
		other := map[task.State]string{task.StateSuccess: "FAILURE", task.StateFailure: "SUCCESS"}[states[0]]
		if other != "" {
			add("t.state <> '" + other + "'")
		}
	}
	for _, c := range []struct {
		column string
		values []string
		gaps   bool
	}{{"worker", f.Workers, gaps}, {"queue", f.Queues, gaps}, {"exception_type", one(f.ExceptionType), false}} {
		if len(c.values) != 1 || !t.columns[c.column] || !plainText(c.values[0]) {
			continue
		}
		if c.gaps {
			add(fmt.Sprintf("(t.%[1]s = ? OR t.%[1]s = '' OR typeof(t.%[1]s) <> 'text')", c.column), c.values[0])
		} else {
			add("t."+c.column+" = ?", c.values[0])
		}
	}
	if t.columns["runtime_ms"] && f.HasMinRuntime && f.MinRuntime > 0 {
		add("t.runtime_ms >= ?", float64(f.MinRuntime-1)/1000)
	}
	if t.columns["runtime_ms"] && f.HasMaxRuntime {
		add("t.runtime_ms <= ?", float64(f.MaxRuntime+1)/1000)
	}
	return text, args
}

// plainText reports whether a text is stored as it is shown: not empty, not
// cut, and nothing in it was mended.
func plainText(s string) bool {
	return s != "" && len(s) < task.MaxName-utf8.UTFMax && !strings.ContainsRune(s, utf8.RuneError)
}
