package blocks

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"
)

// An id filter is a blocked Bloom filter: the hash chooses one block of a
// cache line, and filterProbes bits in it. In a sealed file the blocks are
// stored filterPageBlocks to a BLOB, each BLOB within one database page, so
// that a filter that is not resident costs one page a probe.
const (
	filterProbes     = 7
	filterBlockWords = 8 // 512 bits
	filterBlockBytes = filterBlockWords * 8
	filterPageBlocks = 63 // 4032 bytes: fits once in pages of 4 KiB, twice in 8 KiB
	filterPageBytes  = filterPageBlocks * filterBlockBytes

	sealedFilterBits = 10 // per id
	liveFilterBits   = 12
)

// filterBlock is the block that a hash belongs to, of n.
func filterBlock(hash uint64, n int) int {
	hi, _ := bits.Mul64(hash, uint64(n))
	return int(hi)
}

// filterMask are the bits of a hash in its block, filterProbes times nine bits
// of position.
func filterMask(hash uint64) uint64 {
	hash *= 0x9e3779b97f4a7c15
	hash ^= hash >> 32
	hash *= 0xd6e8feb86659fd93
	return hash ^ hash>>32
}

// filterBlocks is how many blocks hold so many ids.
func filterBlocks(ids int64, bitsPerID int) int {
	n := (ids*int64(bitsPerID) + filterBlockBytes*8 - 1) / (filterBlockBytes * 8)
	return int(max(n, 1))
}

// bloom is a filter in memory. add and has may run at the same time.
type bloom struct{ words []uint64 }

func newBloom(blocks int) *bloom { return &bloom{make([]uint64, blocks*filterBlockWords)} }

func (b *bloom) blocks() int { return len(b.words) / filterBlockWords }

func (b *bloom) block(hash uint64) []uint64 {
	i := filterBlock(hash, b.blocks()) * filterBlockWords
	return b.words[i : i+filterBlockWords]
}

func (b *bloom) add(hash uint64) {
	block, m := b.block(hash), filterMask(hash)
	for range filterProbes {
		if w, bit := &block[m>>6&7], uint64(1)<<(m&63); atomic.LoadUint64(w)&bit == 0 {
			atomic.OrUint64(w, bit)
		}
		m >>= 9
	}
}

func (b *bloom) has(hash uint64) bool {
	block, m := b.block(hash), filterMask(hash)
	for range filterProbes {
		if atomic.LoadUint64(&block[m>>6&7])&(1<<(m&63)) == 0 {
			return false
		}
		m >>= 9
	}
	return true
}

// blockHas is has on the stored bytes of a hash's block.
func blockHas(block []byte, hash uint64) bool {
	m := filterMask(hash)
	for range filterProbes {
		if binary.LittleEndian.Uint64(block[8*(m>>6&7):])&(1<<(m&63)) == 0 {
			return false
		}
		m >>= 9
	}
	return true
}

// store writes the filter into the table id_filter.
func (b *bloom) store(c *conn) error {
	page := make([]byte, 0, filterPageBytes)
	n := int64(0)
	for i, w := range b.words {
		page = binary.LittleEndian.AppendUint64(page, w)
		if len(page) == filterPageBytes || i == len(b.words)-1 {
			if err := c.exec("INSERT INTO id_filter (page, bits) VALUES (?, ?)", n, page); err != nil {
				return err
			}
			page, n = page[:0], n+1
		}
	}
	return nil
}

// loadBloom reads a filter of so many blocks from the table id_filter.
func loadBloom(ctx context.Context, c *conn, blocks int) (*bloom, error) {
	b := newBloom(blocks)
	words := b.words
	err := c.each(ctx, 1, func(vals []driver.Value) error {
		page, ok := vals[0].([]byte)
		if !ok || len(page) != min(filterPageBytes, 8*len(words)) {
			return errFilter
		}
		for ; len(page) > 0; page, words = page[8:], words[1:] {
			words[0] = binary.LittleEndian.Uint64(page)
		}
		return nil
	}, "SELECT bits FROM id_filter ORDER BY page")
	if err == nil && len(words) > 0 {
		err = errFilter
	}
	return b, err
}

var errFilter = fmt.Errorf("the id filter: %w", errRow)

// probeFilter asks the stored filter of an attached sealed file, of so many
// blocks (Sealed.FilterBlocks), without loading it. false: surely no such id.
func probeFilter(ctx context.Context, c *conn, schema string, blocks int, hash uint64) (bool, error) {
	i := filterBlock(hash, blocks)
	var vals [1]driver.Value
	ok, err := c.queryRow(ctx, vals[:], "SELECT substr(bits, ?, ?) FROM "+schema+".id_filter WHERE page = ?",
		int64(i%filterPageBlocks*filterBlockBytes+1), int64(filterBlockBytes), int64(i/filterPageBlocks))
	if err != nil {
		return false, err
	}
	block, _ := vals[0].([]byte)
	if !ok || len(block) != filterBlockBytes {
		return false, errFilter
	}
	return blockHas(block, hash), nil
}

// bloomChain is a filter that grows: when the newest part is full, a larger
// one is added. One goroutine adds, any number ask.
type bloomChain struct {
	parts atomic.Pointer[[]*bloom]
	room  int64 // ids that still fit the newest part
	size  int64 // ids the newest part was made for
}

// bytes is the memory of the parts.
func (f *bloomChain) bytes() (sum int64) {
	if f == nil {
		return 0
	}
	for _, p := range *f.parts.Load() {
		sum += int64(p.blocks()) * filterBlockBytes
	}
	return sum
}

const firstBloomIDs = 1 << 16

// newBloomChain makes room for ids that are known to come.
func newBloomChain(ids int64) *bloomChain {
	f := &bloomChain{}
	f.parts.Store(&[]*bloom{})
	f.grow(max(ids, firstBloomIDs))
	return f
}

func (f *bloomChain) grow(ids int64) {
	parts := *f.parts.Load()
	parts = append(parts[:len(parts):len(parts)], newBloom(filterBlocks(ids, liveFilterBits)))
	f.parts.Store(&parts)
	f.room, f.size = ids, ids
}

func (f *bloomChain) add(hash uint64) {
	if f.room == 0 {
		factor := int64(2)
		if f.size < 1<<20 {
			factor = 4
		}
		f.grow(f.size * factor)
	}
	parts := *f.parts.Load()
	parts[len(parts)-1].add(hash)
	f.room--
}

func (f *bloomChain) has(hash uint64) bool {
	parts := *f.parts.Load()
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].has(hash) {
			return true
		}
	}
	return false
}
