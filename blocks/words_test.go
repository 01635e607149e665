package blocks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// vocabulary is what texts of tests are made of.
var vocabulary = []string{"charge", "ORD-00512345", "user7@example.com", "größe", "GRÖßE", "東京2026年", "e\u0301te\u0301", "a\x00b", "\xff\xfe",
	"\u212aelvin", "team_id", "{'k': 42}", "could not reach", "x²", "🎉", "/v1/pay/", "\"quoted\"", "\\", "shop.orders", "0000", "4000"}

func wordyText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(5) {
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "%d", r.IntN(2000))
		case 1:
			fmt.Fprintf(&b, "n%05x", r.IntN(1<<20))
		default:
			b.WriteString(vocabulary[r.IntN(len(vocabulary))])
		}
		b.WriteString([]string{" ", ", ", "-", "", "\n"}[r.IntN(5)])
	}
	return b.String()
}

// wordyRow is a randomRow with texts; some have none, some mention ids.
func wordyRow(r *rand.Rand, id string, at int64) task.Invocation {
	v := randomRow(r, id, at)
	if r.IntN(3) == 0 {
		return v
	}
	v.Args, v.Kwargs, v.Outcome.Result = wordyText(r), wordyText(r), wordyText(r)
	if v.Outcome.ExceptionType != "" {
		v.Outcome.ExceptionMessage, v.Outcome.Traceback = wordyText(r), strings.Repeat(wordyText(r), 3)
	}
	switch r.IntN(8) {
	case 0:
		v.Kwargs += " " + id
	case 1:
		v.RootID = fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32N(30), 1)
	case 2:
		v.RootID = fmt.Sprintf("ROOT %d", r.IntN(9))
	}
	return v
}

// randomQuery looks for something that rows have, most of the time.
func (lib *library) randomQuery(r *rand.Rand) string {
	var terms []string
	for range 1 + r.IntN(2) {
		v := &lib.shown[r.IntN(len(lib.shown))]
		all := []string{v.Args, v.Kwargs, v.Outcome.Result, v.TaskName, v.Outcome.ExceptionType + " " + v.Outcome.ExceptionMessage, v.Outcome.Traceback, v.TaskID}
		s := all[r.IntN(len(all))]
		fields := strings.Fields(s)
		if len(fields) == 0 {
			fields = []string{vocabulary[r.IntN(len(vocabulary))]}
		}
		i := r.IntN(len(fields))
		switch r.IntN(9) {
		case 0:
			terms = append(terms, v.TaskID)
		case 1:
			terms = append(terms, strings.ToUpper(v.TaskID))
		case 2:
			terms = append(terms, v.TaskID[:1+r.IntN(len(v.TaskID))]+"*")
		case 3:
			from := r.IntN(len(s) + 1)
			part := s[from : from+r.IntN(min(len(s)-from, 6)+1)]
			terms = append(terms, "/"+strings.ReplaceAll(part, "/", `\/`)+"/")
		case 4:
			terms = append(terms, fields[i][:1+r.IntN(len(fields[i]))]+"*")
		case 5:
			terms = append(terms, `"`+strings.NewReplacer(`"`, " ", `\`, " ").Replace(strings.Join(fields[i:min(i+3, len(fields))], " "))+`"`)
		case 6:
			terms = append(terms, fmt.Sprintf("n%05x", r.IntN(1<<20)))
		default:
			terms = append(terms, fields[i])
		}
	}
	return strings.Join(terms, " ")
}

// reseal makes sealed files of the days that have a live one.
func (s *shelf) reseal(days []DayFiles) []DayFiles {
	s.t.Helper()
	out := slices.Clone(days)
	for i, d := range out {
		if d.Live == nil {
			continue
		}
		in := SealInput{Day: d.Day, Generation: 9, Live: d.Live, Sealed: d.Sealed, At: time.Unix(0, 0)}
		tmp, _, err := BuildSealed(context.Background(), s.dir+"/tmp", in)
		if err != nil {
			s.t.Fatal(err)
		}
		path, err := PublishSealed(tmp, s.dir+"/days", d.Day, in.Generation)
		if err != nil {
			s.t.Fatal(err)
		}
		requireWords(s.t, path)
		f, err := OpenSealed(path)
		if err != nil {
			s.t.Fatal(err)
		}
		out[i] = DayFiles{Day: d.Day, Sealed: f}
	}
	return out
}

// requireWords checks a file but for its rollups: those of a library are not
// told what its overlays hide.
func requireWords(t testing.TB, path string) {
	t.Helper()
	findings, err := CheckFile(context.Background(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if !f.Note && !strings.Contains(f.Problem, "rollup") {
			t.Errorf("%s: %s", path, f.Problem)
		}
	}
}

// withoutWords makes files as versions wrote them that knew no words.
func (s *shelf) withoutWords(days []DayFiles) {
	s.t.Helper()
	const drop = "DROP TABLE word_page; DROP TABLE word_group;"
	for _, d := range days {
		if d.Sealed != nil {
			if err := os.Chmod(d.Sealed.Path(), 0o644); err != nil {
				s.t.Fatal(err)
			}
			c, err := openFile(d.Sealed.Path(), modeWrite)
			if err != nil {
				s.t.Fatal(err)
			}
			if err := c.script(drop); err != nil {
				s.t.Fatal(err)
			}
			closeAll(s.t, closer(c.close))
		}
		if d.Live != nil {
			w := <-d.Live.writer
			w.words = nil
			if err := w.c.script(drop); err != nil {
				s.t.Fatal(err)
			}
			d.Live.writer <- w
		}
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// What a Select finds with words, roots and every other condition in files of
// every kind is what text.Query.Match and task.Filter.Match find in a slice.
func TestSelectWords(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	sh := newShelf(t)
	lib := newLibraryOf(sh, r, 9, 1800, wordyRow)
	for _, d := range lib.days {
		for _, a := range d.attachments() {
			requireWords(t, a.path)
		}
	}
	resealed := sh.reseal(lib.days)
	check := func(t *testing.T, c *Catalog, n int) {
		hits := 0
		for i := range rounds(n) {
			f := task.Filter{}
			if r.IntN(2) == 0 {
				f = lib.randomFilter(r)
			}
			c.effort = []int{30, 300, fillEffort}[r.IntN(3)]
			s := Select{Filter: &f, Oldest: r.IntN(2) == 0, Details: r.IntN(2) == 0}
			q := ""
			if i%5 == 0 {
				f.RootID = lib.shown[r.IntN(len(lib.shown))].RootID
			}
			if i%10 != 0 {
				q = lib.randomQuery(r)
				s.Text, _ = text.Parse(q) // what is none looks for nothing
			}
			want := lib.want(&s)
			page := []int{0, 1 + len(want)/3, 7, 100}[r.IntN(4)]
			if len(want)/max(page, 1) > 20 {
				page = 100
			}
			if got := walkPages(t, c, s, page); len(got) != len(want) {
				t.Fatalf("%q, %+v, oldest=%v: %d rows, want %d", q, f, s.Oldest, len(got), len(want))
			} else {
				checkRows(t, &s, page, got, want)
			}
			if len(want) > 0 {
				hits++
			}
		}
		if hits < rounds(n)/4 {
			t.Errorf("%d of %d queries find anything", hits, rounds(n))
		}
	}
	t.Run("as they were written", func(t *testing.T) { check(t, (&shelf{t: t}).catalog(PoolOptions{Conns: 2}, lib.days...), 300) })
	t.Run("resealed", func(t *testing.T) {
		check(t, (&shelf{t: t}).catalog(PoolOptions{Conns: 2, Limit: 2}, resealed...), 200)
	})
	t.Run("without words", func(t *testing.T) {
		sh.withoutWords(lib.days)
		check(t, (&shelf{t: t}).catalog(PoolOptions{Conns: 1}, lib.days...), 80)
	})
}

// Many groups, in cuts of every size that overlap: each row is found by its
// words, by its root and by its id, and no row twice.
func TestSelectManyGroups(t *testing.T) {
	sh := newShelf(t)
	g := newLoad(3, testDay, 60_000)
	rows := make([]task.Invocation, 40_000/rounds(4))
	for i := range rows {
		rows[i] = *g.next()
		if i%7 == 0 {
			rows[i].RootID = fmt.Sprintf("root-%d", i/70)
		}
		if i%5 == 0 { // no details
			rows[i].Args, rows[i].Kwargs, rows[i].Outcome.Result = "", "", ""
		}
	}
	l := createLive(t, sh.dir+"/live", 99)
	t.Cleanup(func() { closeAll(t, l) })
	r := rand.New(rand.NewPCG(4, 4))
	cut := uint64(0)
	for rest := rows; len(rest) > 0; {
		n := min(len(rest), []int{1, 50, 127, 300, 18_000}[min(r.IntN(9), 4)])
		part := slices.Clone(rest[:min(len(rest), n+40)])
		r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		copy(rest, part) // the last ones come with the next cut
		b := Batch{Cut: cut + 1}
		for i := range rest[:n] {
			b.Put = append(b.Put, Put{Inv: &rest[i]})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		cut++
	}
	requireSound(t, l.Path())
	slices.SortFunc(rows, func(a, b task.Invocation) int { return a.Key().Compare(b.Key()) })
	lib := &library{shown: rows}
	sealed := seal(t, sh.dir+"/days", SealInput{Generation: 1, Live: l})
	for name, d := range map[string]DayFiles{"live": {Day: testDay, Live: l}, "sealed": {Day: testDay, Sealed: sealed}} {
		c := sh.catalog(PoolOptions{Conns: 1}, d)
		for i := range rounds(40) {
			v := &rows[r.IntN(len(rows))]
			f := task.Filter{}
			s := Select{Filter: &f, Oldest: r.IntN(2) == 0}
			q := []string{strings.Trim(strings.TrimLeft(v.Kwargs, "{'order_id': "), "}"), v.TaskID, `"` + v.TaskName + `"`, "No such word", ""}[i%5]
			if j := strings.Index(q, ","); j > 0 {
				q = q[:j]
			}
			s.Text, _ = text.Parse(q)
			if q == "" || r.IntN(4) == 0 {
				f.RootID = v.RootID
			}
			want := lib.want(&s)
			if len(want) > 2000 {
				continue
			}
			got := walkPages(t, c, s, 500)
			if len(got) != len(want) {
				t.Fatalf("%s: %q, root %q: %d rows, want %d", name, q, f.RootID, len(got), len(want))
			}
			checkRows(t, &s, 500, got, want)
		}
	}
}

// A version that knows no words goes on with a live file, and then this one
// again: the rows are found, and sealing gives them words.
func TestWordsAfterOlderVersion(t *testing.T) {
	dir := liveDir(t)
	l := createLive(t, dir, 1)
	put := func(cut uint64, id string) {
		t.Helper()
		v := rowAt(id, "n", testDay.Start()+int64(cut), task.StateSuccess)
		if err := l.Apply(context.Background(), Batch{Cut: cut, Put: []Put{{Inv: &v}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "first")
	w := <-l.writer
	w.words = nil
	l.writer <- w
	put(2, "second")
	closeAll(t, l)
	l, err := OpenLive(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	put(3, "third")
	t.Cleanup(func() { closeAll(t, l) })
	requireSound(t, l.Path())
	days := t.TempDir()
	for _, d := range []DayFiles{{Day: testDay, Live: l}, {Day: testDay, Sealed: seal(t, days, SealInput{Generation: 1, Live: l})}} {
		c := (&shelf{t: t}).catalog(PoolOptions{}, d)
		for _, id := range []string{"first", "second", "third"} {
			q, err := text.Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			if got := walkPages(t, c, Select{Text: q, Filter: &task.Filter{}}, 0); len(got) != 1 {
				t.Errorf("%s: %d rows of %q", d.attachments()[0].path, len(got), id)
			}
		}
	}
}

// A cut that fails leaves no words of its rows, and the next one has its own.
func TestWordsAfterFailedCut(t *testing.T) {
	l := createLive(t, liveDir(t), 1)
	t.Cleanup(func() { closeAll(t, l) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for cut := range uint64(6) {
		b := Batch{Cut: cut + 1}
		for i := range 200 {
			v := rowAt(fmt.Sprintf("row-%d-%d", cut, i), "n", testDay.Start()+int64(i), task.StateSuccess)
			b.Put = append(b.Put, Put{Inv: &v})
		}
		if err := l.Apply(ctx, b); err == nil {
			t.Fatal("a cut whose time is over is done")
		}
		twice := b
		twice.Put = append(slices.Clone(b.Put), b.Put[0])
		if err := l.Apply(context.Background(), twice); err == nil {
			t.Fatal("a cut with a row twice is done")
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	requireSound(t, l.Path())
}

// The check finds a row whose words are not in the filters, and damage.
func TestCheckWords(t *testing.T) {
	for name, harm := range map[string]string{
		"a word is missing": "UPDATE word_page SET data = (SELECT data FROM word_page WHERE id = 2) WHERE id = 1",
		"a page is damaged": "UPDATE word_page SET data = substr(data, 1, length(data) - 3) WHERE id = 1",
		"a page is gone":    "DELETE FROM word_page WHERE id = 2",
		"spans are cut off": "UPDATE word_group SET spans = substr(spans, 1, 1)",
		"spans are late":    "UPDATE word_group SET low = low + 1",
		"a group is gone":   "DELETE FROM word_group WHERE id = 1",
	} {
		t.Run(name, func(t *testing.T) {
			l := createLive(t, liveDir(t), 1)
			t.Cleanup(func() { closeAll(t, l) })
			g := newLoad(1, testDay, 1000)
			for cut := range uint64(2) {
				if err := l.Apply(context.Background(), g.batch(cut+1, 500)); err != nil {
					t.Fatal(err)
				}
			}
			w := <-l.writer
			if err := w.c.script(harm); err != nil {
				t.Fatal(err)
			}
			l.writer <- w
			findings, err := CheckFile(context.Background(), l.Path(), true)
			if err != nil || len(findings) == 0 || !strings.Contains(findings[0].Problem, "words") {
				t.Errorf("%v, %v", findings, err)
			}
		})
	}
}

// Rows that come hours late do not make a search read the hours between: what
// it looks at are the rows of the cut that has the word.
func TestWordsOfLateRows(t *testing.T) {
	l := createLive(t, liveDir(t), 1)
	t.Cleanup(func() { closeAll(t, l) })
	g := newLoad(5, testDay, 6000)
	for cut := range uint64(10) {
		b := g.batch(cut+1, 500)
		for i := range 3 {
			v := rowAt(fmt.Sprintf("late-%d-%d-x%dx%d", cut, i, cut, i), "late", testDay.Start()+int64(cut)*60_000_000+int64(i), task.StateFailure)
			b.Put = append(b.Put, Put{Inv: &v})
		}
		if err := l.Apply(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	c := (&shelf{t: t}).catalog(PoolOptions{}, DayFiles{Day: testDay, Live: l})
	q, err := text.Parse("x9x2")
	if err != nil {
		t.Fatal(err)
	}
	v := c.View()
	defer v.Release()
	w := newWalk(v, Select{Text: q, Filter: &task.Filter{}})
	if err := w.fill(context.Background()); err != nil || len(w.rows) != 1 {
		t.Fatalf("%d rows, %v", len(w.rows), err)
	}
	if used := c.effort - w.left; used > 300 {
		t.Errorf("a word of one row costs as much as %d rows", used)
	}
}
