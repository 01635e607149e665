package task

import (
	"slices"
	"strings"
)

// Filter says which invocations are wanted. Zero fields do not restrict;
// fields that are set all have to hold. blocks has the same meaning in SQL,
// and a differential test holds the two together.
type Filter struct {
	TaskID        string
	TaskNames     []string // any of them; a trailing * is a prefix
	States        []State  // any of them
	Workers       []string // any of them
	Queues        []string // any of them
	WorkerGroup   string
	ExceptionType string
	RootID        string
	From, To      int64 // From <= row time < To, microseconds; To 0 is no end
	MinRuntime    int64 // microseconds; HasMinRuntime says that it is set
	MaxRuntime    int64
	MinRetries    int32
	HasMinRuntime bool
	HasMaxRuntime bool
	Open          bool  // only invocations neither finished nor given up
	OpenBefore    int64 // of open ones: last event at or before this; 0 is any
}

// Match reports whether v is wanted.
func (f *Filter) Match(v *Invocation) bool {
	at := v.RowTime()
	return at >= f.From && (f.To == 0 || at < f.To) &&
		(f.TaskID == "" || f.TaskID == v.TaskID) &&
		(len(f.TaskNames) == 0 || slices.ContainsFunc(f.TaskNames, func(p string) bool { return MatchName(p, v.TaskName) })) &&
		(len(f.States) == 0 || slices.Contains(f.States, v.State)) &&
		(len(f.Workers) == 0 || slices.Contains(f.Workers, v.Worker)) &&
		(len(f.Queues) == 0 || slices.Contains(f.Queues, v.Queue)) &&
		(f.WorkerGroup == "" || f.WorkerGroup == WorkerGroup(v.Worker)) &&
		(f.ExceptionType == "" || f.ExceptionType == v.Outcome.ExceptionType) &&
		(f.RootID == "" || f.RootID == v.RootID) &&
		(!f.HasMinRuntime || v.Outcome.HasRuntime && v.Outcome.Runtime >= f.MinRuntime) &&
		(!f.HasMaxRuntime || v.Outcome.HasRuntime && v.Outcome.Runtime <= f.MaxRuntime) &&
		v.Retries >= f.MinRetries &&
		(!f.Open || v.Open()) &&
		(f.OpenBefore == 0 || v.Open() && v.UpdatedAt <= f.OpenBefore)
}

// MatchName reports whether a task name is meant by a pattern: the name
// itself, or what begins with it up to a trailing *.
func MatchName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
