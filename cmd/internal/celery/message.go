package celery

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// SerializerError refuses a message by its content type: only JSON is read.
type SerializerError struct {
	ContentType     string
	ContentEncoding string
	Compression     string
}

func (e *SerializerError) Error() string {
	switch {
	case e.Compression != "":
		return fmt.Sprintf("events compressed with %.64q are not read", e.Compression)
	case e.ContentEncoding != "" && isJSON(e.ContentType):
		return fmt.Sprintf("events in JSON are read as utf-8, not as %.64q", e.ContentEncoding)
	}
	return fmt.Sprintf("events in %.64q are not read, only JSON (set event_serializer to json)", e.ContentType)
}

// ErrEnvelope is returned for a Redis message that is not from kombu.
var ErrEnvelope = errors.New("not a kombu envelope")

// Body reads the body of one AMQP message; items as in Events.
func (d *Decoder) Body(body []byte, contentType, contentEncoding string) ([]Item, error) {
	if !isJSON(contentType) || !isUTF8(contentEncoding) {
		return nil, &SerializerError{ContentType: contentType, ContentEncoding: contentEncoding}
	}
	return d.Events(body)
}

// Message reads one message that kombu published to Redis, an envelope around a
// body; items as in Events.
func (d *Decoder) Message(envelope []byte) ([]Item, error) {
	f := &d.f
	if err := scanObject(envelope, f, envelopeKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	body, properties, headers := f[keyBody], f[keyProperties], f[keyHeaders]
	contentType, encoding := d.shared(&f[keyContentType]), d.shared(&f[keyEncoding])
	if body.kind != kindString {
		return nil, fmt.Errorf("%w: it has no body", ErrEnvelope)
	}
	if !isJSON(contentType) || !isUTF8(encoding) {
		return nil, &SerializerError{ContentType: contentType, ContentEncoding: encoding}
	}
	if compression := d.inside(&headers, keyCompression); compression != "" {
		return nil, &SerializerError{ContentType: contentType, Compression: compression}
	}
	text := body.raw
	if !body.plain {
		d.plain = unquote(d.plain[:0], body.raw)
		text = d.plain
	}
	switch bodyEncoding := d.inside(&properties, keyBodyEncoding); bodyEncoding {
	case "":
	case "base64":
		d.body = grow(d.body, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(d.body, text)
		if err != nil {
			return nil, fmt.Errorf("%w: body: %w", ErrEnvelope, err)
		}
		text = d.body[:n]
	default:
		return nil, fmt.Errorf("%w: body_encoding %.64q is not known", ErrEnvelope, bodyEncoding)
	}
	return d.Events(text)
}

// inside is the text of one field of a nested object, "" if it is not there.
func (d *Decoder) inside(v *value, k key) string {
	if v.kind != kindObject || scanObject(v.raw, &d.f, envelopeKey) != nil {
		return ""
	}
	return d.shared(&d.f[k])
}

// scanObject fills f from one complete object.
func scanObject(raw []byte, f *fields, known func([]byte) key) error {
	*f = fields{}
	s := scanner{b: raw}
	if s.object(f, known, 1) && s.end() && !s.strange && !s.nonFinite {
		return nil
	}
	return slowObject(raw, f, known)
}

// maxKept is the largest buffer that is kept between messages.
const maxKept = 1 << 20

func grow(b []byte, n int) []byte {
	if n <= cap(b) && (cap(b) <= maxKept || n > maxKept) {
		return b[:n]
	}
	return make([]byte, n)
}

func isJSON(contentType string) bool {
	if contentType == "application/json" || contentType == "" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// isUTF8 knows the names under which Python and kombu know utf-8; ASCII is a
// part of it, and what is labelled binary is JSON if it is JSON.
func isUTF8(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "utf-8", "", "utf8", "utf_8", "us-ascii", "ascii", "binary":
		return true
	}
	return false
}
