package main

import (
	"bufio"
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns prints rows in aligned columns. The first rows decide the widths, so
// that a long output is printed while it is being read.
type columns struct {
	w      *bufio.Writer
	right  []bool // columns aligned to the right
	held   [][]string
	widths []int
	ready  bool
}

const columnsHeld = 200

func newColumns(w *bufio.Writer, header ...string) *columns {
	c := &columns{w: w, right: make([]bool, len(header))}
	for i, name := range header {
		if strings.HasPrefix(name, ">") {
			c.right[i], header[i] = true, name[1:]
		}
	}
	c.row(header...)
	return c
}

// row adds a row; errors of writing stay in w.
func (c *columns) row(cells ...string) {
	for i, s := range cells {
		cells[i] = printable(s)
	}
	if c.ready {
		c.print(cells)
		return
	}
	if c.held = append(c.held, cells); len(c.held) > columnsHeld {
		c.flush()
	}
}

// flush prints what is held. w has still to be flushed.
func (c *columns) flush() {
	if c.ready {
		return
	}
	c.ready = true
	c.widths = make([]int, len(c.right))
	for _, cells := range c.held {
		for i, s := range cells {
			c.widths[i] = max(c.widths[i], utf8.RuneCountInString(s))
		}
	}
	for _, cells := range c.held {
		c.print(cells)
	}
	c.held = nil
}

func (c *columns) print(cells []string) {
	for i, s := range cells {
		pad := strings.Repeat(" ", max(c.widths[i]-utf8.RuneCountInString(s), 0))
		last := i == len(cells)-1
		switch {
		case c.right[i]:
			c.w.WriteString(pad + s)
		case last:
			c.w.WriteString(s)
		default:
			c.w.WriteString(s + pad)
		}
		if !last {
			c.w.WriteString("  ")
		}
	}
	c.w.WriteByte('\n')
}

// printable keeps what comes from outside from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '\ufffd'
		}
		return r
	}, s)
}
