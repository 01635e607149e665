package celery

import "daybook/tsdb/task"

// Each text by a Decoder of its own.

func decodeEvents(raw []byte) ([]Item, error) { return new(Decoder).Events(raw) }

func decodeMessage(envelope []byte) ([]Item, error) { return new(Decoder).Message(envelope) }

func decodeBody(body []byte, contentType, contentEncoding string) ([]Item, error) {
	return new(Decoder).Body(body, contentType, contentEncoding)
}

// parseEvent reads one event. It means something only if the kind is Task.
func parseEvent(raw []byte) (ev task.Event, kind Kind, err error) {
	var it Item
	new(Decoder).parse(raw, &it)
	return it.Event, it.Kind, it.Err
}
