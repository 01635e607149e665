package task

import "encoding/binary"

// The second binary form of an Invocation, for the log, which writes it most often:
// ids that are UUIDs take 16 bytes and not 36, and times are differences. It is described
// in docs/format/wal.md. What is parked stays in the first, which older programs read.
const logVersion = 2

// How an id is written: one of these, or its length and idText.
const (
	idNone = iota
	idUUID // 16 bytes follow
	idSame // as the task_id
	idText
)

// AppendLog appends the form of v for the log, all of it. DecodeBinary and DecodeInto
// read it. An invocation of the reference load takes 138 bytes of it after
// compression, not 174 (ADR 21).
func AppendLog(dst []byte, v *Invocation) []byte {
	dst = appendLogID(append(dst, logVersion), v.TaskID)
	for _, id := range v.otherIDs() {
		if *id == v.TaskID {
			dst = append(dst, idSame)
		} else {
			dst = appendLogID(dst, *id)
		}
	}
	for _, s := range v.plainTexts() {
		dst = binary.AppendUvarint(dst, uint64(len(*s)))
		dst = append(dst, *s...)
	}
	var last int64
	for _, at := range v.moments() {
		dst = appendMoment(dst, *at, &last)
	}
	dst = binary.AppendUvarint(dst, uint64(v.Outcome.Runtime))
	for _, n := range v.attempts() {
		dst = binary.AppendVarint(dst, int64(*n))
	}
	dst = append(dst, byte(v.Outcome.State), flag(v.Outcome.HasRuntime))
	dst = binary.AppendUvarint(dst, uint64(v.Truncated))
	dst = binary.AppendUvarint(dst, uint64(len(v.Transitions)))
	for i := range v.Transitions {
		t := &v.Transitions[i]
		dst = appendMoment(append(dst, byte(t.State)), t.At, &last)
		dst = appendStep(dst, t)
	}
	return dst
}

func appendLogID(dst []byte, id string) []byte {
	if id == "" {
		return append(dst, idNone)
	}
	if b, ok := PackID(id); ok {
		return append(append(dst, idUUID), b[:]...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(id))+idText), id...)
}

// appendMoment writes a time as the difference from the one before it that is known,
// and 0 for one that is not.
func appendMoment(dst []byte, at int64, last *int64) []byte {
	if at == 0 {
		return append(dst, 0)
	}
	diff := at - *last
	*last = at
	return binary.AppendUvarint(dst, uint64(diff<<1^diff>>63)+1)
}

// otherIDs, plainTexts and moments are the fields of the form for the log, in order.
func (v *Invocation) otherIDs() [2]*string { return [2]*string{&v.RootID, &v.ParentID} }

func (v *Invocation) plainTexts() [9]*string {
	o := &v.Outcome
	return [9]*string{&v.TaskName, &v.Queue, &v.Args, &v.Kwargs, &v.WorkerHint, &o.Result, &o.ExceptionType, &o.ExceptionMessage, &o.Traceback}
}

func (v *Invocation) moments() [8]*int64 {
	return [8]*int64{&v.SentAt, &v.ReceivedAt, &v.StartedAt, &v.UpdatedAt, &v.ETA, &v.Expires, &v.GivenUpAt, &v.Outcome.At}
}

// log reads what AppendLog wrote behind the version.
func (r *reader) log(v *Invocation, room []Transition) {
	v.TaskID = r.id("")
	for _, id := range v.otherIDs() {
		*id = r.id(v.TaskID)
	}
	for _, s := range v.plainTexts() {
		*s = r.text()
	}
	var last int64
	for _, at := range v.moments() {
		*at = r.moment(&last)
	}
	v.Outcome.Runtime = r.micros()
	r.tail(v)
	v.Transitions = r.transitions(room, func() int64 { return r.moment(&last) })
}

// id reads an id; same is what idSame means.
func (r *reader) id(same string) string {
	switch n := r.uvarint(); {
	case n == idNone:
		return ""
	case n == idUUID:
		b := r.take(16)
		if r.bad {
			return ""
		}
		return UnpackID([]byte(b))
	case n == idSame && same != "":
		return same
	case n > idText:
		return r.take(n - idText)
	}
	r.bad = true
	return ""
}

// moment reads a time, which is 0 or in 1 to MaxMicros.
func (r *reader) moment(last *int64) int64 {
	u := r.uvarint()
	if u == 0 {
		return 0
	}
	u--
	at := *last + (int64(u>>1) ^ -int64(u&1))
	if at <= 0 || at > MaxMicros {
		r.bad = true
		return 0
	}
	*last = at
	return at
}
