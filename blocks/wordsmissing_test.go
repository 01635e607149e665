package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"testing"

	"daybook/tsdb/task"
	"daybook/tsdb/text"
)

// A page of words or the spans of a group that are not there do not hide a row:
// the file is left out and named.
func TestMissingWords(t *testing.T) {
	const n = 2000
	rows := make([]task.Invocation, n)
	for i := range rows {
		rows[i] = rowAt(fmt.Sprint("id-", i), "t", testDay.Start()+int64(i)*1_000_000, task.StateSuccess)
		rows[i].Args, rows[i].Kwargs = fmt.Sprintf("a%05d b%05d", i*7, i*11), fmt.Sprintf("c%05d", i*13)
	}
	for what, statement := range map[string]string{
		"nothing": "SELECT 1",
		"a page":  "DELETE FROM word_page WHERE id = (SELECT (min(id) + max(id)) / 2 FROM word_page)",
		"spans":   "UPDATE word_group SET spans = x'' WHERE id = (SELECT max(id) FROM word_group)",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sh := newShelf(t)
			f := sh.sealedBulk(testDay, rows)
			path := f.Path()
			damage(t, path, statement)
			c := sh.catalog(PoolOptions{}, DayFiles{Day: testDay, Sealed: f})
			named := 0
			for i := 0; i < n; i += 17 {
				for _, names := range [][]string{nil, {"t"}} { // with names it is asked how dense the words are
					q, err := text.Parse(fmt.Sprintf("a%05d b%05d c%05d", i*7, i*11, i*13))
					if err != nil {
						t.Fatal(err)
					}
					v := c.View()
					var found []string
					err = v.Select(context.Background(), Select{Filter: &task.Filter{TaskNames: names}, Text: q}, func(inv *task.Invocation) (bool, error) {
						found = append(found, inv.TaskID)
						return true, nil
					})
					left := v.Unreadable()
					v.Release()
					if len(left) > 0 {
						named++
					} else if !slices.Contains(found, rows[i].TaskID) {
						t.Fatalf("%s is hidden: %v", rows[i].TaskID, found)
					}
					if err != nil || len(left) > 0 && !slices.Equal(left, []string{f.Name()}) {
						t.Fatal(left, err)
					}
				}
			}
			if (named > 0) != (what != "nothing") {
				t.Errorf("%d queries named the file", named)
			}
			if what != "a page" {
				return
			}
			s, err := c.pool.acquire(context.Background(), attachment{path, modeImmutable})
			if err != nil {
				t.Fatal(err)
			}
			var vals [1]driver.Value
			if _, err := s.c.queryRow(context.Background(), vals[:], "SELECT max(pages) FROM "+s.schema(path)+".word_group"); err != nil || vals[0].(int64) < 3 {
				t.Errorf("%v pages: there is none before the missing one; %v", vals[0], err)
			}
			c.pool.release(s, nil)
		})
	}
}
