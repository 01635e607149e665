package celery

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func envelope(t testing.TB, over map[string]any) string {
	t.Helper()
	e := map[string]any{
		"body":             base64.StdEncoding.EncodeToString([]byte(`[{"type":"task-started","uuid":"a","timestamp":1}]`)),
		"content-encoding": "utf-8", "content-type": "application/json",
		"headers":    map[string]any{"hostname": "w@h"},
		"properties": map[string]any{"delivery_mode": 1, "body_encoding": "base64", "delivery_info": map[string]any{"exchange": "celeryev"}},
	}
	for k, v := range over {
		if v == nil {
			delete(e, k)
			continue
		}
		e[k] = v
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDecodeMessage(t *testing.T) {
	plain := map[string]any{"delivery_mode": 1}
	for name, over := range map[string]map[string]any{
		"base64":      nil,
		"plain":       {"body": `{"type":"task-started","uuid":"a","timestamp":1,"x":"\"é😀"}`, "properties": plain},
		"no encoding": {"content-encoding": nil},
		"charset":     {"content-type": "application/json; charset=utf-8"},
		"upper case":  {"content-encoding": "UTF-8", "content-type": "Application/JSON"},
		"more fields": {"deeper": []any{1, map[string]any{"body": "x"}}},
		"no headers":  {"headers": nil},
	} {
		items, err := decodeMessage([]byte(envelope(t, over)))
		if err != nil || len(items) != 1 || items[0].Kind != Task || items[0].Event.TaskID != "a" {
			t.Errorf("%s: %+v, %v", name, items, err)
		}
	}
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"not JSON":      {"hello", "kombu envelope"},
		"an array":      {"[]", "kombu envelope"},
		"no body":       {envelope(t, map[string]any{"body": nil}), "no body"},
		"a number":      {envelope(t, map[string]any{"body": 5}), "no body"},
		"bad base64":    {envelope(t, map[string]any{"body": "%%%"}), "base64"},
		"cut base64":    {envelope(t, map[string]any{"body": "eyJ0eXBl"}), "not valid JSON"},
		"other coding":  {envelope(t, map[string]any{"properties": map[string]any{"body_encoding": "rot13"}}), "rot13"},
		"cut envelope":  {envelope(t, nil)[:100], "kombu envelope"},
		"bare NaN":      {envelope(t, map[string]any{"body": `{"type":"x","v":NaN}`, "properties": plain}), "NaN"},
		"a scalar body": {envelope(t, map[string]any{"body": `5`, "properties": plain}), "JSON object"},
	} {
		items, err := decodeMessage([]byte(c.text))
		if err == nil || len(items) != 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", name, items, err, c.want)
		}
	}
}

func TestSerializers(t *testing.T) {
	for _, c := range []struct{ contentType, encoding, want string }{
		{"application/x-python-serialize", "binary", "event_serializer"},
		{"application/x-yaml", "utf-8", "application/x-yaml"},
		{"application/x-msgpack", "binary", "msgpack"},
		{"application/json", "utf-16", "utf-16"},
		{strings.Repeat("x", 500), "", "xxx"},
	} {
		_, err := decodeBody([]byte(`[]`), c.contentType, c.encoding)
		var se *SerializerError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 200 {
			t.Errorf("%+v: %v", c, err)
		}
		_, err = decodeMessage([]byte(envelope(t, map[string]any{"content-type": c.contentType, "content-encoding": c.encoding})))
		if !errors.As(err, &se) {
			t.Errorf("%+v in an envelope: %v", c, err)
		}
	}
	_, err := decodeMessage([]byte(envelope(t, map[string]any{"headers": map[string]any{"compression": "application/x-gzip"}})))
	var se *SerializerError
	if !errors.As(err, &se) || !strings.Contains(err.Error(), "x-gzip") {
		t.Error(err)
	}
}

func TestDecodeBody(t *testing.T) {
	for body, want := range map[string]int{
		`[]`: 0, ` [ ] `: 0,
		`{"type":"task-started","uuid":"a","timestamp":1}`:                                                          1,
		`[{"type":"task-started","uuid":"a","timestamp":1},{"type":"x"}]`:                                           2,
		`[` + strings.Repeat(`{"type":"task-started","uuid":"a","timestamp":1},`, 99) + `{"type":"worker-online"}]`: 100,
	} {
		items, err := decodeBody([]byte(body), "application/json", "utf-8")
		if err != nil || len(items) != want {
			t.Errorf("%.50s: %d items, %v, want %d", body, len(items), err, want)
		}
	}
	for _, body := range []string{``, `[`, `[{"type":"x"},]`, `[{"type":"x"}] 5`, `nonsense`, `null`, `[{"type":"x"}`, `{"type":"x"`, "\xff"} {
		if items, err := decodeBody([]byte(body), "", ""); err == nil || items != nil {
			t.Errorf("%s: %v, %v", body, items, err)
		}
	}
}

// TestDecoderKeepsNothing: what one message left behind is not in the next.
func TestDecoderKeepsNothing(t *testing.T) {
	var d Decoder
	if _, err := d.Events([]byte(`[{"type":"task-failed","uuid":"a","timestamp":1,"exception":"E('x')","args":"(1)"},{"type":"worker-online","hostname":"h","pid":5}]`)); err != nil {
		t.Fatal(err)
	}
	kept, err := d.Events([]byte(`[{"type":"task-started","uuid":"b","timestamp":1},5,{"type":"task-x"}]`))
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := decodeEvents([]byte(`[{"type":"task-started","uuid":"b","timestamp":1},5,{"type":"task-x"}]`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range fresh {
		if kept[i].Event != fresh[i].Event || kept[i].Kind != fresh[i].Kind || kept[i].PID != fresh[i].PID || kept[i].Worker != nil {
			t.Errorf("%d: %+v, want %+v", i, kept[i], fresh[i])
		}
	}
}
