package text

import (
	"cmp"
	"slices"
	"strings"

	"daybook/tsdb/task"
)

// Query is what somebody looks for. It does not change and may be used by any
// number of goroutines.
type Query struct {
	terms []term
	words []uint64
	ids   []string
}

// term is one thing that has to be found: words that follow each other, or a
// part of a text.
type term struct {
	words  []string // folded
	prefix bool     // the last word is the beginning of one
	part   string   // folded; then there are no words
	open   bool     // words may go on before the first one and behind the last
	ids    []string // task ids that the term may mean
	idPart string   // lower case: how a UUID may begin

	finder
}

// prepare works out how the term is found.
func (t *term) prepare() {
	if t.part != "" {
		t.finder = newFinder(t.part)
		return
	}
	t.finder = newFinder(t.words[0])
}

// exact are the words of the term that a row must have, whole. A term that is
// the beginning of a task id has none, because filters do not hold ids.
func (t *term) exact() []string {
	switch {
	case t.idPart != "":
		return nil
	case t.prefix:
		return t.words[:len(t.words)-1]
	}
	return t.words
}

// plan works out what the index is asked for.
func (q *Query) plan() {
	var words []string
	for i := range q.terms {
		words = append(words, q.terms[i].exact()...)
		q.ids = append(q.ids, q.terms[i].ids...)
	}
	// Long words are rare ones: asked for first, they spare the others.
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	for _, w := range slices.Compact(words) {
		q.words = append(q.words, hashWord(w))
	}
	slices.Sort(q.ids)
	q.ids = slices.Compact(q.ids)
}

// Words are the hashes of words that every matching row has, except for the
// rows of TaskIDs; those that are likely to be rare come first. None: every row
// has to be looked at.
func (q *Query) Words() []uint64 { return q.words }

// TaskIDs are the ids by which a row can match without having the Words.
func (q *Query) TaskIDs() []string { return q.ids }

// Match reports whether v has all terms.
func (q *Query) Match(v *task.Invocation) bool {
	for i := range q.terms {
		if !q.terms[i].match(v) {
			return false
		}
	}
	return true
}

func (t *term) match(v *task.Invocation) bool {
	if t.in(v.Args) || t.in(v.Kwargs) || t.in(v.Outcome.Result) || t.in(v.TaskName) || t.isID(v.TaskID) {
		return true
	}
	typ, message, traceback := v.Exception()
	return t.in(typ) || t.in(message) || t.across(typ, message) || t.in(traceback)
}

// isID reports whether a task id has the term. A UUID is one word.
func (t *term) isID(id string) bool {
	if slices.Contains(t.ids, id) {
		return true
	}
	if t.idPart != "" && len(id) >= len(t.idPart) && wholeID(id) {
		_, ok := hasFold(id, 0, t.idPart)
		return ok
	}
	return t.in(id) && (t.part != "" || !wholeID(id))
}
