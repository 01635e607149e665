package redact

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"daybook/tsdb/task"
)

func defaults(t testing.TB) *Redactor {
	t.Helper()
	r, err := New(DefaultKeys, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKeys has a secret in every way that it is written, and texts that stay.
func TestKeys(t *testing.T) {
	r := defaults(t)
	for name, c := range map[string][2]string{
		"Python":                {`{'user': 'bob', 'password': 'hunter2', 'n': 1}`, `{'user': 'bob', 'password': '[redacted]', 'n': 1}`},
		"JSON":                  {`{"token":"x","n":1}`, `{"token":"[redacted]","n":1}`},
		"call":                  {`connect(host='h', password='hunter2', port=1)`, `connect(host='h', password='[redacted]', port=1)`},
		"scheme":                {`GET /x authorization=Bearer abc.def== HTTP/1.1`, `GET /x authorization=[redacted] HTTP/1.1`},
		"scheme in a string":    {`{'h': 'authorization=basic  dXNlcg==', 'x': 1}`, `{'h': 'authorization=[redacted]', 'x': 1}`},
		"scheme at the end":     {`authorization=Bearer`, `authorization=[redacted]`},
		"spaces":                {`password = "x"`, `password = "[redacted]"`},
		"JSON with spaces":      {"{\"token\" :\n  \"x\"}", "{\"token\" :\n  \"[redacted]\"}"},
		"case":                  {`{'PassWord': 'x', 'API-KEY': 'y', 'apikey': 'z'}`, `{'PassWord': '[redacted]', 'API-KEY': '[redacted]', 'apikey': '[redacted]'}`},
		"end of a name":         {`{'db_password': 'x', 'accessToken': 'y', 'X-Auth-Token': 'z', 'HTTPToken': 'w'}`, `{'db_password': '[redacted]', 'accessToken': '[redacted]', 'X-Auth-Token': '[redacted]', 'HTTPToken': '[redacted]'}`},
		"not the end of a name": {`{'tokens': 'x', 'token_count': 3, 'max_tokens': 4, 'broken': 'y', 'mytoken': 'z'}`, ``},
		"nested":                {`({'a': [{'secret': 'x'}]}, {'b': {'c': {'pwd': 'y'}}})`, `({'a': [{'secret': '[redacted]'}]}, {'b': {'c': {'pwd': '[redacted]'}}})`},
		"other values":          {`{'cvv': 123, 'token': b'x', 'secret': ['a', {'b': ']'}], 'pwd': Secret('x, y'), 'jwt': <T 'x' at 0x7f>, "cookie": true}`, `{'cvv': '[redacted]', 'token': b'[redacted]', 'secret': '[redacted]', 'pwd': '[redacted]', 'jwt': '[redacted]', "cookie": "[redacted]"}`},
		"nothing to hide":       {`{'token': None, "secret": null, 'pwd': '', 'jwt': ""}`, ``},
		"escaped quotes":        {`{'password': 'it\'s', "token": "a\"b", 'x': 'y'}`, `{'password': '[redacted]', "token": "[redacted]", 'x': 'y'}`},
		"ends in a backslash":   {`{'password': 'a\\', 'x': 'y'}`, `{'password': '[redacted]', 'x': 'y'}`},
		"the other quote":       {`{'password': "it's", 'x': 'y'}`, `{'password': "[redacted]", 'x': 'y'}`},
		"JSON in a string":      {`["{\"password\":\"a\\\"b\",\"n\":1}"]`, `["{\"password\":\"[redacted]\",\"n\":1}"]`},
		"JSON in Python":        {`('{"password": "a\\"b", "n": 1}',)`, `('{"password": "[redacted]", "n": 1}',)`},
		"number in a string":    {`["{\"cvv\": 123, \"n\": 1}"]`, `["{\"cvv\": \"[redacted]\", \"n\": 1}"]`},
		"cut in a string":       {`["{\"password\":\"abc","n"]`, `["{\"password\":\"[redacted]","n"]`},
		"three levels":          {`"{\"a\":\"{\\\"token\\\":\\\"x\\\",\\\"n\\\":1}\"}"`, `"{\"a\":\"{\\\"token\\\":\\\"[redacted]\\\",\\\"n\\\":1}\"}"`},
		"cut short":             {`{'user': 'bob', 'password': 'hunt`, `{'user': 'bob', 'password': '[redacted]`},
		"cut short in a list":   {`{'secrets': [1, 2, 'x`, `{'secrets': '[redacted]'`},
		"cut behind the key":    {`{'password': `, ``},
		"cut in the key":        {`{'passwo`, ``},
		"URL":                   {`GET https://h/p?token=abc&x=1 failed`, `GET https://h/p?token=[redacted]&x=1 failed`},
		"URL in JSON":           {`{"url": "https://h/?token=abc", "b": "c"}`, `{"url": "https://h/?token=[redacted]", "b": "c"}`},
		"base64":                {`token=YWJj==, n=1`, `token=[redacted], n=1`},
		"traceback": {"  File \"a.py\", line 3, in f\n    connect(password='x')\nValueError: bad token: comma",
			"  File \"a.py\", line 3, in f\n    connect(password='[redacted]')\nValueError: bad token: comma"},
		"source":           {`os.environ["TOKEN"] = "x"; password = os.environ['P']; n = 1`, `os.environ["TOKEN"] = "[redacted]"; password = [redacted]; n = 1`},
		"triple quotes":    {`secret='''a'b''' + x`, `secret='''[redacted]''' + x`},
		"comparison":       {`password == 'x' and y`, `password == '[redacted]' and y`},
		"Ruby":             {`{"password"=>"x", "a"=>"b"}`, `{"password"=>"[redacted]", "a"=>"b"}`},
		"after a newline":  {`"line\npassword='x'"`, `"line\npassword='[redacted]'"`},
		"no key":           {`{'user': 'bob', 'n': 1, "t": "12:30:00"}`, ``},
		"a key as a value": {`{'field': 'password', 'x': 'y'}`, ``},
		"not ASCII":        {`{'größe': 'ü', 'password': 'ö'}`, `{'größe': 'ü', 'password': '[redacted]'}`},
		"empty":            {``, ``},
		"separators":       {`::==:=`, ``},
	} {
		want := c[1]
		if want == "" {
			want = c[0]
		}
		got := r.Text(c[0])
		if got != want {
			t.Errorf("%s: %s\n got %s\nwant %s", name, c[0], got, want)
		}
		if again := r.Text(got); again != got {
			t.Errorf("%s: again: %s", name, again)
		}
	}
}

// TestPatterns has regular expressions, also ones that match the mask itself.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		expressions []string
		text, want  string
	}{
		{[]string{`AKIA[0-9A-Z]{4}`, `\d{4}-\d{4}`}, `k=AKIA12AB card 1234-5678.`, `k=[redacted] card [redacted].`},
		{[]string{`[a-z]+`}, `abc 1 def`, `[redacted] 1 [redacted]`},
		{[]string{`.+`}, `abc`, `[redacted]`},
		{[]string{`^.`}, `abc`, `[redacted]bc`},
		{[]string{`b.*`}, `a b [redacted] c`, `a [redacted]`},
		{[]string{`b\[red`}, `ab[redacted]c`, `a[redacted]c`},
		{[]string{`\b`}, `abc def`, `abc def`},
		{[]string{`(?i)bearer \S+`}, `Authorization: Bearer abc.def`, `Authorization: [redacted]`},
		{[]string{`.{12}`}, strings.Repeat("x", 400), Mask}, // does not come to rest by itself
	} {
		r, err := New("", c.expressions)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == Mask && len(c.text) > 100 {
			if got := r.Text(c.text); r.Text(got) != got || strings.Contains(got, strings.Repeat("x", 12)) {
				t.Errorf("%q: %s", c.expressions, got)
			}
			continue
		}
		if got := r.Text(c.text); got != c.want || r.Text(got) != got {
			t.Errorf("%q: %s: %s, again %s, want %s", c.expressions, c.text, got, r.Text(got), c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, keys := range []string{"pass word", "a,'b'", "_", strings.Repeat("k", longestKey+1)} {
		if _, err := New(keys, nil); err == nil {
			t.Errorf("key %.20q is accepted", keys)
		}
	}
	for _, re := range []string{"(", "a*", ""} {
		if _, err := New("", []string{re}); err == nil {
			t.Errorf("expression %q is accepted", re)
		}
	}
	for _, none := range []string{"", " ", ",", " , "} {
		r, err := New(none, nil)
		if r != nil || err != nil {
			t.Errorf("%q: %v, %v", none, r, err)
		}
		if got := r.Text("password='x'"); got != "password='x'" {
			t.Error(got)
		}
	}
}

// TestInvocation wants the five long fields masked and the limits kept.
func TestInvocation(t *testing.T) {
	r := defaults(t)
	secret := `password='x'`
	v := task.Invocation{TaskID: secret, TaskName: secret, Args: secret, Kwargs: secret,
		Outcome: task.Outcome{Result: secret, ExceptionType: secret, ExceptionMessage: secret, Traceback: secret}}
	r.Invocation(&v)
	want := `password='[redacted]'`
	if got := []string{v.Args, v.Kwargs, v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback}; !slices.Equal(got, slices.Repeat([]string{want}, 5)) {
		t.Errorf("%q", got)
	}
	if v.TaskID != secret || v.TaskName != secret || v.Outcome.ExceptionType != secret || v.Truncated != 0 {
		t.Errorf("%+v", v)
	}
	for shift := range 30 { // the limit meets a mask everywhere
		v := task.Invocation{Kwargs: strings.Repeat("é", shift) + strings.Repeat("{'pwd': 'x', 'n': None} ", task.MaxText/24-3)}
		v.Limit()
		r.Invocation(&v)
		if len(v.Kwargs) > task.MaxText || v.Truncated != task.FieldKwargs || strings.Contains(v.Kwargs, "'x'") || !utf8.ValidString(v.Kwargs) {
			t.Fatalf("%d: %d bytes, truncated %b", shift, len(v.Kwargs), v.Truncated)
		}
		again := v
		again.Limit()
		r.Invocation(&again)
		if again.Kwargs != v.Kwargs {
			t.Errorf("%d: not the same again: …%s …%s", shift, v.Kwargs[len(v.Kwargs)-30:], again.Kwargs[max(len(again.Kwargs)-30, 0):])
		}
	}
	var none *Redactor
	none.Invocation(&v)
}

// TestLinear has texts of a megabyte that would take for ever if anything was
// looked at from every place.
func TestLinear(t *testing.T) {
	r := defaults(t)
	for _, piece := range []string{"token=", "'token': '", `\`, "token=(", `"`, "token='' ", `token=\"`, "=", "token: ", "'token' ", " ", "token=[redacted] ", "_", `password=a\\"b`, "token=<", `{"`, "token='''"} {
		text := strings.Repeat(piece, 1<<20/len(piece))
		if got := r.Text(text); r.Text(got) != got {
			t.Errorf("%s… is not the same again", piece)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{`{'password': 'x'}`, `["{\"token\":\"a\\\"b\"}"]`, `token=[1, 'x`, `pwd=<a '>' >`, `secret='''x'''`, `token=[redacted]x`} {
		f.Add(s, 20)
	}
	both, err := New(DefaultKeys, []string{`\d+`, `[a-z]{3}x`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		for _, r := range []*Redactor{defaults(t), both} {
			got := r.Text(s)
			if again := r.Text(got); again != got {
				t.Errorf("%q becomes %q, then %q", s, got, again)
			}
			if utf8.ValidString(s) && !utf8.ValidString(got) {
				t.Errorf("%q becomes %q", s, got)
			}
			n := max(len(Mask), min(limit, len(s)))
			short, _ := r.short(s, n)
			if again, _ := r.short(short, n); again != short || len(short) > n {
				t.Errorf("%q in %d bytes becomes %q, then %q", s, n, short, again)
			}
		}
		// Whatever surrounds it, a secret in plain quotes does not come through.
		if got := defaults(t).Text("{'password': 'hunter2', " + s); strings.Contains(got, "hunter2") && !strings.Contains(s, "hunter2") {
			t.Errorf("%q", got)
		}
	})
}

const plain = `{'order_id': 81723, 'customer': 'Ada Lovelace', 'items': [{'sku': 'A-1', 'count': 2}, {'sku': 'B-22', 'count': 1}], 'note': 'ring twice', 'when': '2026-11-23T10:15:00', 'retry': False, 'via': 'web'}`

func BenchmarkNoKey(b *testing.B) {
	r := defaults(b)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if r.Text(plain) != plain {
			b.Fatal("masked")
		}
	}
}

func BenchmarkKey(b *testing.B) {
	r := defaults(b)
	text := plain + `, {'password': 'hunter2'}`
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if r.Text(text) == text {
			b.Fatal("not masked")
		}
	}
}
