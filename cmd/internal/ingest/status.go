package ingest

import (
	"fmt"
	"time"
)

// Status is the state of one consumer at one moment.
type Status struct {
	URL         string // without password
	Connected   bool
	Since       time.Time // of Connected being so
	LastError   string    // why it is not connected, or was not last
	FirstAt     int64     // when it was first connected, microseconds; 0 if never
	LastEventAt int64     // newest timestamp of any event, microseconds; 0 if none
	SinkError   string    // why nothing can be stored; "" if all is well

	Connects  int64 // connections made
	Messages  int64
	Bytes     int64
	Events    int64 // task events stored
	Ignored   int64 // custom events and worker events
	Refused   int64 // events with an error
	Undecoded int64 // messages with an error
	Dropped   int64 // messages dropped on overflow
	Pending   int64 // received and not yet stored: messages

	Groups []Group // by name
}

// Group is the workers of one group (task.WorkerGroup).
type Group struct {
	Name              string
	Workers           int   // that sent a sign of life lately and have not left
	LastEventAt       int64 // newest timestamp, microseconds
	Processed         int64 // tasks that its workers say they started, where that could be measured
	Lost              int64 // of these, whose task-started did not arrive, as far as that is certain
	RecentlyProcessed int64 // of Processed, in the last one to two hours
	RecentlyLost      int64 // the same of Lost
}

// Losing reports whether so much was lost lately that somebody should look: at least
// ten events and one in a hundred. Tasks with send_events=False count as lost.
func (g *Group) Losing() bool {
	return g.RecentlyLost >= 10 && g.RecentlyLost*100 >= g.RecentlyProcessed
}

// Reasons says what is wrong, in words for /healthz.
func (s *Status) Reasons() []string {
	var reasons []string
	if !s.Connected {
		why := s.LastError
		if why == "" {
			why = "not yet"
		}
		reasons = append(reasons, fmt.Sprintf("broker %s is not connected since %s: %s", s.URL, s.Since.UTC().Format(time.RFC3339), why))
	}
	if s.SinkError != "" {
		reasons = append(reasons, fmt.Sprintf("events of broker %s cannot be stored: %s", s.URL, s.SinkError))
	}
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Losing() {
			reasons = append(reasons, fmt.Sprintf("worker group %s lost %d of %d task-started events before they were sent, in the last two hours", g.Name, g.RecentlyLost, g.RecentlyProcessed))
		}
	}
	return reasons
}
