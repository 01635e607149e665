package blocks

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestFilterRates(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 5))
	const n = 200_000
	b := newBloom(filterBlocks(n, sealedFilterBits))
	chain := newBloomChain(0)
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = r.Uint64()
		b.add(hashes[i])
		chain.add(hashes[i])
	}
	for _, h := range hashes {
		if !b.has(h) || !chain.has(h) {
			t.Fatal("an id that was added is not there")
		}
	}
	var wrong, wrongChain int
	for range n {
		h := r.Uint64()
		if b.has(h) {
			wrong++
		}
		if chain.has(h) {
			wrongChain++
		}
		i := filterBlock(h, b.blocks()) * filterBlockWords
		var block []byte
		for _, w := range b.words[i : i+filterBlockWords] {
			block = binary.LittleEndian.AppendUint64(block, w)
		}
		if blockHas(block, h) != b.has(h) {
			t.Fatal("a stored block answers differently")
		}
	}
	t.Logf("false positives: %.2f %% sealed, %.2f %% live", 100*float64(wrong)/n, 100*float64(wrongChain)/n)
	if wrong > n*2/100 || wrongChain > n*2/100 {
		t.Errorf("%d and %d false positives of %d", wrong, wrongChain, n)
	}
}
