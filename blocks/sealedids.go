package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// The rows of a sealed file are found by id through pages of hashes: the hash
// chooses one of idIndex.pages pages, and in it an entry says about where a row
// is. An entry takes some four bytes, where one of an ordinary index on task_id
// takes thirty: it has idRestBits of the hash, as the difference from the entry
// before, and the first bytes of the key (docs/adr/0015-cut-and-seal-costs.md).
const (
	// idRestBits of the hash are in an entry, beyond the page that it chose. A
	// page has up to some 1 800 entries: an id that is not there meets one of
	// another's in some percent of cases, behind the id filter.
	idRestBits = 14
	// idPageBytes is what a page has on average; some are fuller by chance, and
	// should still fit a database page.
	idPageBytes = 3750
	// idCrowd is how many rows may have the same first bytes of their key.
	idCrowd = 64
)

// sealedIDs says how the id pages of a sealed file are to be read.
type sealedIDs struct {
	pages    int // 0: a file of version 1, which has an index instead
	keyBytes int // of the key in an entry
}

// place is the page of a hash, and what an entry has of it.
func (x sealedIDs) place(hash uint64) (page int, rest uint64) {
	hi, lo := bits.Mul64(hash, uint64(x.pages))
	return int(hi), lo >> (64 - idRestBits)
}

// idKeyShift is how many bits of a key an entry of so many bytes leaves out.
func idKeyShift(keyBytes int) int { return max(0, timeBits+slotBits-8*keyBytes) }

// ranges are the ranges of keys in which the rows of a hash are.
func (x sealedIDs) ranges(ctx context.Context, c *conn, schema string, hash uint64) ([]span, error) {
	page, rest := x.place(hash)
	var vals [1]driver.Value
	found, err := c.queryRow(ctx, vals[:], idPageText(schema), int64(page))
	if err != nil {
		return nil, err
	}
	data, _ := vals[0].([]byte)
	if !found {
		return nil, fmt.Errorf("id page %d: %w", page, errRow)
	}
	entries, err := x.decode(data)
	if err != nil {
		return nil, fmt.Errorf("id page %d: %w", page, err)
	}
	return x.match(entries, rest), nil
}

func idPageText(schema string) string {
	return "SELECT data FROM " + schema + ".id_index WHERE page = ?"
}

// sealedEntry is an entry of a page.
type sealedEntry struct {
	rest uint64
	key  int64 // without its last bits
}

// match picks the entries of a hash, as ranges of keys.
func (x sealedIDs) match(entries []sealedEntry, rest uint64) (out []span) {
	shift := idKeyShift(x.keyBytes)
	i, _ := slices.BinarySearchFunc(entries, rest, func(e sealedEntry, rest uint64) int {
		return int(int64(e.rest) - int64(rest))
	})
	for ; i < len(entries) && entries[i].rest == rest; i++ {
		out = append(out, span{entries[i].key << shift, (entries[i].key + 1) << shift})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	return slices.Compact(out)
}

// encode appends a page: the number of entries, their hashes, ascending, each as
// the difference from the one before, and their keys.
func (x sealedIDs) encode(dst []byte, entries []entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	before := uint64(0)
	for _, e := range entries {
		_, rest := x.place(e.of)
		dst = binary.AppendUvarint(dst, rest-before)
		before = rest
	}
	shift := idKeyShift(x.keyBytes)
	var key [8]byte
	for _, e := range entries {
		binary.LittleEndian.PutUint64(key[:], uint64(e.key>>shift))
		dst = append(dst, key[:x.keyBytes]...)
	}
	return dst
}

// decode reads what encode wrote; damaged bytes give an error.
func (x sealedIDs) decode(data []byte) ([]sealedEntry, error) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > uint64(len(data)) {
		return nil, errRow
	}
	data = data[size:]
	entries := make([]sealedEntry, n)
	rest := uint64(0)
	for i := range entries {
		step, size := binary.Uvarint(data)
		if rest += step; size <= 0 || step >= 1<<idRestBits || rest >= 1<<idRestBits {
			return nil, errRow
		}
		data = data[size:]
		entries[i].rest = rest
	}
	if len(data) != int(n)*x.keyBytes {
		return nil, errRow
	}
	shift := idKeyShift(x.keyBytes)
	var key [8]byte
	for i := range entries {
		copy(key[:], data[i*x.keyBytes:(i+1)*x.keyBytes])
		entries[i].key = int64(binary.LittleEndian.Uint64(key[:]))
		if uint64(entries[i].key)>>(timeBits+slotBits-shift) != 0 {
			return nil, errRow
		}
	}
	return entries, nil
}

// keyCrowds tells how many keys, which come in order, have their first bytes in
// common, by the number of bytes.
type keyCrowds [8]struct{ at, rows, most int64 }

func (k *keyCrowds) add(key int64) {
	for i := range k {
		c := &k[i]
		if at := key >> idKeyShift(i+1); at != c.at || c.rows == 0 {
			c.at, c.rows = at, 0
		}
		c.rows++
		c.most = max(c.most, c.rows)
	}
}

// bytes is the least number of bytes that tell enough.
func (k *keyCrowds) bytes() int {
	for i := range k {
		if k[i].most <= idCrowd {
			return i + 1
		}
	}
	return len(k)
}

// storeIDs writes the id pages of a sealed file.
func storeIDs(c *conn, ids *entrySorter, keyBytes int) (sealedIDs, error) {
	perPage := int64(idPageBytes / (keyBytes + 1))
	x := sealedIDs{pages: int(max(1, (ids.count+perPage-1)/perPage)), keyBytes: keyBytes}
	var entries []entry
	var data []byte
	page := 0
	write := func() error {
		data = x.encode(data[:0], entries)
		entries = entries[:0]
		page++
		return c.exec("INSERT INTO id_index (page, data) VALUES (?, ?)", int64(page-1), data)
	}
	err := ids.each(func(e entry) error {
		for at, _ := x.place(e.of); page < at; {
			if err := write(); err != nil {
				return err
			}
		}
		entries = append(entries, e)
		return nil
	})
	for err == nil && page < x.pages {
		err = write()
	}
	return x, err
}
