package blocks

import (
	"fmt"
	"strconv"
	"strings"

	"daybook/tsdb/task"
)

// SealedName is the file name of a day's generation, from 1.
func SealedName(day task.Day, generation int) string {
	if generation == 1 {
		return day.String() + ".db"
	}
	return fmt.Sprintf("%s.%d.db", day, generation)
}

func liveName(day task.Day, seq int) string { return fmt.Sprintf("%s.%d.db", day, seq) }

func parkedName(seq int) string { return fmt.Sprintf("parked.%d.db", seq) }

// ParseSealedName reads the name of a file in days/: 2026-11-22.db is
// generation 1, 2026-11-22.2.db is generation 2.
func ParseSealedName(name string) (day task.Day, generation int, ok bool) {
	base, ok := strings.CutSuffix(name, ".db")
	if !ok {
		return 0, 0, false
	}
	date, number, found := strings.Cut(base, ".")
	generation = 1
	if found {
		if generation, ok = parseNumber(number); !ok || generation < 2 {
			return 0, 0, false
		}
	}
	day, err := task.ParseDay(date)
	return day, generation, err == nil
}

// ParseLiveName reads the name of a day's file in live/: 2026-11-23.7.db.
func ParseLiveName(name string) (day task.Day, seq int, ok bool) {
	base, ok := strings.CutSuffix(name, ".db")
	if !ok {
		return 0, 0, false
	}
	date, number, _ := strings.Cut(base, ".")
	seq, ok = parseNumber(number)
	if !ok {
		return 0, 0, false
	}
	day, err := task.ParseDay(date)
	return day, seq, err == nil
}

// ParseParkedName reads the name of a file of parked invocations: parked.3.db.
func ParseParkedName(name string) (seq int, ok bool) {
	base, ok := strings.CutSuffix(name, ".db")
	if !ok {
		return 0, false
	}
	number, ok := strings.CutPrefix(base, "parked.")
	if !ok {
		return 0, false
	}
	return parseNumber(number)
}

// parseNumber reads a number from 1 as strconv.Itoa prints it.
func parseNumber(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && strconv.Itoa(n) == s
}
