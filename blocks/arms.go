package blocks

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// maxArms is how many index scans are merged at most; more names or states
// than that are looked for in a scan by key.
const maxArms = 16

// arm is one scan of a file's rows in the order of their keys. Every arm names
// its index: the planner has nothing to choose, and nothing is sorted
// (testdata/explain.golden).
type arm struct {
	index string // INDEXED BY …, or NOT INDEXED for a scan by key
	conds conds  // what the index finds
	whole bool   // it gives every row of the range: there are no conditions
	name  int64  // of an arm by name: its id, 0 for none
}

const (
	byKey = "NOT INDEXED"
	// byName is of files of versions 1 and 2; the others have runs of names
	// instead (namedrows.go).
	byName = "INDEXED BY invocation_name"
)

// arms chooses the scans for a resolved filter and returns them with the
// conditions that are left for each row. An index on the name or the state has
// the rows of one value in key order.
func (r *resolved) arms() ([]arm, conds) {
	rest := conds{text: slices.Clone(r.conds.text), args: slices.Clone(r.conds.args)}
	names, states := r.nameArms(), r.stateArms()
	switch {
	case names != nil && states != nil && len(names)*len(states) <= maxArms:
		var out []arm
		for _, n := range names {
			for _, s := range states {
				a := arm{index: "INDEXED BY invocation_name_state"}
				a.conds.add(n.conds.text[0], n.conds.args...)
				a.conds.add(s.text[0], s.args...)
				out = append(out, a)
			}
		}
		return out, rest
	case names != nil:
		r.stateIn(&rest)
		return names, rest
	case states != nil:
		if r.names != nil {
			rest.in("i.name", *r.names)
		}
		out := make([]arm, len(states))
		for i, s := range states {
			out[i] = arm{index: "INDEXED BY invocation_state", conds: s}
		}
		return out, rest
	}
	return r.scan()
}

// scan is the one arm by key.
func (r *resolved) scan() ([]arm, conds) {
	rest := conds{text: slices.Clone(r.conds.text), args: slices.Clone(r.conds.args)}
	if r.names != nil {
		rest.in("i.name", *r.names)
	}
	r.stateIn(&rest)
	return []arm{{index: byKey, whole: len(rest.text) == 0}}, rest
}

// nameArms has one arm per name; nil if names are not the way.
func (r *resolved) nameArms() []arm {
	if r.names == nil || r.names.size() > maxArms {
		return nil
	}
	var out []arm
	for _, id := range r.names.ids {
		out = append(out, armOf(id))
	}
	if r.names.empty {
		out = append(out, armOf(0))
	}
	return out
}

// armOf is the arm of a name's id, 0 for none.
func armOf(name int64) arm {
	a := arm{index: byName, name: name}
	if name == 0 {
		a.conds.add("i.name IS NULL")
	} else {
		a.conds.add("i.name = ?", name)
	}
	return a
}

// stateArms has one condition per state; nil if states are not the way. The
// indexes leave SUCCESS out: most rows are of that state.
func (r *resolved) stateArms() []conds {
	var out []conds
	for _, s := range r.states {
		if s == task.StateSuccess {
			return nil
		}
		out = append(out, conds{text: []string{fmt.Sprintf("i.state = ? AND i.state <> %d", task.StateSuccess)}, args: []driver.Value{int64(s)}})
	}
	return out
}

func (r *resolved) stateIn(c *conds) {
	if r.states == nil {
		return
	}
	list := make([]string, len(r.states))
	for i, s := range r.states {
		list[i] = fmt.Sprint(uint8(s))
	}
	c.add("i.state IN (" + strings.Join(list, ", ") + ")")
}

// span is a range of one day's keys: low <= key < high.
type span struct{ low, high int64 }

// text is the statement of an arm over one attached file, and its
// arguments. mask is the schema of the overlay that hides rows of it, or "".
// The last column says whether the next key in the direction of the scan is
// taken: where it is not, a run of keys ends (fileRows). An arm that is whole
// sees that by itself, and is spared the look. n makes the texts of one file's
// arms differ, so that each has a cursor of its own.
func (a *arm) text(schema, mask string, rest conds, keys span, oldest bool, n int) (string, []driver.Value) {
	step, order := "-", " DESC"
	if oldest {
		step, order = "+", ""
	}
	var b strings.Builder
	if a.whole && mask == "" {
		fmt.Fprintf(&b, "SELECT %s, 1 FROM %s.invocation AS i %s%s WHERE ", readColumns, schema, a.index, joins(schema))
	} else {
		fmt.Fprintf(&b, "SELECT %s, x.key IS NOT NULL FROM %s.invocation AS i %s%s", readColumns, schema, a.index, joins(schema))
		fmt.Fprintf(&b, " LEFT JOIN %s.invocation AS x ON x.key = i.key %s 1 WHERE ", schema, step)
	}
	all := conds{
		text: slices.Concat(a.conds.text, []string{"i.key >= ? AND i.key < ?"}, rest.text),
		args: slices.Concat(a.conds.args, []driver.Value{keys.low, keys.high}, rest.args),
	}
	all.unmasked(mask)
	b.WriteString(strings.Join(all.text, " AND "))
	fmt.Fprintf(&b, " ORDER BY i.key%s -- arm %d", order, n)
	return b.String(), all.args
}

// unmasked leaves out the rows that an overlay hides; mask is its schema, or "".
func (c *conds) unmasked(mask string) {
	if mask != "" {
		c.add("NOT EXISTS (SELECT 1 FROM " + mask + ".mask AS m WHERE m.task_id = i.task_id)")
	}
}
