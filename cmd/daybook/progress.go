package main

import (
	"fmt"
	"os"
	"time"
)

// progress is a line on a terminal that is written over and over; elsewhere it
// is nothing.
type progress struct {
	to    *os.File // nil if it is no terminal
	next  time.Time
	shown bool
}

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{to: f}
}

func (p *progress) show(s sum, name string, line int) {
	now := time.Now()
	if p.to == nil || now.Before(p.next) {
		return
	}
	p.next = now.Add(500 * time.Millisecond)
	p.text(fmt.Sprintf("%s: line %d, %d accepted, %d refused", printable(name), line, s.Accepted, s.Rejected))
}

// text shows a text at once.
func (p *progress) text(s string) {
	if p.to == nil {
		return
	}
	p.shown = true
	fmt.Fprint(p.to, "\r\x1b[K"+s)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.shown = false
	}
}
