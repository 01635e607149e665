package text

// Scan narrows a search that filters do not: most blocks of texts cannot have
// what is looked for, and that is seen faster in the whole block than row by
// row.
type Scan struct {
	need []term // every one of them is in the texts of a row
}

// Scan prepares for the texts of rows whose task names and exception types are
// all among names. Rows with a task id that is not a UUID, and those of
// TaskIDs, can match without their texts: they are not for a Scan.
func (q *Query) Scan(names []string) *Scan {
	s := &Scan{}
	for i := range q.terms {
		t := &q.terms[i]
		if t.part != "" && inID(t.part) || t.idPart != "" {
			continue
		}
		// Taken word by word, as parts: a term may go on from the type of an
		// exception to its message, and the texts of a block have nothing
		// between them.
		parts := t.words
		if t.part != "" {
			parts = []string{t.part}
		}
		for _, p := range parts {
			need := term{part: p, finder: newFinder(p)}
			if !need.inAny(names) {
				s.need = append(s.need, need)
			}
		}
	}
	return s
}

func (t *term) inAny(texts []string) bool {
	for _, s := range texts {
		if t.in(s) {
			return true
		}
	}
	return false
}

// Any reports whether May can ever say no.
func (s *Scan) Any() bool { return len(s.need) > 0 }

// May reports whether a row can match, of a block in which the texts of rows
// stand behind each other in any order.
func (s *Scan) May(block string) bool {
	for i := range s.need {
		if !s.need[i].in(block) {
			return false
		}
	}
	return true
}
