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
	dashed := len(s) > 8 && s[8] == '-'
	if s == "" || dashed && len(s) > dashedIDLen || !dashed && len(s) > hexIDLen {
		return false
	}
	for i := range len(s) {
		if dashed && (i == 8 || i == 13 || i == 18 || i == 23) {
			if s[i] != '-' {
				return false
			}
		} else if !hexDigit(s[i]) {
			return false
		}
	}
	return true
}

func hexDigit(c byte) bool {
	c = lowerByte[c]
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
}

// inID reports whether s may stand within a UUID.
func inID(s string) bool {
	for i := range len(s) {
		if s[i] != '-' && !hexDigit(s[i]) {
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
