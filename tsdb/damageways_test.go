package tsdb

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"regexp"
	"slices"
)

// damage is one way to spoil a file; other is what another file holds.
type damage struct {
	name  string
	spoil func(r *rand.Rand, b, other []byte) []byte
	other bool // the file gets the content of the other one
	swap  bool // and the other one gets its content
}

var damages = []damage{
	{name: "flipped", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}},
	{name: "flipped in its header", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		b[r.IntN(min(len(b), 200))] ^= 1 << r.IntN(8)
		return b
	}},
	{name: "garbled", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		at := r.IntN(len(b))
		for i := at; i < min(len(b), at+1+r.IntN(5000)); i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	{name: "zeroed", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		at := r.IntN(len(b))
		end := min(len(b), at+1+r.IntN(9000))
		if len(bytes.Trim(b[at:end], "\x00")) == 0 { // most of a -shm is zero: from what is not on
			at = len(b) - len(bytes.TrimLeft(b, "\x00"))
			end = min(len(b), max(at+1, end))
		}
		clear(b[min(at, end):end])
		return b
	}},
	{name: "all zeroed", spoil: func(_ *rand.Rand, b, _ []byte) []byte {
		clear(b)
		return b
	}},
	{name: "cut", spoil: func(r *rand.Rand, b, _ []byte) []byte { return b[:r.IntN(len(b))] }},
	{name: "emptied", spoil: func(_ *rand.Rand, b, _ []byte) []byte { return nil }},
	{name: "blocks swapped", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		const n = 4096
		if len(b) < 2*n {
			slices.Reverse(b)
			return b
		}
		i, j := r.IntN(len(b)/n)*n, r.IntN(len(b)/n)*n
		block := bytes.Clone(b[i : i+n])
		copy(b[i:i+n], b[j:j+n])
		copy(b[j:j+n], block)
		return b
	}},
	{name: "longer", spoil: func(r *rand.Rand, b, _ []byte) []byte { return append(b, make([]byte, 1+r.IntN(8192))...) }},
	{name: "longer by garbage", spoil: func(r *rand.Rand, b, _ []byte) []byte {
		for range 1 + r.IntN(8192) {
			b = append(b, byte(r.Uint32()))
		}
		return b
	}},
	{name: "replaced by another", other: true, spoil: func(_ *rand.Rand, _, other []byte) []byte { return other }},
	{name: "exchanged with another", other: true, swap: true, spoil: func(_ *rand.Rand, _, other []byte) []byte { return other }},
}

var createTable = regexp.MustCompile(`CREATE TABLE ([a-z_]+) `)

// inTable begins the names of the ways that damageTable makes.
const inTable = "flipped in "

// tables are those of a small SQLite file that have rows, with the first and
// last byte of what their root page holds. It reads the schema as it stands in
// the first pages: the number of a root page, in one byte, comes before its
// statement.
func tables(b []byte) map[string][2]int {
	out := map[string][2]int{}
	if len(b) < 4096 || !bytes.HasPrefix(b, []byte("SQLite format 3\x00")) {
		return out
	}
	for _, m := range createTable.FindAllSubmatchIndex(b[:min(len(b), 3*4096)], -1) {
		root := int(b[m[0]-1])
		if root < 2 || root*4096 > len(b) {
			continue
		}
		page := b[(root-1)*4096 : root*4096]
		from := int(binary.BigEndian.Uint16(page[5:]))
		if cells := binary.BigEndian.Uint16(page[3:]); cells > 0 && from < len(page) {
			out[string(b[m[2]:m[3]])] = [2]int{(root-1)*4096 + from, root * 4096}
		}
	}
	return out
}

// damageTable flips a bit in what a table holds, and not in what is free.
func damageTable(table string) damage {
	return damage{name: inTable + table, spoil: func(r *rand.Rand, b, _ []byte) []byte {
		at := tables(b)[table]
		b[at[0]+r.IntN(at[1]-at[0])] ^= 1 << r.IntN(8)
		return b
	}}
}
