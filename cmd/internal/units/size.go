package units

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"B", 1}, {"", 1},
}

// ParseSize reads a size into bytes. Units may be in any case; decimals are
// possible where they come to whole bytes (1.5GiB).
func ParseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "TGMKiBtgmkIb")
	unit := int64(0)
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, s[len(number):]) {
			unit = u.bytes
		}
	}
	number = strings.TrimSpace(number)
	if unit == 0 || len(number) == 0 || len(number) > 32 || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size such as 1048576, 512KiB, 128MiB or 10GB", clip(s))
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not a size such as 1048576, 512KiB, 128MiB or 10GB", clip(s))
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, fmt.Errorf("%q is not a whole number of bytes below 2^63", clip(s))
	}
	return r.Num().Int64(), nil
}

// FormatSize prints what ParseSize reads, in the unit that leaves the smallest
// whole number.
func FormatSize(n int64) string {
	best := sizeUnits[len(sizeUnits)-1]
	for _, u := range sizeUnits {
		if n != 0 && n%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(n/best.bytes, 10) + best.name
}

// clip shortens what came from outside for an error message.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
