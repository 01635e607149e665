package api

import (
	"cmp"
	"slices"
	"strconv"

	"daybook/tsdb/task"
)

// maxErrors is how many refused lines an answer lists.
const maxErrors = 100

// result is what became of the lines of one request; every line that is not
// blank is counted once.
type result struct {
	accepted, ignored, rejected, dropped int
	errors                               []refusedLine
}

type refusedLine struct {
	number int
	err    error
}

// refuse notes a refused line and keeps the first maxErrors of them by number:
// some are found while reading and some, of earlier lines, while storing.
func (r *result) refuse(number int, err error) {
	r.rejected++
	if n := len(r.errors); n == maxErrors && number >= r.errors[n-1].number {
		return
	}
	r.errors = append(r.errors, refusedLine{number, err})
	slices.SortStableFunc(r.errors, func(a, b refusedLine) int { return cmp.Compare(a.number, b.number) })
	r.errors = r.errors[:min(len(r.errors), maxErrors)]
}

// refusedAll reports whether there were lines and none was good for anything.
func (r *result) refusedAll() bool {
	return r.rejected > 0 && r.accepted+r.ignored+r.dropped == 0
}

func (r *result) appendJSON(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"accepted":`...), int64(r.accepted), 10)
	dst = strconv.AppendInt(append(dst, `,"ignored":`...), int64(r.ignored), 10)
	dst = strconv.AppendInt(append(dst, `,"rejected":`...), int64(r.rejected), 10)
	dst = strconv.AppendInt(append(dst, `,"dropped":`...), int64(r.dropped), 10)
	dst = append(dst, `,"errors":[`...)
	for i, e := range r.errors {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"line":`...), int64(e.number), 10)
		dst = append(task.AppendJSONString(append(dst, `,"error":`...), e.err.Error()), '}')
	}
	return append(dst, "]}\n"...)
}
