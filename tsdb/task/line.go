package task

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Parser reads lines as ParseJSON does, and keeps its memory from line to line.
// It is for one goroutine at a time; the zero value is ready to use.
//
// Ordinary lines are read by a scanner of our own, straight into place: a fifth
// of the time, and 2 allocations instead of 26. Measured: half of the CPU of ingest
// was encoding/json.
// Whatever is not ordinary – nesting, a key twice, in upper case or with
// escapes, a text above its limit, a value of the wrong type, anything broken –
// is left to encoding/json, which decides what it means.
type Parser struct {
	w       wireInvocation
	runtime float64
	retries int64
	text    []byte // the texts of the line, one after the other
	ends    [lineTexts]textEnd
	n       int // of ends
	scratch []byte
	names   map[string]string
}

const (
	// lineTexts is how many texts a line may have, names not counted.
	lineTexts = 8
	// sharedText is the length up to which all texts of a line are parts of one
	// string. Each of them keeps all of it in memory, which nobody counts, so it
	// is short.
	sharedText = 256
	// mostNames bounds the names that are kept to be used again.
	mostNames = 2048
)

// textEnd says whose text ends where in Parser.text.
type textEnd struct {
	to  *string
	end int
}

// Parse is ParseJSON into v, which is of no use with an error other than ErrNoTime.
func (p *Parser) Parse(line []byte, v *Invocation) error {
	p.w = wireInvocation{}
	if !p.scan(line, &p.w) {
		p.w = wireInvocation{}
		if err := json.Unmarshal(line, &p.w); err != nil {
			return jsonError(err)
		}
	}
	if err := CheckID(p.w.TaskID); err != nil {
		return err
	}
	if strings.ContainsRune(p.w.TaskID, unicode.ReplacementChar) && !meansID(line) {
		return ErrIDText
	}
	return p.w.invocation(v)
}

// meansID reports whether U+FFFD in the task_id of a correct line is what the
// line says, and not what took the place of something that is no text.
func meansID(line []byte) bool {
	var w struct {
		TaskID json.RawMessage `json:"task_id"`
	}
	if json.Unmarshal(line, &w) != nil {
		return false
	}
	inside, ok := bytes.CutPrefix(w.TaskID, []byte{'"'})
	return ok && ValidJSONText(bytes.TrimSuffix(inside, []byte{'"'}))
}

// Forget lets go of the last line and of large buffers, to be kept for another
// time.
func (p *Parser) Forget() {
	p.w, p.ends, p.n = wireInvocation{}, [lineTexts]textEnd{}, 0
	if cap(p.text) > 16<<10 {
		p.text = nil
	}
}

// scan fills w from an ordinary line, and reports false for any other.
func (p *Parser) scan(line []byte, w *wireInvocation) bool {
	p.text, p.n = p.text[:0], 0
	s := lineScanner{b: line}
	if !s.next('{') {
		return false
	}
	if s.next('}') {
		return s.end()
	}
	var seen uint64
	for {
		name, plain, ok := s.str()
		if !ok || !plain || !s.next(':') {
			return false
		}
		f := wireFieldOf(name)
		switch {
		case f == wireUnknown:
			ok = ordinaryName(name) && s.skip()
		case seen&(1<<f) != 0:
			return false
		default:
			seen |= 1 << f
			ok = p.field(&s, w, f)
		}
		if !ok {
			return false
		}
		if s.next(',') {
			continue
		}
		if !s.next('}') || !s.end() {
			return false
		}
		p.place()
		return true
	}
}

// place gives the texts their places: one allocation for all, unless they are long.
func (p *Parser) place() {
	all, from := "", 0
	if len(p.text) <= sharedText {
		all = string(p.text)
	}
	for _, t := range p.ends[:p.n] {
		switch {
		case all != "":
			*t.to = all[from:t.end]
		case t.to == &p.w.RootID && string(p.text[from:t.end]) == p.w.TaskID: // most often
			*t.to = p.w.TaskID
		default:
			*t.to = string(p.text[from:t.end])
		}
		from = t.end
	}
}

// wireField is a key of a line.
type wireField uint8

const (
	wireTaskID wireField = iota
	wireTaskName
	wireState
	wireWorker
	wireQueue
	wireArgs
	wireKwargs
	wireResult
	wireExceptionType
	wireExceptionMessage
	wireTraceback
	wireRootID
	wireParentID
	wireSentAt
	wireReceivedAt
	wireStartedAt
	wireFinishedAt
	wireUpdatedAt
	wireETA
	wireExpires
	wireRuntime
	wireRetries
	wireGivenUp
	wireTransitions
	wireTruncated
	wireUnknown
)

func wireFieldOf(name []byte) wireField {
	switch string(name) {
	case "task_id":
		return wireTaskID
	case "task_name":
		return wireTaskName
	case "state":
		return wireState
	case "worker":
		return wireWorker
	case "queue":
		return wireQueue
	case "args":
		return wireArgs
	case "kwargs":
		return wireKwargs
	case "result":
		return wireResult
	case "exception_type":
		return wireExceptionType
	case "exception_message":
		return wireExceptionMessage
	case "traceback":
		return wireTraceback
	case "root_id":
		return wireRootID
	case "parent_id":
		return wireParentID
	case "sent_at":
		return wireSentAt
	case "received_at":
		return wireReceivedAt
	case "started_at":
		return wireStartedAt
	case "finished_at":
		return wireFinishedAt
	case "updated_at":
		return wireUpdatedAt
	case "eta":
		return wireETA
	case "expires":
		return wireExpires
	case "runtime_ms":
		return wireRuntime
	case "retries":
		return wireRetries
	case "given_up":
		return wireGivenUp
	case "transitions":
		return wireTransitions
	case "truncated":
		return wireTruncated
	}
	return wireUnknown
}

// ordinaryName reports whether a name that is not known is none of those that
// encoding/json takes for a known one in other letters.
func ordinaryName(name []byte) bool {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// field reads the value of one key.
func (p *Parser) field(s *lineScanner, w *wireInvocation, f wireField) bool {
	if s.null() {
		return true
	}
	switch f {
	case wireTaskID:
		return p.str(s, &w.TaskID, MaxID)
	case wireTaskName:
		return p.name(s, &w.TaskName)
	case wireState:
		return p.name(s, &w.State)
	case wireWorker:
		return p.name(s, &w.Worker)
	case wireQueue:
		return p.name(s, &w.Queue)
	case wireArgs:
		return p.str(s, (*string)(&w.Args), MaxText)
	case wireKwargs:
		return p.str(s, (*string)(&w.Kwargs), MaxText)
	case wireResult:
		return p.str(s, (*string)(&w.Result), MaxText)
	case wireExceptionType:
		return p.name(s, &w.ExceptionType)
	case wireExceptionMessage:
		return p.str(s, &w.ExceptionMessage, MaxText)
	case wireTraceback:
		return p.str(s, &w.Traceback, MaxTraceback)
	case wireRootID:
		return p.str(s, &w.RootID, MaxName)
	case wireParentID:
		return p.str(s, &w.ParentID, MaxName)
	case wireSentAt:
		return s.time(&w.SentAt)
	case wireReceivedAt:
		return s.time(&w.ReceivedAt)
	case wireStartedAt:
		return s.time(&w.StartedAt)
	case wireFinishedAt:
		return s.time(&w.FinishedAt)
	case wireUpdatedAt:
		return s.time(&w.UpdatedAt)
	case wireETA:
		return s.time(&w.ETA)
	case wireExpires:
		return s.time(&w.Expires)
	case wireRuntime:
		raw, ok := s.number()
		if !ok {
			return false
		}
		var err error
		p.runtime, err = strconv.ParseFloat(string(raw), 64)
		w.RuntimeMS = &p.runtime
		return err == nil
	case wireRetries:
		raw, ok := s.number()
		if !ok {
			return false
		}
		var err error
		p.retries, err = strconv.ParseInt(string(raw), 10, 64)
		w.Retries = &p.retries
		return err == nil
	}
	return false
}

// str reads a text up to its limit. It is in its place when the line is read.
func (p *Parser) str(s *lineScanner, to *string, limit int) bool {
	from := len(p.text)
	var ok bool
	if p.text, ok = appendText(p.text, s); !ok || len(p.text)-from > limit || p.n == len(p.ends) {
		return false
	}
	p.ends[p.n] = textEnd{to, len(p.text)}
	p.n++
	return true
}

// name reads a text of which there are few different ones.
func (p *Parser) name(s *lineScanner, to *string) bool {
	var ok bool
	if p.scratch, ok = appendText(p.scratch[:0], s); !ok || len(p.scratch) > MaxName {
		return false
	}
	if *to, ok = p.names[string(p.scratch)]; ok {
		return true
	}
	if p.names == nil || len(p.names) >= mostNames {
		p.names = map[string]string{}
	}
	*to = string(p.scratch)
	p.names[*to] = *to
	return true
}

func appendText(dst []byte, s *lineScanner) ([]byte, bool) {
	raw, plain, ok := s.str()
	switch {
	case !ok:
		return dst, false
	case plain:
		return append(dst, raw...), true
	}
	return appendUnquoted(dst, raw)
}

// appendUnquoted appends what the inside of a JSON string means, as encoding/json
// understands it; false if it is not one.
func appendUnquoted(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c == '\\':
			if i+1 == len(raw) {
				return dst, false
			}
			i += 2
			switch c = raw[i-1]; c {
			case '"', '\\', '/':
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'u':
				r := unhex4(raw[i:])
				if r < 0 {
					return dst, false
				}
				i += 4
				if utf16.IsSurrogate(r) {
					low := rune(-1)
					if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
						low = unhex4(raw[i+2:])
					}
					if r = utf16.DecodeRune(r, low); r != unicode.ReplacementChar {
						i += 6
					}
				}
				dst = utf8.AppendRune(dst, r)
				continue
			default:
				return dst, false
			}
			dst = append(dst, c)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default: // what is not UTF-8 becomes U+FFFD
			r, n := utf8.DecodeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		}
	}
	return dst, true
}

// unhex4 is the value of four hexadecimal digits, or -1.
func unhex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
