package text

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
)

const someID = "97ab73a3-0b1c-4d2e-8f30-abcdef012345"

// pasted is a row with texts as they occur.
func pasted() task.Invocation {
	v := task.Invocation{TaskID: someID, TaskName: "shop.orders.charge", State: task.StateFailure,
		Args:   `(1234, 'ORD-00512345')`,
		Kwargs: `{'team_id': 42, 'user': 'Jane.Doe@example.com', 'city': 'Köln', 'station': '東京タワー', 'note': '5" pipe` + "\x00end'}"}
	v.Outcome.Result = `{"url": "https://pay.example.com/v1/charge?id=7"}`
	v.Outcome.ExceptionType, v.Outcome.ExceptionMessage = "requests.exceptions.ConnectionError", "could not reach db-7.internal:5432"
	v.Outcome.Traceback = "Traceback (most recent call last):\n  File \"/usr/lib/python3/shop/pay.py\", line 17, in handle_order\nConnectionError: could not"
	return v
}

func TestMatchAsPasted(t *testing.T) {
	v := pasted()
	for q, want := range map[string]bool{
		// The examples of the contract.
		"ORD-00512345":                      true,
		"00512345":                          true,
		"ord-00512345":                      true,
		"0051234":                           false,
		"ORD-00512346":                      false,
		"jane.doe@example.com":              true,
		"doe@example":                       true,
		"doe@com":                           false,
		"42":                                true,
		"'team_id': 42":                     true,
		"{'team_id': 42}":                   true,
		"team_id":                           true,
		"team":                              true,
		"team_id:42":                        true,
		"id_team":                           false,
		someID:                              true,
		strings.ToUpper(someID):             true,
		"'" + someID + "',":                 true,
		`"` + someID + `"`:                  true,
		"97ab73a30b1c4d2e8f30abcdef01234":   false,
		strings.ReplaceAll(someID, "-", ""): true,
		"97ab73a3":                          false, // a UUID is one word …
		"97ab73a3*":                         true,  // … with a beginning
		"97AB73A3-0b*":                      true,
		"97ab73a3-*":                        true,
		"97ab73a3-0c*":                      false,
		"/3a3-0b1c/":                        true,
		// Several terms, phrases, prefixes, parts.
		"charge 42":                          true,
		"charge 43":                          false,
		"shop.orders.charge":                 true,
		"orders.charge":                      true,
		"shop.charge":                        false,
		`"could not reach"`:                  true,
		`"could reach"`:                      false,
		`"Could  not\" reach"`:               true,
		`"ConnectionError: could not reach"`: true, // from the type to the message
		"exceptions.ConnectionError":         true,
		`"could not rea"*`:                   true,
		`"could not rea"`:                    false,
		"connection*":                        true,
		"ORD-0051*":                          true,
		"RD-0051*":                           false,
		"handle_ord*":                        true,
		"/RD-0051/":                          true,
		`/\/V1\/Charge?/`:                    true,
		`/\/v2\//`:                           false,
		"/usr/lib/python3":                   true, // a path, not a part
		"/usr/lib":                           true,
		"/usr/lib/":                          true,
		"https://pay.example.com/v1":         true,
		"/not reach/":                        true,
		"KÖLN":                               true,
		"koln":                               false,
		"東京":                                 true,
		"京タ":                                 true,
		"京東":                                 false,
		"タワー":                                true,
		"end":                                true, // behind a NUL
		"db-7.internal:5432":                 true,
		"- charge -":                         true,
		"handle_order\u00a0traceback":        true,
	} {
		got, err := Parse(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
		} else if got.Match(&v) != want {
			t.Errorf("%s: matches %t, want %t", q, !want, want)
		} else if naiveMatch(got, &v) != want {
			t.Errorf("%s: naively matches %t", q, !want)
		}
	}
	q, _ := Parse("ConnectionError")
	v.State = task.StateSuccess
	v.Outcome.Traceback = ""
	if q.Match(&v) {
		t.Error("SUCCESS carries no exception")
	}
}

func TestMatchTruncated(t *testing.T) {
	v := task.Invocation{TaskID: "order-77", State: task.StateSuccess, Args: strings.Repeat("é", task.MaxText) + " tail"}
	v.Outcome.Result = strings.Repeat("word ", task.MaxText)
	v.Limit()
	for q, want := range map[string]bool{"word": true, "wor*": true, "tail": false, "éé*": true, "77": true, "order-77": true, "é": false} {
		p, err := Parse(q)
		if err != nil || p.Match(&v) != want {
			t.Errorf("%s: want %t (%v)", q, want, err)
		}
	}
}

// TestMatchNaive holds Match against the naive one, and Words and TaskIDs
// against Match, on random texts.
func TestMatchNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	matched, asked := 0, 0
	for range 20_000 {
		v := randomRow(r)
		text := randomQuery(r, &v)
		q, err := Parse(text)
		if err != nil {
			continue
		}
		asked++
		got := q.Match(&v)
		if got != naiveMatch(q, &v) {
			t.Fatalf("%q on %+v: matches %t", text, v, got)
		}
		if !got {
			continue
		}
		matched++
		if !slices.Contains(q.TaskIDs(), v.TaskID) {
			checkFound(t, q, &v)
		}
	}
	if matched < asked/10 || matched > asked*9/10 {
		t.Errorf("%d of %d matched: that tests little", matched, asked)
	}
}

// checkFound says that the filter and the scan let a matching row through.
func checkFound(t *testing.T, q *Query, v *task.Invocation) {
	t.Helper()
	var b Builder
	b.Add(v)
	b.EndSpan()
	pages := b.Take()
	for _, w := range q.Words() {
		if s, err := LookUp(pages[PageOf(w, len(pages))], len(pages), w); err != nil || !s.Has(0) {
			t.Fatalf("%+v on %+v: the filter misses it (%v)", q, v, err)
		}
	}
	typ, message, traceback := v.Exception()
	block := "x" + v.Args + v.Kwargs + v.Outcome.Result + message + traceback + "x"
	scan := q.Scan([]string{"other", v.TaskName}, []string{"", typ})
	if wholeID(v.TaskID) && !(scan.May(block) && scan.MayRow(textsOf(v))) {
		t.Fatalf("%+v on %+v: the scan misses it", q, v)
	}
}

func textsOf(v *task.Invocation) []string {
	_, message, traceback := v.Exception()
	return []string{v.Args, v.Kwargs, v.Outcome.Result, message, traceback}
}

// TestScanNaive holds Scan against Match on blocks of rows, and counts that it
// passes over most blocks that have the words of a phrase, but not the phrase.
func TestScanNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	words := []string{"eur", "trace", "zero", "größe", "東", "s", "K", "\u0301b"}
	texts := func(most int) string {
		var b strings.Builder
		for i := range r.IntN(most) {
			if i > 0 {
				b.WriteString([]string{" ", "_", "': '", ""}[min(r.IntN(12), 3)])
			}
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()
	}
	matched, absent, passed := 0, 0, 0
	for range 4000 {
		rows := make([]task.Invocation, 1+r.IntN(12))
		var names, types []string
		var fields [5]string
		for i := range rows {
			v := task.Invocation{TaskID: newLoad(r.Uint64()).id(), TaskName: texts(3), State: task.StateFailure, Args: texts(4), Kwargs: texts(4)}
			v.Outcome.Result, v.Outcome.ExceptionMessage, v.Outcome.Traceback = texts(3), texts(4), texts(4)
			if r.IntN(3) == 0 {
				v.Outcome.ExceptionType = texts(4)
			}
			rows[i] = v
			names, types = append(names, v.TaskName), append(types, v.Outcome.ExceptionType)
			for n, s := range textsOf(&v) {
				fields[n] += s
			}
		}
		block := strings.Join(fields[:], "")
		v := &rows[r.IntN(len(rows))]
		o := &v.Outcome
		text := `"` + []string{texts(5), o.ExceptionType + ": " + o.ExceptionMessage, v.Args + " " + v.Kwargs, v.TaskName + " " + v.Args, block[:min(len(block), 24)]}[r.IntN(5)] + `"`
		if r.IntN(4) == 0 {
			text += "*"
		}
		q, err := Parse(strings.ToValidUTF8(text, ""))
		if err != nil {
			continue
		}
		scan, any := q.Scan(names, types), false
		for i := range rows {
			if !naiveMatch(q, &rows[i]) {
				continue
			}
			any = true
			if !scan.May(block) || !scan.MayRow(textsOf(&rows[i])) {
				t.Fatalf("%s on %+v: the scan misses it", text, rows[i])
			}
		}
		if any {
			matched++
			continue
		}
		absent++
		row := false
		for i := range rows {
			row = row || scan.MayRow(textsOf(&rows[i]))
		}
		if !scan.May(block) || !row {
			passed++
		}
	}
	t.Logf("%d blocks have it, %d do not, %d of them are passed over", matched, absent, passed)
	if matched < 500 || absent < 500 || passed < absent*3/4 {
		t.Error("that tests little, or passes over little")
	}
}

// A phrase has to be in a block as a whole, but for what an exception's type
// may have of it.
func TestScanPhrase(t *testing.T) {
	const block = "('EUR', 1){'trace': '0', 'currency': 'EUR'}{'order': '7'}could not reach"
	for q, want := range map[string]bool{
		`"EUR trace 0"`:               false,
		`"trace 0"`:                   true,
		`"EUR 1 trace"`:               true, // where two texts meet a block does not say
		`"currency EUR order"`:        true,
		`"currency 0"`:                false,
		`"ValueError could not"`:      true,
		`"ValueError not could"`:      false,
		`"charge could not"`:          false, // a name is a text of its own
		`"Value error could not"`:     false,
		`"shop ValueError could no"*`: true,
		`"shop ValueError 0 could"`:   false,
	} {
		p, err := Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Scan([]string{"shop.charge"}, []string{"ValueError", "", "shop.ValueError"}).May(block); got != want {
			t.Errorf("%s: %t, want %t", q, got, want)
		}
	}
}

func TestMatchAllocates(t *testing.T) {
	v := pasted()
	for _, s := range []string{"nobody", `"could not rather" ORD-1`, "/größe/", "97ab*", someID} {
		q, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { q.Match(&v) }); n != 0 {
			t.Errorf("%s: %v allocations a row", s, n)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("ORD-1*", "ord-12", "s\u017fK")
	f.Add(`"a b" /c/`, "xa B c", "\xff")
	f.Add("k", "\u212a", "東a")
	f.Add(`"value a b"`, "a b", "a b")
	f.Add(`"a value"*`, "b a", "valued")
	f.Fuzz(func(t *testing.T, query, args, message string) {
		q, err := Parse(query)
		if err != nil {
			return
		}
		v := task.Invocation{TaskID: someID, State: task.StateFailure, Args: args}
		v.Outcome.ExceptionType, v.Outcome.ExceptionMessage = "value", message
		v.Limit()
		got := q.Match(&v)
		if got != naiveMatch(q, &v) {
			t.Fatalf("%q on %q, %q: matches %t", query, v.Args, v.Outcome.ExceptionMessage, got)
		}
		if got && !slices.Contains(q.TaskIDs(), v.TaskID) {
			checkFound(t, q, &v)
		}
	})
}
