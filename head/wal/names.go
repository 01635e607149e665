package wal

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	checkpointPrefix = "checkpoint."
	tmpSuffix        = ".tmp"     // unfinished; swept by Open
	damagedSuffix    = ".damaged" // no longer needed, but not understood: never deleted
)

func segmentName(n uint64) string    { return fmt.Sprintf("%08d", n) }
func checkpointName(n uint64) string { return checkpointPrefix + segmentName(n) }

// kind is what a file is by its name.
type kind int

const (
	kindUnknown kind = iota
	kindSegment
	kindCheckpoint
	kindTmp
	kindDamaged
)

// parseName accepts exactly the names that this package makes. Everything else is somebody
// else's file.
func parseName(name string) (kind, uint64) {
	if base, ok := strings.CutSuffix(name, tmpSuffix); ok {
		if k, n := parseName(base); k == kindSegment || k == kindCheckpoint {
			return kindTmp, n
		}
		return kindUnknown, 0
	}
	if base, ok := strings.CutSuffix(name, damagedSuffix); ok {
		if k, n := parseName(base); k == kindSegment || k == kindCheckpoint {
			return kindDamaged, n
		}
		return kindUnknown, 0
	}
	k := kindSegment
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	if ok {
		k = kindCheckpoint
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 || segmentName(n) != digits {
		return kindUnknown, 0
	}
	return k, n
}

// IsPiece reports whether a file begins as a segment or a checkpoint does, whatever
// its name. It is for files that somebody points at: a log is read by its names.
func IsPiece(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // only read from
	var magic [8]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && (magic == segmentMagic || magic == checkpointMagic)
}
