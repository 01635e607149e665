package blocks

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// spanRows is how many rows a span has at most.
const spanRows = 128

// wordWriter writes the words of rows, in the order in which they are stored:
// in spans of up to spanRows rows whose details are in one chunk, and in groups
// of spans (docs/adr/0008-word-filters.md). The methods of a nil one do nothing.
type wordWriter struct {
	day     task.Day
	builder text.Builder
	last    wordIDs // of what is written
	saved   wordIDs // of what is committed

	rows        int // of the span under way
	span        wordSpan
	before      wordSpan // the last one of the group that ended
	low, high   int64    // times of the group's rows, the last one included
	encodedSpan []byte
}

type wordIDs struct{ page, group int64 }

// wordSpan is where the rows of a span are.
type wordSpan struct {
	first, last int64 // times of day of its rows, in microseconds
	chunk       int64 // of their details; 0 if none has any
}

func newWordWriter(day task.Day) *wordWriter { return &wordWriter{day: day} }

// loadWordWriter goes on in a live file; nil if not all of its rows have their
// words there, because a version wrote it that knew none.
func loadWordWriter(ctx context.Context, c *conn, day task.Day) (*wordWriter, error) {
	has, err := hasWords(ctx, c, "main")
	if err == nil && has {
		has, err = wordsCurrent(ctx, c, "main")
	}
	if err != nil || !has {
		return nil, err
	}
	w := newWordWriter(day)
	var vals [2]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT (SELECT ifnull(max(id), 0) FROM word_page), (SELECT ifnull(max(id), 0) FROM word_group)"); err != nil {
		return nil, err
	}
	w.last.page, _ = vals[0].(int64)
	w.last.group, _ = vals[1].(int64)
	w.saved = w.last
	return w, nil
}

// hasWords reports whether a file has the tables of words.
func hasWords(ctx context.Context, c *conn, schema string) (bool, error) {
	var vals [1]driver.Value
	_, err := c.queryRow(ctx, vals[:], hasWordsText(schema))
	return vals[0] == int64(2), err
}

func hasWordsText(schema string) string {
	return "SELECT count(*) FROM " + schema + ".sqlite_schema WHERE name IN ('word_page', 'word_group')"
}

// wordsCurrent reports whether the rows of all cuts of a live file have their
// words there.
func wordsCurrent(ctx context.Context, c *conn, schema string) (bool, error) {
	var vals [2]driver.Value
	_, err := c.queryRow(ctx, vals[:], wordsCurrentText(schema))
	return vals[0] == vals[1], err
}

func wordsCurrentText(schema string) string {
	return fmt.Sprintf("SELECT ifnull((SELECT value FROM %[1]s.meta WHERE key = '%[2]s'), 0), ifnull((SELECT max(last) FROM %[1]s.cut), 0)", schema, metaWordsCut)
}

// add takes a row with its time and the place of its details, -1 if it has
// none.
func (w *wordWriter) add(c *conn, v *task.Invocation, at, detail int64) error {
	if w == nil {
		return nil
	}
	chunk := max(detail, 0) / chunkRows
	if w.rows == spanRows || chunk != 0 && w.span.chunk != 0 && chunk != w.span.chunk {
		w.endSpan()
		if w.builder.Full() {
			if err := w.write(c); err != nil {
				return err
			}
		}
	}
	at -= w.day.Start()
	if w.rows == 0 {
		w.span = wordSpan{first: at}
	}
	w.rows++
	w.span.last = at
	w.span.chunk = max(w.span.chunk, chunk)
	w.builder.Add(v)
	return nil
}

// endSpan ends the span under way.
func (w *wordWriter) endSpan() {
	if w.rows == 0 {
		return
	}
	if len(w.encodedSpan) == 0 {
		w.low, w.before = w.span.first, wordSpan{}
	}
	w.high = w.span.last
	w.encodedSpan = w.span.appendTo(w.encodedSpan, &w.before)
	w.rows = 0
	w.builder.EndSpan()
}

// flush ends the group under way.
func (w *wordWriter) flush(c *conn) error {
	if w == nil {
		return nil
	}
	w.endSpan()
	return w.write(c)
}

// cut is flush at the end of a cut of a live file.
func (w *wordWriter) cut(c *conn, last uint64) error {
	if w == nil {
		return nil
	}
	if err := w.flush(c); err != nil {
		return err
	}
	return setMeta(c, metaWordsCut, int64(last))
}

// write writes the spans that have ended as a group.
func (w *wordWriter) write(c *conn) error {
	if len(w.encodedSpan) == 0 {
		return nil
	}
	ids := int64(0)
	if w.builder.TextIDs() {
		ids = 1
	}
	pages := w.builder.Take()
	first := w.last.page + 1
	for _, p := range pages {
		w.last.page++
		if err := c.exec("INSERT INTO word_page (id, data) VALUES (?, ?)", w.last.page, p); err != nil {
			return err
		}
	}
	w.last.group++
	err := c.exec("INSERT INTO word_group (id, page, pages, low, high, text_ids, spans) VALUES (?, ?, ?, ?, ?, ?, ?)",
		w.last.group, first, int64(len(pages)), w.low, w.high+1, ids, w.encodedSpan)
	w.encodedSpan = w.encodedSpan[:0]
	return err
}

// commit keeps what the transaction wrote, rollback forgets it.
func (w *wordWriter) commit() {
	if w != nil {
		w.saved = w.last
	}
}

func (w *wordWriter) rollback() {
	if w != nil {
		w.last, w.rows, w.encodedSpan = w.saved, 0, w.encodedSpan[:0]
		w.builder.Reset()
	}
}

// appendTo encodes a span behind the one before it in its group: three
// uvarints, of first after the first before, of last after first, and of the
// chunk, which is 0 or one more than its distance from the last chunk before.
// Rows are in order, and so are chunks.
func (s wordSpan) appendTo(b []byte, before *wordSpan) []byte {
	b = binary.AppendUvarint(b, uint64(s.first-before.first))
	b = binary.AppendUvarint(b, uint64(s.last-s.first))
	chunk := s.chunk
	if chunk != 0 {
		chunk += 1 - before.chunk
	}
	b = binary.AppendUvarint(b, uint64(chunk))
	if s.chunk == 0 {
		s.chunk = before.chunk
	}
	*before = s
	return b
}

// decodeSpans reads what appendTo wrote.
func decodeSpans(b []byte) ([]wordSpan, error) {
	var spans []wordSpan
	var before wordSpan
	for len(b) > 0 {
		var u [3]uint64
		for i := range u {
			n := 0
			if u[i], n = binary.Uvarint(b); n <= 0 || u[i] > 1<<62 {
				return nil, errSpans
			}
			b = b[n:]
		}
		s := wordSpan{first: before.first + int64(u[0])}
		s.last = s.first + int64(u[1])
		if s.first < 0 || s.last < s.first || s.last >= dayMicros || len(spans) == text.MaxSpans {
			return nil, errSpans
		}
		before.first = s.first
		if u[2] > 0 {
			s.chunk = before.chunk + int64(u[2]) - 1
			if s.chunk < 1 {
				return nil, errSpans
			}
			before.chunk = s.chunk
		}
		spans = append(spans, s)
	}
	return spans, nil
}

const dayMicros = 86_400_000_000

var errSpans = fmt.Errorf("the spans of a group of words: %w", errRow)
