package blocks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// phraseWords are in almost every chunk, and in names.
var phraseWords = []string{"eur", "trace", "0", "Größe", "東", "s", "K", "\u0301b"}

var phraseNames = []string{"", "shop.eur", "eur.trace.0", "trace_0", "größe.s"}

func phraseText(r *rand.Rand, most int) string {
	var b strings.Builder
	for i := range r.IntN(most + 1) {
		if i > 0 {
			b.WriteString([]string{" ", "_", "': '", ""}[min(r.IntN(12), 3)])
		}
		b.WriteString(phraseWords[min(r.IntN(len(phraseWords)), r.IntN(len(phraseWords)))])
	}
	return b.String()
}

// phraseRow has few words, so that each is everywhere and a phrase of them is
// often only where texts of a block meet.
func phraseRow(r *rand.Rand, id string, at int64) task.Invocation {
	v := rowAt(id, phraseNames[r.IntN(len(phraseNames))], at, task.StateSuccess)
	if r.IntN(3) == 0 {
		v = rowAt(id, phraseNames[r.IntN(len(phraseNames))], at, task.StateFailure)
		v.Outcome.ExceptionType = phraseNames[r.IntN(len(phraseNames))]
		v.Outcome.ExceptionMessage, v.Outcome.Traceback = phraseText(r, 3), phraseText(r, 4)
	}
	if r.IntN(4) > 0 {
		v.Args, v.Kwargs = phraseText(r, 2), phraseText(r, 3)
	}
	if v.State == task.StateSuccess && r.IntN(2) == 0 {
		v.Outcome.Result = phraseText(r, 2)
	}
	return v
}

// phraseQuery looks for words beside each other: in one text, in two that
// follow each other in a row, in a row and the next one, or by chance.
func phraseQuery(r *rand.Rand, rows []task.Invocation) string {
	i := r.IntN(len(rows) - 1)
	v, next := &rows[i], &rows[i+1]
	o := &v.Outcome
	all := []string{v.TaskName, v.Args, v.Kwargs, o.Result, o.ExceptionType, o.ExceptionMessage, o.Traceback, next.Args, next.Kwargs}
	n := r.IntN(len(all) - 1)
	s := []string{all[n], all[n] + " " + all[n+1], all[n] + all[n+1], v.Args + " " + next.Args, v.Kwargs + next.Kwargs,
		o.ExceptionType + ": " + o.ExceptionMessage, phraseText(r, 4), "eur trace 0 s"}[r.IntN(8)]
	s = strings.Map(func(c rune) rune {
		if c == '"' || c == '/' || c == '\\' {
			return ' '
		}
		return c
	}, s)
	switch r.IntN(6) {
	case 0:
		return `"` + s + `"*`
	case 1:
		return "/" + s + "/"
	case 2:
		return `"` + s + `" ` + phraseWords[r.IntN(len(phraseWords))]
	}
	return `"` + s + `"`
}

// What is found of phrases whose words are in every chunk is what Match finds,
// in cuts that overlap, whose ids are UUIDs or not, and after sealing.
func TestSelectPhrases(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 12))
	sh := newShelf(t)
	l := createLive(t, sh.dir+"/live", 5)
	t.Cleanup(func() { closeAll(t, l) })
	rows := make([]task.Invocation, 2000)
	for i := range rows {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), i)
		if i/100%11 == 3 && i%7 == 0 {
			id = fmt.Sprintf("eur-trace-%d", i)
		}
		rows[i] = phraseRow(r, id, testDay.Start()+int64(i/3))
	}
	cut := uint64(0)
	for rest := rows; len(rest) > 0; {
		n := min(len(rest), []int{1, 90, 128, 300}[r.IntN(4)])
		part := slices.Clone(rest[:min(len(rest), n+60)])
		r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		copy(rest, part) // the last ones come with the next cut
		cut++
		b := Batch{Cut: cut}
		for i := range rest[:n] {
			b.Put = append(b.Put, Put{Inv: &rest[i]})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	slices.SortFunc(rows, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
	lib := &library{shown: rows}
	sealed := seal(t, sh.dir+"/days", SealInput{Generation: 1, Live: l})
	for name, d := range map[string]DayFiles{"live": {Day: testDay, Live: l}, "sealed": {Day: testDay, Sealed: sealed}} {
		c := sh.catalog(PoolOptions{Conns: 1}, d)
		some := 0
		for range rounds(160) {
			f := task.Filter{}
			if r.IntN(4) == 0 {
				f.States = []task.State{task.StateFailure}
			}
			q := phraseQuery(r, rows)
			s := Select{Filter: &f, Oldest: r.IntN(2) == 0, Details: r.IntN(2) == 0}
			s.Text, _ = text.Parse(q) // what is none looks for nothing
			c.effort = []int{100, 1000, fillEffort}[r.IntN(3)]
			want := lib.want(&s)
			got := walkPages(t, c, s, 1000)
			if len(got) != len(want) {
				t.Fatalf("%s: %s, %+v, oldest=%v: %d rows, want %d", name, q, f, s.Oldest, len(got), len(want))
			}
			checkRows(t, &s, 1000, got, want)
			if len(want) > 0 && len(want) < len(rows)/4 {
				some++
			}
		}
		if some < rounds(160)/4 {
			t.Errorf("%s: %d of %d queries find some rows", name, some, rounds(160))
		}
	}
}

// A phrase reads the rows whose texts have it, and a word in one row of forty
// those, however frequent the words are.
func TestPhraseReadsFewRows(t *testing.T) {
	sh := newShelf(t)
	l := createLive(t, sh.dir+"/live", 5)
	t.Cleanup(func() { closeAll(t, l) })
	const rows = 2560
	b := Batch{Cut: 1}
	for i := range rows {
		v := rowAt(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i), "shop.charge", testDay.Start()+int64(i), task.StateSuccess)
		v.Args, v.Kwargs = "('EUR', 'trace')", fmt.Sprintf("{'trace': '0', 'n': %d}", i)
		if i%40 == 7 {
			v.Outcome.Result = "could not reach"
		}
		b.Put = append(b.Put, Put{Inv: &v})
	}
	if err := l.Apply(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, sh.dir+"/days", SealInput{Generation: 1, Live: l})
	const least = rows/chunkRows*effortChunk + effortGroup // every chunk is asked
	for name, d := range map[string]DayFiles{"live": {Day: testDay, Live: l}, "sealed": {Day: testDay, Sealed: sealed}} {
		c := sh.catalog(PoolOptions{Conns: 1}, d)
		for q, want := range map[string]int{
			`"EUR trace 0"`:      0, // one row's arguments and the next one's
			`"charge EUR"`:       0, // a name is a text of its own
			`"trace 0 n"`:        rows,
			`could`:              rows / 40,
			`"could not reach"`:  rows / 40,
			`could EUR /t reac/`: rows / 40,
			`"trace 0" nobo*`:    0,
		} {
			p, err := text.Parse(q)
			if err != nil {
				t.Fatal(err)
			}
			v := c.View()
			w := newWalk(v, Select{Text: p, Filter: &task.Filter{}})
			err = w.fill(context.Background())
			found := len(w.rows)
			v.Release()
			if err != nil || want < rows && found != want {
				t.Errorf("%s: %s finds %d rows, want %d, %v", name, q, found, want, err)
			}
			if used := c.effort - w.left; want < rows && used > least+want {
				t.Errorf("%s: %s looks at %d rows, want %d", name, q, used-least, want)
			}
		}
	}
}
