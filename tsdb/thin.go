package tsdb

import (
	"sync"
	"sync/atomic"

	"daybook/tsdb/task"
)

// thinner leaves out the details of successes of a task of which there are
// more than rate invocations in a minute of row time.
type thinner struct {
	rate int                 // 0 leaves nothing out
	bare atomic.Bool         // leaves out those of all successes: the disk is nearly full
	note func(reason string) // that details were left out

	mu     sync.Mutex
	counts map[taskMinute]int
}

type taskMinute struct {
	name   string
	minute int64
}

// maxTaskMinutes bounds what is counted: names come from outside. When it is
// reached, counting begins anew.
const maxTaskMinutes = 100_000

// thin counts an invocation that is being cut and returns it as it is to be
// stored. Failures always keep everything.
func (t *thinner) thin(v *task.Invocation) *task.Invocation {
	if t.bare.Load() && v.State == task.StateSuccess {
		return t.withoutDetails(v, thinnedDisk)
	}
	if t.rate == 0 {
		return v
	}
	t.mu.Lock()
	if t.counts == nil || len(t.counts) >= maxTaskMinutes {
		t.counts = map[taskMinute]int{}
	}
	k := taskMinute{v.TaskName, v.RowTime() / 60_000_000}
	t.counts[k]++
	n := t.counts[k]
	t.mu.Unlock()
	if n <= t.rate || v.State != task.StateSuccess {
		return v
	}
	return t.withoutDetails(v, thinnedRate)
}

func (t *thinner) withoutDetails(v *task.Invocation, reason string) *task.Invocation {
	bare, had := *v, false
	for _, f := range []struct {
		text  *string
		field task.Field
	}{{&bare.Args, task.FieldArgs}, {&bare.Kwargs, task.FieldKwargs}, {&bare.Outcome.Result, task.FieldResult}} {
		if *f.text != "" {
			*f.text = ""
			bare.Truncated |= f.field
			had = true
		}
	}
	if had {
		t.note(reason)
	}
	return &bare
}
