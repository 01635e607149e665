package text

import (
	"unicode/utf8"

	"daybook/tsdb/task"
)

// A word's hash takes its folded bytes eight at a time. It is part of the page
// format; never change it under the same version.
const (
	hashSeed = 0x8c61d2f5e9b7a34d
	hashMul1 = 0x9e3779b97f4a7c15
	hashMul2 = 0xd6e8feb86659fd93

	// The low bits of a hash are not kept: builders put the span there.
	spanMask = MaxSpans - 1
)

func mixHash(h, eight uint64) uint64 {
	h = (h ^ eight) * hashMul1
	return h ^ h>>31
}

func endHash(h, rest uint64, n int) uint64 {
	h = mixHash(h^uint64(n)<<56, rest) * hashMul2
	h = (h ^ h>>32) &^ spanMask
	if h == 0 {
		return MaxSpans // 0 marks a free place in sets
	}
	return h
}

// appendHashes appends the hash of every word of s, in order.
func appendHashes(dst []uint64, s string) []uint64 {
	for i := 0; i < len(s); {
		c := wordByte[s[i]]
		if c == 0 {
			i++
			continue
		}
		start, h, rest := i, uint64(hashSeed), uint64(0)
		for c != 0 && c != anyRune {
			rest = rest<<8 | uint64(c)
			if i++; (i-start)&7 == 0 {
				h, rest = mixHash(h, rest), 0
			}
			if i == len(s) {
				break
			}
			c = wordByte[s[i]]
		}
		if c != anyRune {
			dst = append(dst, endHash(h, rest, i-start))
			continue
		}
		// A longer rune: it may belong to the word, separate or be one.
		from, end := nextWord(s, start)
		if from < len(s) {
			dst = append(dst, hashWord(s[from:end]))
		}
		i = end
	}
	return dst
}

// RootWord is the word that filters hold for the rows of which an id is the
// root, but for the root's own row. No text has it: words have no NUL.
func RootWord(id string) uint64 {
	h, rest, n := uint64(hashSeed), uint64(0), 0
	for _, s := range [...]string{"\x00root\x00", id} {
		for i := range len(s) {
			rest = rest<<8 | uint64(s[i])
			if n++; n&7 == 0 {
				h, rest = mixHash(h, rest), 0
			}
		}
	}
	return endHash(h, rest, n)
}

// AppendHashes appends what filters hold of a row, in order and repeated: that
// is what Builder.Add adds.
func AppendHashes(dst []uint64, v *task.Invocation) []uint64 {
	for _, s := range [...]string{v.TaskName, v.Args, v.Kwargs, v.Outcome.Result,
		v.Outcome.ExceptionType, v.Outcome.ExceptionMessage, v.Outcome.Traceback} {
		dst = appendHashes(dst, s)
	}
	if !wholeID(v.TaskID) {
		dst = appendHashes(dst, v.TaskID)
	}
	if v.RootID != "" && v.RootID != v.TaskID {
		dst = append(dst, RootWord(v.RootID))
	}
	return dst
}

// hashWord is the hash of one word, folded or not.
func hashWord(w string) uint64 {
	h, rest, n := uint64(hashSeed), uint64(0), 0
	var buf [utf8.UTFMax]byte
	for _, r := range w {
		for _, c := range utf8.AppendRune(buf[:0], foldRune(r)) {
			rest = rest<<8 | uint64(c)
			if n++; n&7 == 0 {
				h, rest = mixHash(h, rest), 0
			}
		}
	}
	return endHash(h, rest, n)
}
