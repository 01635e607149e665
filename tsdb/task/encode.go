package task

import (
	"strconv"
	"unicode/utf8"
)

// fieldNames are the names in `truncated`, in the order they are printed.
var fieldNames = []struct {
	f    Field
	name string
}{
	{FieldTaskName, "task_name"}, {FieldWorker, "worker"}, {FieldQueue, "queue"}, {FieldArgs, "args"},
	{FieldKwargs, "kwargs"}, {FieldResult, "result"}, {FieldExceptionType, "exception_type"},
	{FieldExceptionMessage, "exception_message"}, {FieldTraceback, "traceback"},
	{FieldRootID, "root_id"}, {FieldParentID, "parent_id"},
}

// Names lists the fields of a set, in the order they are printed.
func (f Field) Names() []string {
	var out []string
	for _, n := range fieldNames {
		if f&n.f != 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// AppendJSON prints v as one JSON object without a line feed: the fields in
// the order of the contract, empty ones left out. Equal invocations print
// equal bytes, and ParseJSON of them gives an invocation that prints the same
// bytes again.
func AppendJSON(dst []byte, v *Invocation) []byte {
	dst = append(dst, '{')
	start := len(dst)
	key := func(name string) {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), name...), '"', ':')
	}
	text := func(name, s string) {
		if s != "" {
			key(name)
			dst = AppendJSONString(dst, s)
		}
	}
	at := func(name string, us int64) {
		if us != 0 {
			key(name)
			dst = AppendSeconds(dst, us)
		}
	}
	text("task_id", v.TaskID)
	text("task_name", v.TaskName)
	text("state", v.State.String())
	at("sent_at", v.SentAt)
	at("received_at", v.ReceivedAt)
	at("started_at", v.StartedAt)
	at("finished_at", v.FinishedAt)
	at("updated_at", max(v.UpdatedAt, v.GivenUpAt))
	if v.Outcome.HasRuntime {
		key("runtime_ms")
		dst = AppendMillis(dst, v.Outcome.Runtime)
	}
	text("worker", v.Worker)
	text("worker_group", WorkerGroup(v.Worker))
	text("queue", v.Queue)
	text("args", v.Args)
	text("kwargs", v.Kwargs)
	text("result", v.Outcome.Result)
	text("exception_type", v.Outcome.ExceptionType)
	text("exception_message", v.Outcome.ExceptionMessage)
	text("traceback", v.Outcome.Traceback)
	if v.Retries > 0 {
		key("retries")
		dst = strconv.AppendInt(dst, int64(v.Retries), 10)
	}
	at("eta", v.ETA)
	at("expires", v.Expires)
	text("root_id", v.RootID)
	text("parent_id", v.ParentID)
	if len(v.Transitions) > 0 {
		key("transitions")
		dst = appendTransitionsJSON(dst, v.Transitions)
	}
	if v.Truncated != 0 {
		key("truncated")
		dst = append(dst, '[')
		for i, name := range v.Truncated.Names() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONString(dst, name)
		}
		dst = append(dst, ']')
	}
	if v.GivenUpAt != 0 {
		key("given_up")
		dst = append(dst, "true"...)
	}
	return append(dst, '}')
}

// appendTransitionsJSON prints each step with the attempt it belongs to.
func appendTransitionsJSON(dst []byte, ts []Transition) []byte {
	dst = append(dst, '[')
	for i := range ts {
		t := &ts[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"state":"`...), t.State.String()...), `","at":`...)
		dst = AppendSeconds(dst, t.At)
		if t.Worker != "" {
			dst = AppendJSONString(append(dst, `,"worker":`...), t.Worker)
		}
		retries := t.Retries
		if retries < 0 && t.State != StateSent {
			retries = attemptOf(ts, i)
		}
		if retries >= 0 {
			dst = strconv.AppendInt(append(dst, `,"retries":`...), int64(retries), 10)
		}
		if t.ExceptionType != "" {
			dst = AppendJSONString(append(dst, `,"exception_type":`...), t.ExceptionType)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

const hexDigits = "0123456789abcdef"

// AppendJSONString prints s quoted. Invalid UTF-8 becomes U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[from:i]...), `\ufffd`...)
				i++
				from = i
				continue
			}
			i += n
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
