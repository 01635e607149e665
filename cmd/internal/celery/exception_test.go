package celery

import (
	"encoding/json"
	"testing"
)

func TestSplitException(t *testing.T) {
	const traceback = "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 9, in f\n    raise E\n        ^^^\npydantic_core.ValidationError: 1 validation error for M\nname\n  Field required\n"
	for _, c := range []struct{ repr, typ, message string }{
		{`ValueError('cannot charge 0')`, "ValueError", "cannot charge 0"},
		{`ValueError('py2',)`, "ValueError", "py2"},
		{`ValueError(u'py2',)`, "ValueError", "py2"},
		{`TypeError('can only concatenate str (not "int") to str')`, "TypeError", `can only concatenate str (not "int") to str`},
		{`RuntimeError('\'quoted\' "double" \\back')`, "RuntimeError", `'quoted' "double" \back`},
		{`MaxRetriesExceededError("Can't retry a.b[x] args:() kwargs:{}")`, "MaxRetriesExceededError", "Can't retry a.b[x] args:() kwargs:{}"},
		{`ValueError('é \u202eRTL NUL\x00 tab\t\r\nnew \U0001f4a5 \ud800 \xe9')`, "ValueError", "é \u202eRTL NUL\x00 tab\t\r\nnew 💥 \uFFFD é"},
		{`ValueError('\q \x4 \u12 \U00110000 end\')`, "ValueError", `\q \x4 \u12 \U00110000 end'`},
		{`Exception()`, "Exception", ""},
		{`KeyError`, "KeyError", ""},
		{`KeyError(42)`, "KeyError", "42"},
		{`OSError(2, 'No such file or directory')`, "OSError", "2, 'No such file or directory'"},
		{`E('a', 'b')`, "E", "'a', 'b'"},
		{`E(b'bytes')`, "E", "b'bytes'"},
		{`E({'code': 5})`, "E", "{'code': 5}"},
		{`botocore.errorfactory.NoSuchKey('gone')`, "botocore.errorfactory.NoSuchKey", "gone"},
		{`Täuschung('ä')`, "Täuschung", "ä"},
		{`OverflowError('mmmmm`, "OverflowError", "mmmmm"},
		{`<PaymentDeclined code='51'` + "\n" + `  detail="it's (not) funded, sorry">`, "PaymentDeclined", "code='51'\n  detail=\"it's (not) funded, sorry\""},
		{`<MaybeEncodingError: Error sending result: 'x'. Reason: 'y'.>`, "MaybeEncodingError", "Error sending result: 'x'. Reason: 'y'."},
		{`<class 'shop.Declined'>`, "shop.Declined", ""},
		{`<Unprintable object at 0x7f>`, "Unprintable", "object at 0x7f"},
		{`SomeError: said so`, "SomeError", "said so"},
		{`Task of kind 'no.such' never registered, please make sure it's imported.`, "NotRegistered", "no.such"},
		{"1 validation error for M\nname\n  Field required", "ValidationError", "1 validation error for M\nname\n  Field required"},
		{`None`, "", ""}, {``, "", ""}, {`  `, "", ""},
		{`<`, "ValidationError", "<"}, {`()`, "ValidationError", "()"}, {`.x`, "ValidationError", ".x"},
	} {
		typ, message := splitException(c.repr, traceback)
		if typ != c.typ || message != c.message {
			t.Errorf("%s:\n got %q %q\nwant %q %q", c.repr, typ, message, c.typ, c.message)
		}
	}
	if typ, message := splitException("something odd", "no traceback"); typ != "" || message != "something odd" {
		t.Errorf("%q %q", typ, message)
	}
}

// TestRealExceptions: all of them have a type, and none keeps its quotes.
func TestRealExceptions(t *testing.T) {
	types := map[string]int{}
	for _, line := range capture(t, "events.ndjson") {
		var e struct{ Type, Exception, Traceback string }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e.Exception == "" || e.Exception == "None" {
			continue
		}
		typ, message := splitException(e.Exception, e.Traceback)
		types[typ]++
		if message != "" && (message[0] == '\'' || message[0] == '"') {
			t.Errorf("%q: message %q", e.Exception, message)
		}
	}
	for _, want := range []string{"ConnectionError", "ValueError", "TimeoutError", "PaymentDeclined", "RuntimeError", "NotRegistered", "Exception",
		"MaybeEncodingError", "OverflowError", "TypeError", "MaxRetriesExceededError", "ExceptionWithTraceback", "SoftTimeLimitExceeded"} {
		if types[want] == 0 {
			t.Errorf("no %s found", want)
		}
		delete(types, want)
	}
	if len(types) > 0 {
		t.Errorf("unexpected: %v", types)
	}
}
