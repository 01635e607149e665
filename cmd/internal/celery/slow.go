package celery

import (
	"encoding/json"
	"errors"
	"fmt"

	"daybook/tsdb/task"
)

// slowObject fills f as the scanner does, by way of encoding/json.
func slowObject(raw []byte, f *fields, known func([]byte) key) error {
	*f = fields{}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return jsonError(err)
	}
	if all == nil {
		return ErrNotObject // null
	}
	for name, text := range all {
		k := known([]byte(name))
		if k == keyNone {
			continue
		}
		v, err := slowValue(text)
		if err != nil {
			return err
		}
		f[k] = v
	}
	return nil
}

func slowValue(text json.RawMessage) (value, error) {
	v := value{raw: text}
	switch text[0] {
	case 'n':
		v.kind = kindNull
	case 't':
		v.kind = kindTrue
	case 'f':
		v.kind = kindFalse
	case '[':
		v.kind = kindArray
	case '{':
		v.kind = kindObject
	case '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return v, jsonError(err)
		}
		v.mended = !task.ValidJSONText(text[1 : len(text)-1])
		v.kind, v.plain, v.raw = kindString, true, []byte(s)
	default:
		v.kind = kindNumber
	}
	return v, nil
}

// slowBody reads a body, or says what is wrong with it.
func (d *Decoder) slowBody(body []byte) error {
	var first json.RawMessage
	if err := json.Unmarshal(body, &first); err != nil {
		return jsonError(err)
	}
	switch first[0] {
	case '{':
		d.slowItem(first)
		return nil
	case '[':
	default:
		return ErrNotObject
	}
	var all []json.RawMessage
	if err := json.Unmarshal(first, &all); err != nil {
		return jsonError(err)
	}
	for _, raw := range all {
		d.slowItem(raw)
	}
	return nil
}

func (d *Decoder) slowItem(raw []byte) {
	d.slowParse(raw, d.add())
}

func (d *Decoder) slowParse(raw []byte, it *Item) {
	var f fields
	if err := slowObject(raw, &f, eventKey); err != nil {
		*it = Item{Err: err}
		return
	}
	d.interpret(&f, it)
}

// jsonError says what is wrong without the names of Go types.
func jsonError(err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		return ErrNotObject
	}
	return fmt.Errorf("not valid JSON: %w", err)
}
