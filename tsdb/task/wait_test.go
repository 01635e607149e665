package task

import "testing"

// The wait in the queue is from the later of sent and eta, of which one will
// do, else from received.
func TestWaitMicros(t *testing.T) {
	for _, c := range []struct {
		what                         string
		sent, eta, received, started int64
		wait                         int64
		known                        bool
	}{
		{"sent", 100, 0, 150, 300, 200, true},
		{"sent, then eta", 100, 250, 150, 300, 50, true},
		{"eta before it was sent", 100, 50, 150, 300, 200, true},
		{"eta alone: Celery sends no task-sent by default", 0, 250, 150, 300, 50, true},
		{"eta without received", 0, 250, 0, 300, 50, true},
		{"received alone", 0, 0, 150, 300, 150, true},
		{"started when it was due", 0, 300, 150, 300, 0, true},
		{"started before it was due", 0, 301, 150, 300, 0, false},
		{"started before it was sent", 400, 0, 150, 300, 0, false},
		{"not started", 100, 0, 150, 0, 0, false},
		{"nothing but started", 0, 0, 0, 300, 0, false},
	} {
		v := Invocation{SentAt: c.sent, ETA: c.eta, ReceivedAt: c.received, StartedAt: c.started}
		if wait, known := v.WaitMicros(); wait != c.wait || known != c.known {
			t.Errorf("%s: %d %v, want %d %v", c.what, wait, known, c.wait, c.known)
		}
	}
}
