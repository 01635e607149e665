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
	p.next, p.shown = now.Add(500*time.Millisecond), true
	fmt.Fprintf(p.to, "\r\x1b[K%s: line %d, %d accepted, %d refused", printable(name), line, s.Accepted, s.Rejected)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.shown = false
	}
}
