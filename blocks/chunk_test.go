package blocks

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

func TestChunksGiveBackTheirTexts(t *testing.T) {
	t.Parallel()
	enc, err := sealEncoder()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 5))
	for n := range 100 {
		var b chunkBuilder
		if n%2 == 0 {
			b.enc = enc
		}
		var rows []chunkTexts
		for n := 1 + r.IntN(chunkRows); len(rows) < n && !b.full(); {
			var row chunkTexts
			for i := range row {
				row[i] = strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(3)*r.IntN(20_000))
			}
			b.add(&row)
			rows = append(rows, row)
		}
		data, err := b.take(nil)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := decodeChunk(data)
		if err != nil || ch.rows() != len(rows) {
			t.Fatal(err)
		}
		for i, want := range rows {
			if got, err := ch.row(i); got != want || err != nil {
				t.Fatalf("row %d: %v", i, err)
			}
		}
		for _, i := range []int{-1, len(rows)} {
			if _, err := ch.row(i); !errors.Is(err, errChunk) {
				t.Errorf("row %d of %d: %v", i, len(rows), err)
			}
		}
	}
}

// Every byte of a chunk counts: with another one it is refused.
func TestDamagedChunks(t *testing.T) {
	t.Parallel()
	enc, err := sealEncoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*chunkBuilder{{}, {enc: enc}} {
		for i := range 40 {
			b.add(&chunkTexts{fmt.Sprintf("(%d, 'order')", i*i), strings.Repeat("x", i), "", "boom", "Traceback"})
		}
		data, err := b.take(nil)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := decodeChunk(data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			for _, bits := range []byte{1, 0x80, 0xff} {
				data[i] ^= bits
				// The header of a zstd frame has bits that change nothing.
				if ch, err := decodeChunk(data); err == nil && ch.text != whole.text {
					t.Errorf("byte %d of %d, version %d: other texts", i, len(data), data[0])
				}
				data[i] ^= bits
			}
		}
	}
}

func TestAChunkIsNoBomb(t *testing.T) {
	t.Parallel()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, maxChunkBytes+1)
	s2Bomb := append([]byte{chunkS2, 0, 0, 0, 0}, s2.Encode(nil, raw)...)
	for _, bomb := range [][]byte{enc.EncodeAll(raw, []byte{chunkZstd}), s2Bomb} {
		if _, err := decodeChunk(bomb); !errors.Is(err, errChunk) {
			t.Errorf("a bomb of %d bytes: %v", len(bomb), err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeChunk(f *testing.F) {
	var b chunkBuilder
	b.add(&chunkTexts{"(1,)", "{}", "", "boom", "Traceback"})
	b.add(&chunkTexts{"", "{'a': 1}", "ok", "", ""})
	data, err := b.take(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	enc, err := sealEncoder()
	if err != nil {
		f.Fatal(err)
	}
	b.enc = enc
	b.add(&chunkTexts{"(1,)", "{}", "", "boom", "Traceback"})
	if data, err = b.take(nil); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{chunkS2})
	f.Fuzz(func(t *testing.T, data []byte) {
		ch, err := decodeChunk(data)
		if err != nil {
			return
		}
		for i := range ch.rows() {
			if _, err := ch.row(i); err != nil {
				t.Fatal(err)
			}
		}
	})
}
