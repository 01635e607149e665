package blocks

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestChunksGiveBackTheirTexts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 5))
	var b chunkBuilder
	for range 50 {
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

func TestAChunkIsNoBomb(t *testing.T) {
	t.Parallel()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, maxChunkBytes+1), []byte{chunkVersion})
	if _, err := decodeChunk(bomb); !errors.Is(err, errChunk) {
		t.Errorf("a bomb of %d bytes: %v", len(bomb), err)
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
	f.Add([]byte{chunkVersion})
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
