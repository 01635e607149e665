package task

import (
	"bytes"
	"encoding/json"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// CompactJSON is a JSON value without space between its parts, and with its
// text as characters: many encoders escape all that is not ASCII, and whoever
// looks for a name does not. Control characters, quotes, backslashes and half
// surrogates stay escaped, so that it is the same value. Bytes that are not UTF-8
// become U+FFFD, one each, as in every other text. ok is false if raw is not JSON.
func CompactJSON(raw []byte) (text string, ok bool) {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "", false
	}
	text = b.String()
	if bytes.IndexByte(b.Bytes(), '\\') >= 0 {
		text = string(appendReadable(make([]byte, 0, b.Len()), b.Bytes()))
	}
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	return text, true
}

// appendReadable appends JSON with those escapes resolved that need not be. What
// they stand for is never longer.
func appendReadable(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		if b[i] != '\\' || i+1 == len(b) {
			dst = append(dst, b[i])
			i++
			continue
		}
		n, r := 2, rune(-1)
		switch b[i+1] {
		case '/':
			r = '/'
		case 'u':
			r = unhex4(b[i+2:])
			n = 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+8 <= len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
					low = unhex4(b[i+8:])
				}
				if r = utf16.DecodeRune(r, low); r == unicode.ReplacementChar {
					r = -1
				} else {
					n = 12
				}
			}
		}
		if r < 0x20 || r == '"' || r == '\\' || r == 0x7f {
			dst = append(dst, b[i:min(i+n, len(b))]...)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += n
	}
	return dst
}
