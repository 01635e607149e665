package celery

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const notRegistered = "NotRegistered"

// splitException takes the repr of a Python exception apart. That it reads
// Type('message') is only a convention: classes write what they like, and long
// ones are cut. The type is an identifier, maybe dotted, or "" if there is no
// telling; then all the text is the message.
func splitException(repr, traceback string) (typ, message string) {
	s := strings.TrimSpace(repr)
	if s == "" || s == "None" {
		return "", "" // task-retried without an exception
	}
	if inner, ok := strings.CutPrefix(s, "<"); ok {
		if typ, message, ok = splitAngle(inner); ok {
			return typ, message
		}
	}
	n := identifier(s)
	typ, rest := s[:n], s[n:]
	switch {
	case n == 0:
	case rest == "":
		return typ, ""
	case rest[0] == '(':
		return typ, arguments(strings.TrimSuffix(rest[1:], ")"))
	case strings.HasPrefix(rest, ": "):
		return typ, rest[2:]
	}
	if name, ok := strings.CutPrefix(s, "Task of kind "); ok && strings.Contains(name, "registered") {
		quoted, ok := literal(name)
		if ok {
			return notRegistered, quoted
		}
	}
	return lastRaised(traceback), s
}

// splitAngle reads <Type: message>, <Type anything> and <class 'Type'>, without
// the opening bracket.
func splitAngle(s string) (typ, message string, ok bool) {
	n := identifier(s)
	if n == 0 {
		return "", "", false
	}
	typ, rest := s[:n], strings.TrimSuffix(s[n:], ">")
	if typ == "class" {
		if name, ok := literal(strings.TrimSpace(rest)); ok && identifier(name) == len(name) {
			return name, "", true
		}
	}
	return typ, strings.TrimSpace(strings.TrimPrefix(rest, ":")), true
}

// identifier is the length of the dotted Python identifier that s begins with.
func identifier(s string) int {
	n, start := 0, true
	for i, r := range s {
		switch {
		case r == '_' || unicode.IsLetter(r):
			start = false
		case !start && unicode.IsDigit(r):
		case !start && r == '.':
			start = true
			continue
		default:
			return n
		}
		n = i + utf8.RuneLen(r)
	}
	return n
}

// arguments is the text of an exception's arguments: that of the string if it
// is the only one, else the list as it is.
func arguments(s string) string {
	if text, rest, ok := cutLiteral(strings.TrimSpace(s)); ok {
		if rest = strings.TrimSpace(rest); rest == "" || rest == "," {
			return text
		}
	}
	return s
}

// literal is the text of the string literal that s begins with.
func literal(s string) (string, bool) {
	text, _, ok := cutLiteral(s)
	return text, ok
}

// cutLiteral cuts a Python string literal off s. One that was cut short is
// taken as far as it goes.
func cutLiteral(s string) (text, rest string, ok bool) {
	s = strings.TrimPrefix(s, "u") // Python 2
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	quote, s := s[0], s[1:]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return unescape(s[:i]), s[i+1:], true
		}
	}
	return unescape(s), "", true
}

// unescape undoes what Python's repr does to text. What it does not know
// stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		digits := 0
		switch s[1] {
		case '\\', '\'', '"':
			b.WriteByte(s[1])
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			b.WriteString(s[:2])
		}
		s = s[2:]
		if digits == 0 {
			continue
		}
		r, ok := hexRune(s, digits)
		if !ok {
			b.WriteString("\\" + [9]string{2: "x", 4: "u", 8: "U"}[digits])
			continue
		}
		b.WriteRune(r) // a lone surrogate becomes U+FFFD
		s = s[digits:]
	}
}

func hexRune(s string, digits int) (rune, bool) {
	if len(s) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:digits], 16, 32)
	if err != nil || n > unicode.MaxRune {
		return 0, false
	}
	return rune(n), true
}

// lastRaised is the type that a traceback ends with: the first line that is
// not indented after the last frame. Modules are cut off, as in a repr.
func lastRaised(traceback string) string {
	i := strings.LastIndex(traceback, "\n  File \"")
	if i < 0 {
		return ""
	}
	for line := range strings.Lines(traceback[i+1:]) {
		if line[0] == ' ' {
			continue
		}
		n := identifier(line)
		if rest := line[n:]; n > 0 && (strings.HasPrefix(rest, ":") || strings.TrimSpace(rest) == "") {
			return line[strings.LastIndexByte(line[:n], '.')+1 : n]
		}
		break
	}
	return ""
}
