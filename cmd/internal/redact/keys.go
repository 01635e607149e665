package redact

import (
	"fmt"
	"strings"
)

// longestKey bounds how far is looked back for a name.
const longestKey = 128

// keys are normalised: lower case, without separators; by their last byte.
type keys struct {
	byLast [256][]string
	count  int
}

func (k *keys) none() bool { return k.count == 0 }

func parseKeys(list string) (keys, error) {
	var k keys
	for _, key := range strings.Split(list, ",") {
		if key = strings.TrimSpace(key); key == "" {
			continue
		}
		var b []byte
		for i := range len(key) {
			switch c := key[i]; {
			case !isName(c):
				return k, fmt.Errorf("key %.60q: only letters, digits, '_', '-' and '.' are possible", key)
			case !isJoint(c):
				b = append(b, lower(c))
			}
		}
		if len(b) == 0 || len(key) > longestKey {
			return k, fmt.Errorf("key %.60q: wants 1 to %d bytes, not only separators", key, longestKey)
		}
		last := b[len(b)-1]
		k.byLast[last] = append(k.byLast[last], string(b))
		k.count++
	}
	return k, nil
}

// mask replaces the values of keys.
func (k *keys) mask(s string) string {
	if k.none() {
		return s
	}
	var out []byte
	done := 0 // of s is in out, or masked
	for i := 0; i < len(s); i++ {
		if s[i] != ':' && s[i] != '=' {
			continue
		}
		quote, ok := k.before(s[done:i], s[i] == ':')
		if !ok {
			continue
		}
		v, ok := valueAt(s, i, quote)
		if !ok {
			continue
		}
		out = append(out, s[done:v.from]...)
		out = append(append(append(out, v.open...), Mask...), v.close...)
		done = v.to
		i = done - 1
	}
	if done == 0 {
		return s
	}
	return string(append(out, s[done:]...))
}

// before looks for a key at the end of s. It returns the quote around it, with
// the backslashes before that; "" if it has none.
func (k *keys) before(s string, colon bool) (quote string, ok bool) {
	end := len(s)
	for end > 0 && isSpace(s[end-1]) {
		end--
	}
	if !colon && end > 0 && s[end-1] == ']' { // os.environ["TOKEN"] = "x"
		end--
	}
	s = s[:end]
	if end > 0 && isQuote(s[end-1]) {
		begin := end - 1
		for begin > 0 && s[begin-1] == '\\' {
			begin--
		}
		quote, s = s[begin:end], s[:begin]
	} else if end > 0 && colon && !isName(s[end-1]) {
		return "", false
	}
	return quote, len(s) > 0 && k.endsIn(s)
}

// endsIn reports whether the name at the end of s is a key, or ends in one.
func (k *keys) endsIn(s string) bool {
	for _, key := range k.byLast[lower(s[len(s)-1])] {
		i, j := len(s), len(key)
		for j > 0 && i > 0 && len(s)-i < longestKey {
			c := s[i-1]
			switch {
			case lower(c) == key[j-1]:
				i, j = i-1, j-1
				continue
			case isJoint(c) && i < len(s):
				i--
				continue
			}
			break
		}
		if j == 0 && begins(s, i) {
			return true
		}
	}
	return false
}

// begins reports whether a word begins at s[i]: behind anything that is no
// letter or digit, or where the case changes.
func begins(s string, i int) bool {
	if i == 0 || !isName(s[i-1]) || isJoint(s[i-1]) {
		return true
	}
	if s[i-1] < 0x80 && isUpper(s[i]) {
		return !isUpper(s[i-1]) || i+1 < len(s) && !isUpper(s[i+1]) && isName(s[i+1])
	}
	// A character that was escaped in front of a name: "\npassword".
	return i > 1 && s[i-2] == '\\' && strings.IndexByte("nrt", s[i-1]) >= 0
}

func lower(c byte) byte {
	if isUpper(c) {
		return c + 'a' - 'A'
	}
	return c
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isJoint(c byte) bool { return c == '_' || c == '-' || c == '.' }
func isQuote(c byte) bool { return c == '\'' || c == '"' }
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isName reports whether c may be in a name.
func isName(c byte) bool {
	return 'a' <= lower(c) && lower(c) <= 'z' || '0' <= c && c <= '9' || isJoint(c) || c >= 0x80
}
