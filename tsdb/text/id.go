package text

import (
	"slices"
	"strings"
)

const (
	hexIDLen    = 32
	dashedIDLen = 36
)

// wholeID reports whether a task id is a UUID, with or without dashes, in any
// case: such an id is one word.
func wholeID(id string) bool {
	return (len(id) == dashedIDLen || len(id) == hexIDLen && id[8] != '-') && idBegin(id)
}

// idBegin reports whether s may be the beginning of a UUID.
func idBegin(s string) bool {
	if len(s) <= 8 || s[8] != '-' {
		return s != "" && len(s) <= hexIDLen && allHex(s)
	}
	if len(s) > dashedIDLen || !allHex(s[:8]) {
		return false
	}
	s = s[9:]
	for range 3 {
		if len(s) <= 4 {
			return allHex(s)
		}
		if s[4] != '-' || !allHex(s[:4]) {
			return false
		}
		s = s[5:]
	}
	return allHex(s)
}

// notHex is 0 for hexadecimal digits.
var notHex = func() (t [256]byte) {
	for c := range t {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			t[c] = 1
		}
	}
	return t
}()

// allHex is asked for the id of every row: it does not branch.
func allHex(s string) bool {
	bad := byte(0)
	for i := range len(s) {
		bad |= notHex[s[i]]
	}
	return bad == 0
}

// inID reports whether s may stand within a UUID.
func inID(s string) bool {
	for i := range len(s) {
		if s[i] != '-' && notHex[s[i]] != 0 {
			return false
		}
	}
	return len(s) <= dashedIDLen
}

// idForms are the task ids that a term may mean, which is read without the
// brackets and quotes around it: as it is, in either case, and in the other
// way of writing. None if it is no UUID.
func idForms(s string) []string {
	s = strings.TrimFunc(s, func(r rune) bool { return classOf(r) == separates })
	if !wholeID(s) {
		return nil
	}
	low := strings.ToLower(s)
	other := strings.ReplaceAll(low, "-", "")
	if len(s) == hexIDLen {
		other = low[:8] + "-" + low[8:12] + "-" + low[12:16] + "-" + low[16:20] + "-" + low[20:]
	}
	var ids []string
	for _, id := range []string{s, low, strings.ToUpper(s), other} {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
