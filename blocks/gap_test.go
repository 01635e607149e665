package blocks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"daybook/tsdb/task"
)

// gapsOf are gaps that end in a day.
func gapsOf(day task.Day, n int) (out []task.Gap) {
	for i := range n {
		from := day.Start() + int64(i)*1000
		out = append(out, task.Gap{Source: "redis://h/0", Cause: "broker lost", From: from, To: from + 500, Count: 1})
	}
	return out
}

func putGaps(t *testing.T, l *Live, gaps ...task.Gap) {
	t.Helper()
	if err := l.PutGaps(context.Background(), gaps); err != nil {
		t.Fatal(err)
	}
}

// Gaps are merged by identity in a live file, in its overlay, and by sealing.
func TestGapsAreKept(t *testing.T) {
	s := newShelf(t)
	l := s.live(testDay, explainRows(testDay)[:20], nil, nil)
	gaps := gapsOf(testDay, 3)
	putGaps(t, l, gaps...)
	longer := gaps[1]
	longer.To += 100
	putGaps(t, l, longer)
	larger := gaps[1]
	larger.Count = 9
	putGaps(t, l, larger, gaps[0])
	gaps[1].To, gaps[1].Count = longer.To, 9
	if got := l.Gaps(); !slices.Equal(got, gaps) {
		t.Fatalf("%+v", got)
	}
	if err := l.PutGaps(context.Background(), gapsOf(testDay+1, 1)); err == nil {
		t.Fatal("a gap of another day was taken")
	}
	again, err := OpenLiveReadOnly(l.Path())
	if err != nil || !slices.Equal(again.Gaps(), gaps) {
		t.Fatal(err, again)
	}
	closeAll(t, again)
	sealed := s.seal(l, 1)
	if !slices.Equal(sealed.Gaps(), gaps) || sealed.Info().Gaps != 3 {
		t.Fatalf("sealed: %+v", sealed.Gaps())
	}

	over := s.live(testDay, nil, nil, nil)
	grown := gaps[2]
	grown.To, grown.Count = grown.To+7, 0
	fresh := task.Gap{Source: "daemon", Cause: "daemon down", From: testDay.Start() - 50, To: testDay.Start() + 50}
	putGaps(t, over, grown, fresh)
	if over.Empty() {
		t.Fatal("a file with nothing but gaps is not empty")
	}
	gaps[2].To += 7
	want := append([]task.Gap{fresh}, gaps...)
	catalog := NewCatalog(NewPool(PoolOptions{Conns: 1}))
	catalog.Edit(func(days map[task.Day]DayFiles) { days[testDay] = DayFiles{Sealed: sealed, Live: over} })
	view := catalog.View()
	defer view.Release()
	for _, c := range []struct {
		from, to int64
		want     []task.Gap
	}{
		{0, 0, want},
		{testDay.Start() - 80, testDay.Start() - 10, want[:1]}, // it ends in a later day than asked for
		{testDay.End() + 1, 0, nil},
		{0, testDay.Start() - 51, nil},
		{gaps[2].From, gaps[2].From + 1, want[3:]},
	} {
		var set task.GapSet
		view.AddGaps(&set, c.from, c.to)
		if got := set.Sorted(); !slices.Equal(got, c.want) {
			t.Errorf("%d to %d: %+v", c.from, c.to, got)
		}
	}
	tmp, info, err := BuildSealed(context.Background(), filepath.Join(s.dir, "tmp"), SealInput{Day: testDay, Generation: 2, Live: over, Sealed: sealed, At: time.Unix(0, 0)})
	if err != nil || info.Gaps != 4 {
		t.Fatal(info, err)
	}
	if got, err := FileGaps(context.Background(), tmp); err != nil || !slices.Equal(got, want) {
		t.Fatalf("resealed: %+v %v", got, err)
	}
}

// Files from before the table have no gaps; a live one takes some.
func TestFilesWithoutGapTable(t *testing.T) {
	s := newShelf(t)
	l := s.live(testDay, explainRows(testDay)[:5], nil, nil)
	sealed := s.seal(l, 1)
	closeAll(t, l, sealed)
	for _, path := range []string{l.Path(), sealed.Path()} {
		alter(t, path, "DROP TABLE gap")
	}
	old, err := OpenSealed(sealed.Path())
	if err != nil || len(old.Gaps()) != 0 {
		t.Fatal(err)
	}
	l, err = OpenLive(l.Path())
	if err != nil || len(l.Gaps()) != 0 {
		t.Fatal(err)
	}
	defer closeAll(t, l)
	putGaps(t, l, gapsOf(testDay, 2)...)
	_, info, err := BuildSealed(context.Background(), filepath.Join(s.dir, "tmp"), SealInput{Day: testDay, Generation: 2, Live: l, Sealed: old, At: time.Unix(0, 0)})
	if err != nil || info.Gaps != 2 {
		t.Fatal(info, err)
	}
}

// Of very many gaps few are kept in memory, and what they say is not less; a
// sealed file has them all.
func TestVeryManyGaps(t *testing.T) {
	s := newShelf(t)
	l := s.live(testDay, nil, nil, nil)
	putGaps(t, l, gapsOf(testDay, 10*maxFileGaps)...)
	check := func(gaps []task.Gap) {
		t.Helper()
		var count int64
		for _, g := range gaps {
			count += g.Count
		}
		if len(gaps) > maxFileGaps || count != 10*maxFileGaps || gaps[0].From != testDay.Start() {
			t.Fatalf("%d gaps of %d records from %d", len(gaps), count, gaps[0].From)
		}
	}
	check(l.Gaps())
	sealed := s.seal(l, 1)
	check(sealed.Gaps())
	c, err := openFile(sealed.Path(), modeImmutable)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = eachGap(context.Background(), c, func(task.Gap) error { n++; return nil })
	if err := errors.Join(err, c.close()); err != nil || n != 10*maxFileGaps {
		t.Fatal(n, err)
	}
}

// A gap that cannot be is damage, not a panic and not a gap.
func TestImpossibleGaps(t *testing.T) {
	for _, values := range []string{"'s', 'c', 9, 8, 0", "'s', 'c', 9, 10, -1", "'" + strings.Repeat("x", 2000) + "', 'c', 9, 10, 1"} {
		s := newShelf(t)
		l := s.live(testDay, nil, nil, nil)
		closeAll(t, l)
		alter(t, l.Path(), "INSERT INTO gap VALUES ("+values+")")
		var damaged *DamagedError
		if _, err := OpenLive(l.Path()); !errors.As(err, &damaged) {
			t.Errorf("%.40s: %v", values, err)
		}
	}
}

// alter changes a file as nobody should.
func alter(t *testing.T, path, sql string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := openFile(path, modeWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script(sql), c.close()); err != nil {
		t.Fatal(err)
	}
}

// A file that has a gap, or says more of it, need not be told again. One with so many
// that they are taken together does not know.
func TestHasGap(t *testing.T) {
	s := newShelf(t)
	l := s.live(testDay, explainRows(testDay)[:1], nil, nil)
	gaps := gapsOf(testDay, 2)
	gaps[1].Source = strings.Repeat("s", 2*maxGapText)
	putGaps(t, l, gaps...)
	check := func(what string, has func(task.Gap) bool) {
		t.Helper()
		for i, g := range gaps {
			shorter, longer, larger, other := g, g, g, g
			shorter.To--
			longer.To++
			larger.Count++
			other.Cause = "another"
			if !has(g) || !has(shorter) || has(longer) || has(larger) || has(other) {
				t.Errorf("%s, gap %d: %v %v %v %v %v", what, i, has(g), has(shorter), has(longer), has(larger), has(other))
			}
		}
	}
	check("live", l.HasGap)
	check("sealed", s.seal(l, 1).HasGap)
	many := s.live(testDay+1, explainRows(testDay + 1)[:1], nil, nil)
	all := gapsOf(testDay+1, maxFileGaps+1)
	putGaps(t, many, all...)
	grown := all[0]
	grown.To++ // as far as its neighbour, with which it is taken together, reaches
	if many.HasGap(grown) || s.seal(many, 2).HasGap(grown) {
		t.Error("a gap that has grown is taken for another")
	}
}
