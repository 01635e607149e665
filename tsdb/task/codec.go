package task

import (
	"encoding/binary"
	"errors"
	"slices"
	"unsafe"
)

// The binary form of an Invocation, for what is parked, and for logs before AppendLog.
// It is described in docs/format/wal.md; codecVersion is its first byte.
const codecVersion = 1

var errCodec = errors.New("not an encoded invocation")

// AppendBinary appends the binary form of v, all of it.
func AppendBinary(dst []byte, v *Invocation) []byte {
	dst = append(dst, codecVersion)
	for _, s := range v.texts() {
		dst = binary.AppendUvarint(dst, uint64(len(*s)))
		dst = append(dst, *s...)
	}
	for _, n := range v.times() {
		dst = binary.AppendUvarint(dst, uint64(*n))
	}
	for _, n := range v.attempts() {
		dst = binary.AppendVarint(dst, int64(*n))
	}
	dst = append(dst, byte(v.Outcome.State), flag(v.Outcome.HasRuntime))
	dst = binary.AppendUvarint(dst, uint64(v.Truncated))
	return appendTransitions(dst, v.Transitions)
}

// texts, times and attempts list the encoded fields of each type, in order.
func (v *Invocation) texts() [12]*string {
	o := &v.Outcome
	return [12]*string{&v.TaskID, &v.TaskName, &v.RootID, &v.ParentID, &v.Queue, &v.Args, &v.Kwargs, &v.WorkerHint,
		&o.Result, &o.ExceptionType, &o.ExceptionMessage, &o.Traceback}
}

func (v *Invocation) times() [9]*int64 {
	return [9]*int64{&v.SentAt, &v.ReceivedAt, &v.StartedAt, &v.UpdatedAt, &v.ETA, &v.Expires, &v.GivenUpAt, &v.Outcome.At, &v.Outcome.Runtime}
}

func (v *Invocation) attempts() [4]*int32 {
	return [4]*int32{&v.Retries, &v.QueueRank, &v.ArgsRank, &v.KwargsRank}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendTransitions(dst []byte, ts []Transition) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ts)))
	for i := range ts {
		t := &ts[i]
		dst = append(dst, byte(t.State))
		dst = binary.AppendUvarint(dst, uint64(t.At))
		dst = appendStep(dst, t)
	}
	return dst
}

// appendStep appends what both forms say alike of a transition, behind its time.
func appendStep(dst []byte, t *Transition) []byte {
	dst = binary.AppendVarint(dst, int64(t.Retries))
	dst = binary.AppendUvarint(dst, uint64(len(t.Worker)))
	dst = append(dst, t.Worker...)
	dst = binary.AppendUvarint(dst, uint64(len(t.ExceptionType)))
	return append(dst, t.ExceptionType...)
}

// DecodeBinary reads what AppendBinary or AppendLog wrote. Damaged bytes give an error,
// never a panic. The result shares one copy of b.
func DecodeBinary(b []byte) (v Invocation, err error) {
	err = DecodeInto(&v, slices.Clone(b))
	return v, err
}

// DecodeInto is DecodeBinary without copies, for who looks at very many and keeps
// few: the texts are in b, which must not be changed any more, and the transitions
// are in the room of those that v had. After an error v is empty.
func DecodeInto(v *Invocation, b []byte) error {
	room := v.Transitions[:0]
	*v = Invocation{}
	if len(b) == 0 {
		return errCodec
	}
	r := reader{s: unsafe.String(unsafe.SliceData(b), len(b))[1:]}
	switch b[0] {
	case codecVersion:
		r.binary(v, room)
	case logVersion:
		r.log(v, room)
	default:
		return errCodec
	}
	if r.bad || r.s != "" || v.Outcome.State > StateRequeued || v.Retries < 0 || CheckID(v.TaskID) != nil {
		*v = Invocation{}
		return errCodec
	}
	v.derive()
	return nil
}

// binary reads what AppendBinary wrote behind the version.
func (r *reader) binary(v *Invocation, room []Transition) {
	for _, s := range v.texts() {
		*s = r.text()
	}
	for _, n := range v.times() {
		*n = r.micros()
	}
	r.tail(v)
	v.Transitions = r.transitions(room, r.micros)
}

// tail reads what is alike in both forms, and comes before the transitions.
func (r *reader) tail(v *Invocation) {
	for _, n := range v.attempts() {
		*n = r.attempt()
	}
	v.Outcome.State = State(r.byte())
	v.Outcome.HasRuntime = r.byte() == 1
	v.Truncated = Field(r.uvarint())
}

// reader consumes a string; bad once it ran short or met nonsense.
type reader struct {
	s   string
	bad bool
}

func (r *reader) byte() byte {
	if r.bad || r.s == "" {
		r.bad = true
		return 0
	}
	c := r.s[0]
	r.s = r.s[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	var x uint64
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		x |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return x
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) micros() int64 {
	u := r.uvarint()
	if u > MaxMicros {
		r.bad = true
		return 0
	}
	return int64(u)
}

func (r *reader) attempt() int32 {
	n := r.varint()
	if n < int64(RetriesUnknown) || n > 1<<31-1 {
		r.bad = true
		return 0
	}
	return int32(n)
}

func (r *reader) text() string { return r.take(r.uvarint()) }

func (r *reader) take(n uint64) string {
	if r.bad || n > uint64(len(r.s)) {
		r.bad = true
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) transitions(room []Transition, at func() int64) []Transition {
	n := r.uvarint()
	if r.bad || n == 0 {
		return nil
	}
	if n > NewestTransitions+2 {
		r.bad = true
		return nil
	}
	ts := room[:0]
	if uint64(cap(ts)) < n {
		ts = make([]Transition, n)
	}
	ts = ts[:n]
	for i := range ts {
		t := &ts[i]
		t.State = State(r.byte())
		t.At = at()
		t.Retries = r.attempt()
		t.Worker = r.text()
		t.ExceptionType = r.text()
		if t.State == StateUnknown || t.State > StateRequeued || i > 0 && ts[i-1].compare(t) >= 0 {
			r.bad = true
			return nil
		}
	}
	return ts
}
