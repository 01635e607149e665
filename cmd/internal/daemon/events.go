package daemon

import (
	"daybook/cmd/internal/api"
	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// newEventParser returns a parser of Celery's events for one goroutine; it
// keeps the decoder's buffers from event to event.
func newEventParser() api.EventParser {
	var d celery.Decoder
	return func(raw []byte) (ev task.Event, ignored bool, err error) {
		if len(raw) > 0 && raw[0] == '[' {
			return ev, false, celery.ErrNotObject // a line is one event
		}
		items, err := d.Events(raw)
		switch {
		case err != nil:
			return ev, false, err
		case len(items) != 1:
			return ev, false, celery.ErrNotObject
		case items[0].Err != nil:
			return ev, false, items[0].Err
		}
		return items[0].Event, items[0].Kind != celery.Task, nil
	}
}
