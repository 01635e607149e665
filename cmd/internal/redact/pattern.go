package redact

import (
	"fmt"
	"regexp"
	"strings"
)

type patterns []*regexp.Regexp

func compile(expressions []string) (patterns, error) {
	var p patterns
	for _, text := range expressions {
		re, err := regexp.Compile(text)
		switch {
		case err != nil:
			return nil, err
		case re.MatchString(""):
			return nil, fmt.Errorf("regular expression %q matches the empty text, so it would match everywhere", text)
		}
		p = append(p, re)
	}
	return p, nil
}

func (p patterns) mask(s string) string {
	for _, re := range p {
		if found := re.FindAllStringIndex(s, -1); found != nil {
			s = replace(s, found)
		}
	}
	return s
}

// replace masks what was found. A match that touches a mask becomes one with
// it: else a pattern that matches the mask itself would never come to rest.
func replace(s string, found [][]int) string {
	var out strings.Builder
	done := 0
	for masks := (maskFinder{s: s}); len(found) > 0; {
		from, to := found[0][0], found[0][1]
		found = found[1:]
		if from == to || to <= done {
			continue
		}
		from, to = masks.widen(max(from, done), to)
		for len(found) > 0 && found[0][0] < to { // a match that begins inside
			from, to = masks.widen(from, max(to, found[0][1]))
			found = found[1:]
		}
		out.WriteString(s[done:from])
		out.WriteString(Mask)
		done = to
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// maskFinder finds the masks of s in order.
type maskFinder struct {
	s        string
	from, to int // the mask that was looked at last; to is 0 before the first
}

// widen grows s[from:to] by the masks that it cuts. Calls must ascend.
func (m *maskFinder) widen(from, to int) (int, int) {
	for {
		if m.to > from && m.from < to {
			from, to = min(from, m.from), max(to, m.to)
		}
		if m.from >= to {
			return from, to
		}
		n := strings.Index(m.s[m.to:], Mask)
		if n < 0 {
			m.from, m.to = len(m.s), len(m.s)
			return from, to
		}
		m.from, m.to = m.to+n, m.to+n+len(Mask)
	}
}
