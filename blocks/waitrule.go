package blocks

import (
	"fmt"

	"daybook/tsdb/task"
)

// waitRule is how the rollups of a file count the wait in the queue. By the
// first rule eta counted only beside sent_at, so that a countdown that Celery
// did not announce with task-sent was a wait. Such files keep their rule until
// the day is sealed again: what leaves a sum has to be what was added to it.
const waitRule = 2

// Counted is v as the rollups of a day count it: by the first rule an eta
// without sent_at is none.
func Counted(v *task.Invocation, firstRule bool) *task.Invocation {
	if !firstRule || v.SentAt != 0 || v.ETA == 0 {
		return v
	}
	c := *v
	c.ETA = 0
	return &c
}

// FirstWaitRule reports whether the rollups of the day count waits by the first
// rule. A live file has that of the sealed one that it lies over.
func (d DayFiles) FirstWaitRule() bool {
	if d.Live != nil {
		return d.Live.firstWaits
	}
	return d.Sealed != nil && d.Sealed.firstWaits
}

// insertWaitRule is for the schema of a new live file over s, which may be nil.
func insertWaitRule(s *Sealed) string {
	if s != nil && s.firstWaits {
		return ""
	}
	return fmt.Sprintf("INSERT INTO meta (key, value) VALUES ('%s', %d);", metaWaitRule, waitRule)
}
