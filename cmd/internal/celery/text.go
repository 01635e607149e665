package celery

import (
	"unicode/utf16"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// bytes is the text of a string value; valid until the next call.
func (d *Decoder) bytes(v *value) []byte {
	if v.kind != kindString {
		return nil
	}
	if v.plain {
		return v.raw
	}
	d.scratch = unquote(d.scratch[:0], v.raw)
	return d.scratch
}

// text is the text of a string value, "" of any other.
func (d *Decoder) text(v *value) string {
	b := d.bytes(v)
	switch string(b) { // what most tasks say costs no memory
	case "":
		return ""
	case "()":
		return "()"
	case "{}":
		return "{}"
	case "None":
		return "None"
	}
	return string(b)
}

// anyText is text, or compact JSON for a value that is no string. Null is "".
func (d *Decoder) anyText(v *value) string {
	switch v.kind {
	case kindString:
		return d.text(v)
	case kindNone, kindNull:
		return ""
	}
	text, _ := task.CompactJSON(v.raw)
	return text
}

const (
	maxShared    = 4096 // texts
	maxSharedLen = 256  // bytes each
)

// shared is text of which there are few different ones: names.
func (d *Decoder) shared(v *value) string {
	b := d.bytes(v)
	if len(b) == 0 {
		return ""
	}
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	return d.intern(string(b))
}

func (d *Decoder) intern(s string) string {
	if kept, ok := d.names[s]; ok || len(s) > maxSharedLen || s == "" {
		if ok {
			return kept
		}
		return s
	}
	if d.names == nil || len(d.names) >= maxShared {
		d.names = make(map[string]string)
	}
	d.names[s] = s
	return s
}

// unquote appends the text of a checked string, raw without its quotes. As in
// encoding/json, what is no Unicode (lone surrogates, broken UTF-8) becomes
// U+FFFD.
func unquote(dst, raw []byte) []byte {
	for len(raw) > 0 {
		n := 0
		for n < len(raw) && raw[n] != '\\' && raw[n] < utf8.RuneSelf {
			n++
		}
		dst = append(dst, raw[:n]...)
		raw = raw[n:]
		switch {
		case len(raw) == 0:
			return dst
		case raw[0] >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(raw)
			dst = utf8.AppendRune(dst, r)
			raw = raw[size:]
		case raw[1] == 'u':
			r := hex4(raw[2:6])
			raw = raw[6:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
					low = hex4(raw[2:6])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					raw = raw[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, simpleEscape(raw[1]))
			raw = raw[2:]
		}
	}
	return dst
}

func hex4(b []byte) rune {
	return unhex(b[0])<<12 | unhex(b[1])<<8 | unhex(b[2])<<4 | unhex(b[3])
}

func simpleEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // the quote, the slash and the backslash
}
