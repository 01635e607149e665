package celery

// Decoder decodes messages. It keeps buffers and repeated names, so one that
// is used again is faster; it is for one goroutine at a time. The zero value is
// ready to use.
type Decoder struct {
	f       fields
	items   []Item
	scratch []byte
	body    []byte
	plain   []byte
	names   map[string]string
}

// Events reads one event object or an array of them, as clients post them.
// There is an Item for each in its order. The error is about the text as a
// whole, and no items come with it. The items are valid until the next call; the
// texts in them are not bound to raw.
func (d *Decoder) Events(raw []byte) ([]Item, error) {
	clear(d.items) // so that no text outlives its use in here
	d.items = d.items[:0]
	s := scanner{b: raw}
	s.space()
	if s.i < len(raw) && raw[s.i] == '{' {
		it := d.add()
		d.parse(raw, it)
		if it.Err != nil && !s.onlyValue() {
			return nil, it.Err // it is the text that is broken, not its meaning
		}
		return d.items, nil
	}
	if d.batch(&s) {
		return d.items, nil
	}
	d.items = d.items[:0]
	if err := d.slowBody(raw); err != nil {
		return nil, err
	}
	return d.items, nil
}

func (d *Decoder) add() *Item {
	d.items = append(d.items, Item{})
	return &d.items[len(d.items)-1]
}

// batch reads an array of events in one pass.
func (d *Decoder) batch(s *scanner) bool {
	if !s.next('[') {
		return false
	}
	if s.next(']') {
		return s.end()
	}
	for {
		s.space()
		if !d.element(s) {
			return false
		}
		if s.next(',') {
			continue
		}
		return s.next(']') && s.end()
	}
}

// element reads one event of a batch. NaN, which is no JSON, costs the event
// that holds it and no other.
func (d *Decoder) element(s *scanner) bool {
	from := s.i
	s.strange, s.nonFinite = false, false
	if from >= len(s.b) || s.b[from] != '{' {
		_, ok := s.value(1)
		d.add().Err = ErrNotObject
		return ok
	}
	d.f = fields{}
	if !s.object(&d.f, eventKey, 1) {
		return false
	}
	d.finish(s, s.b[from:s.i], d.add())
	return true
}

// finish makes an Item of the object that s has just read into d.f from raw.
func (d *Decoder) finish(s *scanner, raw []byte, it *Item) {
	switch {
	case s.nonFinite:
		*it = Item{Err: ErrNonFinite}
	case s.strange:
		d.slowParse(raw, it)
	default:
		d.interpret(&d.f, it)
	}
}

// parse reads one object.
func (d *Decoder) parse(raw []byte, it *Item) {
	d.f = fields{}
	s := scanner{b: raw}
	if s.object(&d.f, eventKey, 1) && s.end() {
		d.finish(&s, raw, it)
		return
	}
	d.slowParse(raw, it)
}

// onlyValue reports whether one correct value follows, and nothing else.
func (s *scanner) onlyValue() bool {
	_, ok := s.value(0)
	return ok && !s.nonFinite && s.end()
}
