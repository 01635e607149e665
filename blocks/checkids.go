package blocks

import (
	"context"
	"database/sql/driver"
)

// idCheck reads the id pages of a sealed file.
type idCheck struct {
	c     *conn
	ids   sealedIDs
	pages map[int][]sealedEntry
}

// count wants as many entries as there are rows: with has, that is one each.
func (k *idCheck) count(ctx context.Context, r *report, rows int64) error {
	if k.ids.pages == 0 {
		return nil
	}
	n, pages := int64(0), int64(0)
	err := k.c.each(ctx, 2, func(vals []driver.Value) error {
		data, _ := vals[1].([]byte)
		entries, err := k.ids.decode(data)
		if err != nil || vals[0] != pages {
			return r.add(remedyRestore, "page %v of the ids is damaged", vals[0])
		}
		n, pages = n+int64(len(entries)), pages+1
		return nil
	}, "SELECT page, data FROM id_index ORDER BY page")
	if err == nil && (n != rows || pages != int64(k.ids.pages)) {
		err = r.add(remedyRestore, "%d pages of ids name %d rows; it says that it has %d pages, and has %d rows", pages, n, k.ids.pages, rows)
	}
	return err
}

// has reports whether the pages lead to a key. It keeps pages: rows in key
// order ask for them at random.
func (k *idCheck) has(ctx context.Context, hash uint64, key int64) (bool, error) {
	page, rest := k.ids.place(hash)
	entries, ok := k.pages[page]
	if !ok {
		var vals [1]driver.Value
		if _, err := k.c.queryRow(ctx, vals[:], idPageText("main"), int64(page)); err != nil {
			return false, err
		}
		data, _ := vals[0].([]byte)
		var err error
		if entries, err = k.ids.decode(data); err != nil {
			return false, nil // count has told
		}
		if k.pages == nil || len(k.pages) >= 1<<12 { // 64 MiB
			k.pages = map[int][]sealedEntry{}
		}
		k.pages[page] = entries
	}
	for _, at := range k.ids.match(entries, rest) {
		if at.low <= key && key < at.high {
			return true, nil
		}
	}
	return false, nil
}
