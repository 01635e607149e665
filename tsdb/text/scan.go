package text

// Scan narrows a search that filters do not: most blocks of texts cannot have
// what is looked for, and that is seen faster in the whole block than row by
// row. Of the others most rows can not, and that is seen faster in their texts
// than in their rows.
type Scan struct {
	need []term // every one of them is in a text of a row
	open []term // the same in a block, in which words may run together at its texts' ends
}

// Scan prepares for the texts of rows whose task names are all among names, and
// whose exception types among types. Rows with a task id that is not a UUID, and those of
// TaskIDs, can match without their texts: they are not for a Scan.
func (q *Query) Scan(names, types []string) *Scan {
	s := &Scan{}
	for i := range q.terms {
		t := &q.terms[i]
		if t.part != "" && inID(t.part) || t.idPart != "" || t.inAny(names) || t.inAny(types) {
			continue
		}
		need := term{words: t.words, prefix: t.prefix, part: t.part}
		if t.part == "" {
			// A term may go on from the type of an exception to its message. Where
			// a type could begin it, the texts have at least what no type has.
			// Its words one by one would let through every block in which each is
			// somewhere: an absent phrase of common words read every row, which took
			// 4.2 s of CPU over a million and takes 0.9.
			need.words = t.words[t.begunBy(types):]
		}
		need.prepare()
		s.need = append(s.need, need)
		need.open = true
		s.open = append(s.open, need)
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

// begunBy is how many words of the term, but for its last one, are at the end
// of one of the types at most.
func (t *term) begunBy(types []string) int {
	most := 0
	for _, s := range types {
		for n := len(t.words) - 1; n > most; n-- {
			if t.endsWith(s, n) {
				most = n
			}
		}
	}
	return most
}

// endsWith reports whether the last words of s are the first n of the term.
func (t *term) endsWith(s string, n int) bool {
	for start, end := nextWord(s, 0); start < len(s); start, end = nextWord(s, end) {
		if stop, ok := phraseAt(s, start, t.words[:n], false); ok {
			if behind, _ := nextWord(s, stop); behind == len(s) {
				return true
			}
		}
	}
	return false
}

// Any reports whether May can ever say no.
func (s *Scan) Any() bool { return len(s.need) > 0 }

// May reports whether a row can match, of a block in which the texts of rows
// stand behind each other in any order.
func (s *Scan) May(block string) bool {
	for i := range s.open {
		if !s.open[i].in(block) {
			return false
		}
	}
	return true
}

// MayRow reports whether the row with these texts can match: arguments, result,
// and the message and the traceback of its exception.
func (s *Scan) MayRow(texts []string) bool {
	for i := range s.need {
		if !s.need[i].inAny(texts) {
			return false
		}
	}
	return true
}
