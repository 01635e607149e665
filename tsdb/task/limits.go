package task

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits in bytes.
const (
	MaxID        = 255
	MaxName      = 512
	MaxText      = 8 << 10  // args, kwargs, result, exception_message
	MaxTraceback = 64 << 10 // traceback
)

// ErrIDText is returned for a task_id that is no text.
var ErrIDText = errors.New("task_id is not valid UTF-8")

// CheckID reports whether id can be a task_id.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("task_id is missing")
	case len(id) > MaxID:
		return fmt.Errorf("task_id has %d bytes, at most %d are allowed", len(id), MaxID)
	case !utf8.ValidString(id):
		return ErrIDText
	}
	return nil
}

// ValidJSONText reports whether the inside of a correct JSON string stands for
// valid UTF-8. Otherwise readers put U+FFFD in its place, and texts that differ
// become the same: values are mended so, a task_id is refused.
func ValidJSONText(raw []byte) bool {
	if !utf8.Valid(raw) {
		return false
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; i == len(raw) {
			return false
		}
		if raw[i] != 'u' {
			continue
		}
		r := unhex4(raw[i+1:])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if rest := raw[min(i+1, len(raw)):]; len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' || utf16.DecodeRune(r, unhex4(rest[2:])) == unicode.ReplacementChar {
			return false
		}
		i += 6
	}
	return true
}

// cutText mends invalid UTF-8 and cuts at a character boundary at or below limit.
func cutText(s string, limit int) (string, bool) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) <= limit {
		return s, false
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit]), true
}

// Limit mends and cuts every text of v to its limit, names what was cut in
// Truncated, and canonicalizes. Every Invocation from outside goes through it.
func (v *Invocation) Limit() {
	for _, f := range []struct {
		s     *string
		limit int
		field Field
	}{
		{&v.TaskName, MaxName, FieldTaskName},
		{&v.RootID, MaxName, FieldRootID},
		{&v.ParentID, MaxName, FieldParentID},
		{&v.WorkerHint, MaxName, FieldWorker},
		{&v.Queue, MaxName, FieldQueue},
		{&v.Args, MaxText, FieldArgs},
		{&v.Kwargs, MaxText, FieldKwargs},
		{&v.Outcome.Result, MaxText, FieldResult},
		{&v.Outcome.ExceptionType, MaxName, FieldExceptionType},
		{&v.Outcome.ExceptionMessage, MaxText, FieldExceptionMessage},
		{&v.Outcome.Traceback, MaxTraceback, FieldTraceback},
	} {
		if s, cut := cutText(*f.s, f.limit); cut {
			*f.s = s
			v.Truncated |= f.field
		} else {
			*f.s = s
		}
	}
	for i := range v.Transitions {
		t := &v.Transitions[i]
		var cut bool
		if t.Worker, cut = cutText(t.Worker, MaxName); cut {
			v.Truncated |= FieldWorker
		}
		t.ExceptionType, _ = cutText(t.ExceptionType, MaxName)
	}
	v.Canonicalize()
}
