package blocks

import (
	"fmt"
	"strings"
	"time"

	"daybook/tsdb/task"
)

// The view has the columns of the day files' own view, the place in the order,
// and the details. A column has a type, or none, in every arm alike: SQLite
// flattens a compound, and pushes conditions into it, only if they agree.
var sqlColumns = []struct{ name, typ string }{
	{"task_id", ""}, {"task_name", "TEXT"}, {"state", ""}, {"sent_at", ""}, {"received_at", ""}, {"started_at", ""},
	{"finished_at", ""}, {"updated_at", ""}, {"runtime_ms", ""}, {"worker", "TEXT"}, {"worker_group", ""}, {"queue", "TEXT"},
	{"exception_type", "TEXT"}, {"retries", ""}, {"eta", ""}, {"expires", ""}, {"root_id", ""}, {"parent_id", ""}, {"given_up", ""},
	// ORDER BY day DESC, seq DESC is newest first, and each arm has it by its key:
	// the day is the only row that a table has for it, which SQLite sees, where
	// it would sort by a constant.
	{"day", "TEXT"}, {"seq", "INTEGER"},
	{"args", ""}, {"kwargs", ""}, {"result", ""}, {"exception_message", ""}, {"traceback", ""},
}

// sqlDetails is how many of them, the last ones, are in a chunk.
const sqlDetails = chunkFields

// viewText is the SELECT of the view: memory, then the days from the newest,
// then the legacy files.
func (s *SQL) viewText() string {
	arms := []string{memoryArm()}
	for _, a := range s.arms {
		arms = append(arms, s.armText(a))
	}
	for _, l := range s.old {
		arms = append(arms, l.armTexts()...)
	}
	return strings.Join(arms, "\nUNION ALL\n")
}

// armText is the SELECT of one day file.
func (s *SQL) armText(a *sqlArm) string {
	cols := dayColumns(a.d.Day)
	cols = append(cols, "y.day", "i.key")
	for f := range sqlDetails {
		cols = append(cols, fmt.Sprintf("CASE WHEN i.detail IS NOT NULL THEN daybook_detail(%d, i.detail, %d) END", a.slot, f))
	}
	for i, c := range sqlColumns {
		cols[i] += " AS " + c.name
	}
	text := "SELECT " + strings.Join(cols, ", ") + " FROM temp.daybook_day AS y CROSS JOIN " + a.schema + ".invocation AS i" + joins(a.schema)
	where := []string{"y.day = '" + a.d.Day.String() + "'"}
	if at := s.o.From; at > a.d.Day.Start() {
		where = append(where, fmt.Sprintf("i.key >= %d", firstKey(a.d.Day, at)))
	}
	if at := s.o.To; at != 0 && at < a.d.Day.End() {
		where = append(where, fmt.Sprintf("i.key < %d", firstKey(a.d.Day, at)))
	}
	if a.hidden > 0 {
		where = append(where, fmt.Sprintf("i.key NOT IN (SELECT key FROM temp.hidden_%d)", a.slot))
	}
	return text + " WHERE " + strings.Join(where, " AND ")
}

// dayColumns are the columns of the view before the place, for a row i joined as in joins.
func dayColumns(day task.Day) []string {
	at := func(us string) string {
		return fmt.Sprintf("strftime('%%Y-%%m-%%dT%%H:%%M:%%S', (%[1]s) / 1000000, 'unixepoch') || printf('.%%06dZ', (%[1]s) %% 1000000)", us)
	}
	row := fmt.Sprintf("(%d + (i.key >> %d))", day.Start(), slotBits)
	// The row time lies in the day: its date is a constant.
	const clock = "(i.key >> 26)"
	rowAt := fmt.Sprintf("printf('%sT%%02d:%%02d:%%02d.%%06dZ', %[2]s / 3600000000, %[2]s / 60000000 %% 60, %[2]s / 1000000 %% 60, %[2]s %% 1000000)", day, clock)
	id := func(col string) string {
		h := "lower(hex(" + col + "))"
		return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'blob' THEN substr(%[2]s,1,8)||'-'||substr(%[2]s,9,4)||'-'||substr(%[2]s,13,4)||'-'||substr(%[2]s,17,4)||'-'||substr(%[2]s,21) ELSE %[1]s END", col, h)
	}
	state := "CASE i.state"
	for _, v := range []task.State{task.StateSuccess, task.StateFailure, task.StateRevoked, task.StateRejected, task.StateRetry, task.StateStarted, task.StateReceived, task.StateSent} {
		state += fmt.Sprintf(" WHEN %d THEN '%s'", v, v)
	}
	return []string{
		id("i.task_id"), "n.name", state + " END", at(row + " - i.sent"), at(row + " - i.received"), at(row + " - i.started"),
		fmt.Sprintf("CASE WHEN i.state BETWEEN %d AND %d THEN %s END", task.StateRejected, task.StateSuccess, rowAt),
		"CASE WHEN i.updated IS NULL OR i.given_up IS NOT NULL AND i.updated < 0 THEN " + rowAt + " ELSE " + at(row+" + i.updated") + " END",
		"i.runtime / 1000.0", "w.name", "nullif(w.worker_group, '')", "q.name", "e.name", "ifnull(i.retries, 0)",
		at(row + " + i.eta"), at(row + " + i.expires"),
		"CASE WHEN i.root = x'' THEN " + id("i.task_id") + " ELSE " + id("i.root") + " END", id("i.parent"), "i.given_up IS NOT NULL",
	}
}

// memoryTable holds what Memory told, a column for each of the view.
func memoryTable() string {
	cols := make([]string, len(sqlColumns))
	for i, c := range sqlColumns {
		cols[i] = c.name + " " + c.typ
	}
	return "CREATE TEMP TABLE daybook_memory (" + strings.Join(cols, ", ") + ")"
}

func memoryArm() string {
	cols := make([]string, len(sqlColumns))
	for i, c := range sqlColumns {
		cols[i] = "+m." + c.name + " AS " + c.name
		if c.typ != "" {
			cols[i] = "m." + c.name + " AS " + c.name
		}
	}
	return "SELECT " + strings.Join(cols, ", ") + " FROM temp.daybook_memory AS m"
}

// sqlTime is a time as the view shows it, nil if it is not known.
func sqlTime(us int64) any {
	if us == 0 {
		return nil
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// sqlRow are the columns of an invocation as the view shows them.
func sqlRow(v *task.Invocation) []any {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	var runtime any
	if v.Outcome.HasRuntime {
		runtime = float64(v.Outcome.Runtime) / 1000
	}
	givenUp := int64(0)
	if v.GivenUpAt != 0 {
		givenUp = 1
	}
	return []any{
		v.TaskID, text(v.TaskName), v.State.String(), sqlTime(v.SentAt), sqlTime(v.ReceivedAt), sqlTime(v.StartedAt),
		sqlTime(v.FinishedAt), sqlTime(max(v.UpdatedAt, v.GivenUpAt)), runtime, text(v.Worker), text(task.WorkerGroup(v.Worker)), text(v.Queue),
		text(v.Outcome.ExceptionType), int64(v.Retries), sqlTime(v.ETA), sqlTime(v.Expires), text(v.RootID), text(v.ParentID), givenUp,
		v.Day().String(), naturalKey(v.Day(), v.Key()), text(v.Args), text(v.Kwargs), text(v.Outcome.Result), text(v.Outcome.ExceptionMessage), text(v.Outcome.Traceback),
	}
}
