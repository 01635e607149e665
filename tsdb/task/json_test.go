package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What is printed comes back in and prints the same bytes again.
func TestJSONIsCanonical(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range rounds(20_000) {
		v := randomInvocation(t, r)
		if v.TaskID == "" {
			continue
		}
		first := AppendJSON(nil, &v)
		if !json.Valid(first) {
			t.Fatalf("not JSON: %s", first)
		}
		back, err := ParseJSON(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second := AppendJSON(nil, &back); string(second) != string(first) {
			t.Fatalf("not canonical:\n%s\n%s", first, second)
		}
		if back.State != v.State || back.RowTime() != v.RowTime() || back.Open() != v.Open() {
			t.Fatalf("moved by the round trip: %s", first)
		}
		// Posted twice, or into a store that has it already, it changes nothing.
		again := Merge(v, back)
		if third := AppendJSON(nil, &again); string(third) != string(first) {
			t.Fatalf("reimport changes:\n%s\n%s", first, third)
		}
	}
}

func TestParseJSONStates(t *testing.T) {
	for _, c := range []struct{ line, state string }{
		{`{"task_id":"a","finished_at":5,"exception_type":"E"}`, "FAILURE"},
		{`{"task_id":"a","finished_at":5}`, "SUCCESS"},
		{`{"task_id":"a","started_at":5,"received_at":4}`, "STARTED"},
		{`{"task_id":"a","received_at":4}`, "RECEIVED"},
		{`{"task_id":"a","sent_at":4}`, "SENT"},
		{`{"task_id":"a","state":"success","updated_at":4}`, "SUCCESS"},
		{`{"task_id":"a","state":"Retry","updated_at":"2026-11-23T10:00:00.5Z"}`, "RETRY"},
		{`{"task_id":"a","updated_at":4,"queue":"q"}`, "SENT"},
		{`{"task_id":"a","state":null,"finished_at":5,"worker":null,"args":null,"unknown":{"a":1}}`, "SUCCESS"},
	} {
		v, err := ParseJSON([]byte(c.line))
		if err != nil || v.State.String() != c.state {
			t.Errorf("%s: %v %v, want %s", c.line, v.State, err, c.state)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"task_name":"a"}`, "task_id is missing"},
		{`{"task_id":"` + strings.Repeat("x", 256) + `","updated_at":1}`, "256 bytes"},
		{`{"task_id":"a","state":"DONE","updated_at":1}`, "unknown state"},
		{`{"task_id":"a","state":"PENDING","updated_at":1}`, "unknown state"},
		{`{"task_id":"a","finished_at":-1}`, "finished_at"},
		{`{"task_id":"a","finished_at":1e300}`, "finished_at"},
		{`{"task_id":"a","finished_at":253402300800}`, "finished_at"},
		{`{"task_id":"a","finished_at":NaN}`, "not valid JSON"},
		{`{"task_id":"a","finished_at":"yesterday"}`, "finished_at"},
		{`{"task_id":"a","finished_at":true}`, "finished_at"},
		{`{"task_id":"a","finished_at":1,"runtime_ms":-5}`, "runtime_ms"},
		{`{"task_id":"a","finished_at":1,"retries":-5}`, "retries"},
		{`{"task_id":5,"finished_at":1}`, "task_id"},
		{`{"task_id":"a","finished_at":1`, "not valid JSON"},
		{`[1]`, "array"},
		{"{\"task_id\":\"a\xff\",\"finished_at\":1}", "task_id is not valid UTF-8"},
		{"{\"TASK_ID\":\"a\xff\",\"finished_at\":1}", "task_id is not valid UTF-8"},
		{`{"task_id":"a\ud800b","finished_at":1}`, "task_id is not valid UTF-8"},
		{`{"task_id":"\ud83d\u0041","finished_at":1}`, "task_id is not valid UTF-8"},
		{`{"task_id":"\ude00\ud83d","finished_at":1,"args":[]}`, "task_id is not valid UTF-8"},
		{`{"task_id":"a","transitions":[{"state":"SENT"}]}`, "transitions[0]"},
	} {
		if _, err := ParseJSON([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %v, want %q", c.line, err, c.want)
		}
	}
	const good = "\\\\ud800 \\ud83d\\ude00 \\uFFFD \uFFFD" // one that is meant is no mended one
	if v, err := ParseJSON([]byte(`{"task_id":"` + good + `","finished_at":1}`)); err != nil || v.TaskID != "\\ud800 😀 \uFFFD \uFFFD" {
		t.Errorf("%q %v", v.TaskID, err)
	}
	v, err := ParseJSON([]byte(`{"task_id":"a","state":"FAILURE","worker":"w"}`))
	if !errors.Is(err, ErrNoTime) {
		t.Fatalf("got %v, want ErrNoTime", err)
	}
	v.WithTime(77)
	if v.State != StateFailure || v.FinishedAt != 77 || v.Worker != "w" {
		t.Fatalf("WithTime: %+v", v)
	}
}

// Given up without updated_at is given up at the latest time of the line; without any,
// at the newest event of what is known.
func TestParseJSONGivenUp(t *testing.T) {
	for _, c := range []struct {
		line string
		at   int64
	}{
		{`{"task_id":"a","state":"STARTED","started_at":5,"updated_at":9,"given_up":true}`, 9e6},
		{`{"task_id":"a","updated_at":9,"given_up":true}`, 9e6},
		{`{"task_id":"a","state":"STARTED","started_at":5,"given_up":true}`, 5e6},
		{`{"task_id":"a","sent_at":7,"started_at":5,"eta":8,"given_up":true}`, 7e6},
		{`{"task_id":"a","transitions":[{"state":"STARTED","at":6}],"given_up":true}`, 6e6},
		{`{"task_id":"a","state":"STARTED","started_at":5,"updated_at":null,"given_up":true}`, 5e6},
		{`{"task_id":"a","started_at":5,"given_up":false}`, 0},
		{`{"task_id":"a","finished_at":5,"given_up":true}`, 0},
		{`{"task_id":"a","given_up":true}`, 77},
		{`{"task_id":"a","state":"STARTED","given_up":true}`, 77},
		{`{"task_id":"a","state":"FAILURE","given_up":true}`, 0},
		{`{"task_id":"a","worker":"w"}`, 0},
	} {
		v, err := ParseJSON([]byte(c.line))
		if errors.Is(err, ErrNoTime) {
			v.WithTime(77)
			err = nil
		}
		if err != nil || v.GivenUpAt != c.at || (c.at != 0) != strings.Contains(string(AppendJSON(nil, &v)), `"given_up":true`) {
			t.Errorf("%s: given up at %d, want %d: %v", c.line, v.GivenUpAt, c.at, err)
		}
		requireScanned(t, &Parser{}, []byte(c.line))
	}
}

func TestParseJSONMendsAndCuts(t *testing.T) {
	line := "{\"task_id\":\"a\",\"finished_at\":5.1234567,\"args\":[1, \"x\"],\"result\":\"bad \xff \\u0000 \\ud800\",\"traceback\":\"" + strings.Repeat("é", 40_000) + "\"}"
	v, err := ParseJSON([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if v.FinishedAt != 5_123_457 || v.Args != `[1,"x"]` || v.Outcome.Result != "bad \uFFFD \x00 \uFFFD" {
		t.Fatalf("%d %q %q", v.FinishedAt, v.Args, v.Outcome.Result)
	}
	// SUCCESS carries no traceback; on a failure it is cut at a character.
	if v.Outcome.Traceback != "" || v.Truncated != 0 {
		t.Fatal("SUCCESS carries a traceback")
	}
	f, err := ParseJSON([]byte(strings.Replace(line, `"finished_at"`, `"state":"FAILURE","finished_at"`, 1)))
	if err != nil || len(f.Outcome.Traceback) != MaxTraceback || f.Truncated != FieldTraceback || strings.Contains(f.Outcome.Traceback, "\uFFFD") {
		t.Fatalf("%v %d %v", err, len(f.Outcome.Traceback), f.Truncated.Names())
	}
}

// JSON values are kept so that their words are found: escapes that need not be
// are resolved, and nothing else changes.
func TestCompactJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"c": "M\u00fcller", "\u00e9":[1, 2]}`:    `{"c":"Müller","é":[1,2]}`,
		`["\ud83d\ude00", "\uD83D\uDE00x"]`:        `["😀","😀x"]`,
		`["\ud83d", "\ud83dx", "\ude00\ud83d"]`:    `["\ud83d","\ud83dx","\ude00\ud83d"]`,
		`["\ud83d\u0041", "\ud83d\n"]`:             `["\ud83dA","\ud83d\n"]`,
		`["\u0022\u005c\u005C\u000a\u0000\u007f"]`: `["\u0022\u005c\u005C\u000a\u0000\u007f"]`,
		`["\\u00fc", "\"\n\t", "\/v1\u002fpay"]`:   `["\\u00fc","\"\n\t","/v1/pay"]`,
		` 5 `:                                      `5`, `"\u20ac"`: `"€"`, `["\ufffd\u2028"]`: "[\"\uFFFD\u2028\"]",
	} {
		if got, ok := CompactJSON([]byte(in)); !ok || got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	r := rand.New(rand.NewPCG(31, 32))
	for range rounds(20_000) {
		in := []byte(`["`)
		for range r.IntN(8) {
			in = append(in, []string{`\u00fc`, `\ud83d`, `\ude00`, `\\`, `\"`, `\n`, `\u001f`, `\u0022`, `u00fc`, `x`, `ü`, `\/`, "\xff"}[r.IntN(13)]...)
		}
		in = append(in, `"]`...)
		got, ok := CompactJSON(in)
		var a, b []string
		if errA, errB := json.Unmarshal(in, &a), json.Unmarshal([]byte(got), &b); !ok || errA != nil || errB != nil || a[0] != b[0] {
			t.Fatalf("%s is %q, became %s, %q: %v %v", in, a, got, b, errA, errB)
		}
		if again, _ := CompactJSON([]byte(got)); again != got {
			t.Fatalf("%s is not canonical: %s", got, again)
		}
	}
	v, err := ParseJSON([]byte(`{"task_id":"a","finished_at":5,"kwargs":{"c":"M\u00fcller"},"args":["\u00e9"],"result":{"\u20ac":1}}`))
	if err != nil || v.Kwargs != `{"c":"Müller"}` || v.Args != `["é"]` || v.Outcome.Result != `{"€":1}` {
		t.Errorf("%q %q %q %v", v.Args, v.Kwargs, v.Outcome.Result, err)
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]string{
		"1795417087.445431": "1795417087.445431", "1795417089.4477122": "1795417089.447712", "5": "5", "5.10": "5.1",
		"1.7954170874e9": "1795417087.4", "0.000001": "0.000001", "1.9999999": "2",
	} {
		us, err := ParseSeconds(in)
		if err != nil || string(AppendSeconds(nil, us)) != want {
			t.Errorf("%s: %s %v, want %s", in, AppendSeconds(nil, us), err, want)
		}
	}
	for _, in := range []string{"", "0", "-5", "NaN", "Inf", "1e999", "5.x", "99999999999999999999", "0x10", "1_000", "+5", "0.0000001"} {
		if us, err := ParseSeconds(in); err == nil {
			t.Errorf("%q: accepted as %d", in, us)
		}
	}
}

// An invocation is never in an attempt before the first: filters would not show it,
// and summaries would count it.
func TestDecodeBinaryRefusesNegativeRetries(t *testing.T) {
	e := Event{TaskID: "a", TaskName: "t", State: StateStarted, At: 1}
	v := e.Invocation()
	if _, err := DecodeBinary(AppendBinary(nil, &v)); err != nil {
		t.Fatal(err)
	}
	v.Retries = -1
	if got, err := DecodeBinary(AppendBinary(nil, &v)); err == nil {
		t.Errorf("%+v", got)
	}
}

// Both forms give back what they were given, refuse what is cut off, and no flipped
// bit makes them panic or gives what the other form would not take.
func TestDecodeBinaryNeverPanics(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	flipped := 0
	for range rounds(3000) {
		v := randomInvocation(t, r)
		if v.TaskID == "" {
			continue
		}
		odd(r, &v)
		for name, form := range map[string]func([]byte, *Invocation) []byte{"binary": AppendBinary, "log": AppendLog} {
			b := form(nil, &v)
			back, err := DecodeBinary(b)
			if err != nil {
				t.Fatalf("%s: %v: %+v", name, err, v)
			}
			requireSame(t, name, back, v)
			if _, err := DecodeBinary(b[:r.IntN(len(b))]); err == nil {
				t.Fatalf("%s: a cut encoding was accepted", name)
			}
			if _, err := DecodeBinary(append(slices.Clone(b), 0)); err == nil {
				t.Fatalf("%s: a byte too many was accepted", name)
			}
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			x, err := DecodeBinary(b)
			if err != nil {
				continue
			}
			flipped++ // some flips are other values
			AppendJSON(nil, &x)
			for _, form := range []func([]byte, *Invocation) []byte{AppendBinary, AppendLog} {
				if again, err := DecodeBinary(form(nil, &x)); err != nil {
					t.Fatalf("%s: a flipped bit gives what cannot be written again: %v: %+v", name, err, x)
				} else {
					requireSame(t, name, again, x)
				}
			}
		}
	}
	if flipped == 0 {
		t.Error("no flipped bit was taken")
	}
}

// odd gives some invocations ids and times that seldom occur.
func odd(r *rand.Rand, v *Invocation) {
	const uuid = "22c5a64c-6072-4dac-8c85-17988df61611"
	ids := []string{uuid, strings.ToUpper(uuid), uuid[:35], uuid + "0", strings.Repeat("x", 255), "", v.TaskID, "é", "0"}
	if r.IntN(3) == 0 {
		v.TaskID = ids[r.IntN(5)]
	}
	if r.IntN(2) == 0 {
		v.RootID, v.ParentID = ids[r.IntN(len(ids))], ids[r.IntN(len(ids))]
	}
	times := []int64{0, 1, MaxMicros, MaxMicros - 1, 1_795_417_087_445_431}
	if r.IntN(3) == 0 {
		for _, at := range v.moments() {
			*at = times[r.IntN(len(times))]
		}
		v.derive()
	}
	if r.IntN(10) == 0 {
		v.Outcome.HasRuntime, v.Outcome.Runtime = true, MaxMicros
	}
}

// A UUID takes 16 bytes in a log record, a time that is near another one a few.
func TestLogFormIsShort(t *testing.T) {
	at := int64(1_795_417_087_445_431)
	v := Invocation{TaskID: "22c5a64c-6072-4dac-8c85-17988df61611", RootID: "22c5a64c-6072-4dac-8c85-17988df61611", SentAt: at, ReceivedAt: at + 1500, StartedAt: at + 2500, UpdatedAt: at + 900_000}
	long, short := AppendBinary(nil, &v), AppendLog(nil, &v)
	if saved := len(long) - len(short); saved < 2*36-17+3*5-1 {
		t.Errorf("%d bytes of %d are saved", saved, len(long))
	}
}

// parseSlowly is Parse by encoding/json alone.
func parseSlowly(line []byte) (Invocation, error) {
	var w wireInvocation
	if err := json.Unmarshal(line, &w); err != nil {
		return Invocation{}, jsonError(err)
	}
	if err := CheckID(w.TaskID); err != nil {
		return Invocation{}, err
	}
	if !meansID(line) {
		return Invocation{}, ErrIDText
	}
	var v Invocation
	err := w.invocation(&v)
	return v, err
}

// requireScanned checks that a line means to the scanner what it means to
// encoding/json. It reports whether the scanner took it.
func requireScanned(t *testing.T, p *Parser, line []byte) bool {
	t.Helper()
	want, wantErr := parseSlowly(line)
	var got Invocation
	err := p.Parse(line, &got)
	if wantErr != nil && !errors.Is(wantErr, ErrNoTime) {
		got, want = Invocation{}, Invocation{}
	}
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || string(AppendBinary(nil, &got)) != string(AppendBinary(nil, &want)) || got.Truncated != want.Truncated {
		t.Fatalf("%q:\n%+v %v\n%+v %v", line, got, err, want, wantErr)
	}
	return p.scan(line, &wireInvocation{})
}

// TestScannedLines compares the scanner with encoding/json on lines that are
// ordinary, on such with something changed, and on those that it must leave.
func TestScannedLines(t *testing.T) {
	var p Parser
	for _, line := range []string{
		`{"task_id":"a","updated_at":5}`, ` { "task_id" : "a" , "finished_at" : 5.25 } `, `{}`,
		`{"task_id":"a","task_name":"n","state":"FAILURE","sent_at":"2026-11-23T10:00:00Z","finished_at":1.5e9,"runtime_ms":1.25e2,"worker":"w","queue":"q","args":"(1,)","kwargs":"{}","result":null,"exception_type":"E","exception_message":"m","traceback":"t\n\"\u00e9\ud83d\ude00\ud800","retries":3,"root_id":"a","parent_id":"b","eta":null,"expires":7,"other":"x","also":-1.5}`,
		`{"task_id":"a","updated_at":5,"args":"` + strings.Repeat("é", 200) + `","root_id":"a"}`,
		"{\"task_id\":\"a\",\"updated_at\":5,\"queue\":\"bad \xff\xc3\"}",
	} {
		if !requireScanned(t, &p, []byte(line)) {
			t.Errorf("%s: left to encoding/json", line)
		}
	}
	for _, line := range []string{
		``, `null`, `[]`, `{`, `{"task_id"}`, `{"task_id":"a"`, `{"task_id":"a",}`, `{"task_id":"a"}x`, `{"task_id":"a" "b":1}`,
		`{"task_id":"a","task_id":"b","updated_at":5}`, `{"Task_ID":"a","updated_at":5}`, `{"task_id":"a","updated_at":5,"ar\u0067s":"x"}`, `{"tas\u212A_id":"a"}`, `{"tasK_id":"a","updated_at":5}`,
		`{"task_id":5}`, `{"task_id":"a","updated_at":{}}`, `{"task_id":"a","updated_at":true}`, `{"task_id":"a","updated_at":05}`, `{"task_id":"a","updated_at":5.}`, `{"task_id":"a","updated_at":1e}`,
		`{"task_id":"a","updated_at":5,"retries":1.0}`, `{"task_id":"a","updated_at":5,"retries":"1"}`, `{"task_id":"a","updated_at":5,"retries":99999999999999999999}`,
		`{"task_id":"a","updated_at":5,"runtime_ms":1e999}`, `{"task_id":"a","updated_at":5,"args":[1]}`, `{"task_id":"a","updated_at":5,"args":"\x"}`, `{"task_id":"a","updated_at":5,"args":"\u12"}`,
		"{\"task_id\":\"a\",\"updated_at\":5,\"args\":\"\x01\"}", `{"task_id":"a","updated_at":5,"other":{"a":1}}`, `{"task_id":"a","updated_at":5,"other":}`, `{"task_id":"a","updated_at":"5\n"}`,
		`{"task_id":"a","updated_at":5,"given_up":true}`, `{"task_id":"a","updated_at":5,"args":"` + strings.Repeat("x", MaxText+1) + `"}`, `{"task_id":"a","updated_at":5,"queue":"` + strings.Repeat("é", MaxName) + `"}`,
	} {
		if requireScanned(t, &p, []byte(line)) {
			t.Errorf("%.80s: not left to encoding/json", line)
		}
	}
	r := rand.New(rand.NewPCG(21, 22))
	scanned := 0
	for range rounds(20_000) {
		v := randomInvocation(t, r)
		line := AppendJSON(nil, &v)
		if i := strings.Index(string(line), `,"transitions"`); i > 0 && r.IntN(4) > 0 {
			line = append(line[:i], '}')
		}
		if r.IntN(2) == 0 {
			const odd = "\"\\{}[]:,0ek\x00 u\xff"
			line[r.IntN(len(line))] = odd[r.IntN(len(odd))]
		}
		if requireScanned(t, &p, line) {
			scanned++
		}
	}
	if scanned < rounds(20_000)/4 {
		t.Errorf("only %d lines were scanned", scanned)
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"task_id":"a","finished_at":5,"exception_type":"E","transitions":[{"state":"STARTED","at":3}]}`))
	f.Add([]byte(`{"task_id":"a","state":"RETRY","updated_at":"2026-11-23T10:00:00Z","retries":3,"given_up":true}`))
	f.Add([]byte(`{"task_id":"a","task_name":"n","finished_at":5.25,"worker":"w","args":"(1,)","result":"\u00e9\ud83d\ude00","runtime_ms":1.5,"root_id":"a","x":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		requireScanned(t, &Parser{}, line)
		v, err := ParseJSON(line)
		if err != nil {
			return
		}
		first := AppendJSON(nil, &v)
		back, err := ParseJSON(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second := AppendJSON(nil, &back); string(first) != string(second) {
			t.Fatalf("not canonical:\n%s\n%s", first, second)
		}
	})
}

func TestWorkerGroup(t *testing.T) {
	for in, want := range map[string]string{
		"celery@app-worker-analytics-7d9f8c6b5d-x2x9z":      "app-worker-analytics",
		"celery@app-worker-default-68c44cbdf6-2668h":        "app-worker-default",
		"celery@app-worker-default-7c75fdbff6wzs7":          "app-worker-default",
		"node@posthog-worker-django-email-f98fbdbbc-54nrz":  "posthog-worker-django-email",
		"node@posthog-worker-django-email-7d9f8c6b5d-abcde": "posthog-worker-django-email",
		"node@app-worker-long-running-7c75fdbff6wzs8":       "app-worker-long-running",
		"celery@bare-host": "bare-host", "celery@vm": "vm", "vm": "vm", "": "", "w1@db-primary": "db-primary", "w@host-0": "host-0",
	} {
		if got := WorkerGroup(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestDays(t *testing.T) {
	d, err := ParseDay("2026-11-23")
	if err != nil || d.String() != "2026-11-23" || DayOf(d.Start()) != d || DayOf(d.End()-1) != d || DayOf(d.End()) != d+1 {
		t.Fatal(d, err)
	}
	for _, s := range []string{"", "2026-11-31", "2026-1-2", "2026-11-23 ", "../etc", "２０２６-11-23"} {
		if _, err := ParseDay(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}

func TestPackID(t *testing.T) {
	id := "22c5a64c-6072-4dac-8c85-17988df61611"
	b, ok := PackID(id)
	if !ok || UnpackID(b[:]) != id {
		t.Fatal(ok, UnpackID(b[:]))
	}
	for _, s := range []string{"", strings.ToUpper(id), id[:35], id + "0", "22c5a64c060724dac08c85017988df61611x", "g2c5a64c-6072-4dac-8c85-17988df61611", string(b[:])} {
		if _, ok := PackID(s); ok {
			t.Errorf("%q packed", s)
		}
	}
}

// TestEveryKeyIsKnown keeps the scanner from skipping a key that encoding/json reads.
func TestEveryKeyIsKnown(t *testing.T) {
	for f := range reflect.TypeFor[wireInvocation]().Fields() {
		if key := f.Tag.Get("json"); wireFieldOf([]byte(key)) == wireUnknown {
			t.Errorf("the scanner does not know %q", key)
		}
	}
}

// BenchmarkParse reads a line as clients post it.
func BenchmarkParse(b *testing.B) {
	line := []byte(`{"task_id":"6f1c1b0e-0000-4000-8000-000000000001","task_name":"shop.module_3.tasks.task_14","state":"SUCCESS","sent_at":1795435199.912345,"received_at":1795435199.923456,"started_at":1795435199.934567,"worker":"celery@shop-worker-117","queue":"queue-2","args":"(402193, 'bacadafa@example.com', 42)","kwargs":"{'order_id': 4021938, 'customer': 'gahajaka', 'amount': 421.17, 'currency': 'EUR', 'trace': '0a1b2c3d'}","finished_at":1795435200.123456,"runtime_ms":188.889,"result":"None","root_id":"6f1c1b0e-0000-4000-8000-000000000001"}`)
	b.Run("scanned", func(b *testing.B) {
		var p Parser
		var v Invocation
		b.ReportAllocs()
		for b.Loop() {
			if err := p.Parse(line, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parseSlowly(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A dump of what is read, read again, is the same, also where a line gives a retry a
// time that none of its steps has.
func TestRetryWithFinishedAt(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`{"task_id":"z","state":"RETRY","finished_at":1795435205,"transitions":[{"state":"RETRY","at":1795435200,"exception_type":"E0"}]}`,
		`{"task_id":"z","state":"RETRY","finished_at":1795435205,"exception_type":"E1","transitions":[{"state":"RETRY","at":1795435200,"exception_type":"E0"}]}`,
		`{"task_id":"z","state":"RETRY","finished_at":1795435205,"transitions":[{"state":"RETRY","at":1795435200},{"state":"STARTED","at":1795435201}]}`,
	} {
		v, err := ParseJSON([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		first := string(AppendJSON(nil, &v))
		again, err := ParseJSON([]byte(first))
		if err != nil {
			t.Fatal(err)
		}
		if second := string(AppendJSON(nil, &again)); second != first {
			t.Errorf("%s\n%s\n%s", line, first, second)
		}
	}
}
