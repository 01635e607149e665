package blocks

import (
	"context"
	"errors"

	"daybook/tsdb/task"
)

// kindLegacy is the Kind of a legacy file in an Analysis.
const kindLegacy = "legacy"

// legacyFile adds a legacy file. Its schema is foreign: a row takes what its
// texts take, and long fields are stored as they are.
func (a *Analysis) legacyFile(ctx context.Context, l *Legacy, sums *[4]*uses) error {
	f := FileUse{Path: l.Path(), Kind: kindLegacy, Bytes: l.Bytes()}
	var rows, details int64
	err := l.Select(ctx, Select{Oldest: true, Details: true}, func(v *task.Invocation) (bool, error) {
		texts := textsOf(v)
		u := Use{Rows: 1, RowBytes: int64(len(v.TaskID) + len(v.TaskName) + len(v.State.String()) + len(v.Worker) + len(v.Queue) + len(v.Outcome.ExceptionType) + 4*8)}
		var fields [chunkFields]int64
		for i, text := range texts {
			fields[i] = int64(len(text))
			u.DetailBytes += fields[i]
			a.Fields[i] += fields[i]
		}
		u.DetailStored = u.DetailBytes
		rows, details = rows+1, details+u.DetailStored
		a.All.add(&u)
		for i, name := range [4]string{v.TaskName, v.Worker, v.Queue, v.Outcome.ExceptionType} {
			sums[i].add(name, &u)
		}
		return true, a.large(&u, func() (LargeRow, error) {
			return LargeRow{TaskID: v.TaskID, TaskName: v.TaskName, State: v.State, At: v.RowTime(), Fields: fields}, nil
		})
	})
	if err != nil {
		return err
	}
	if f.Rows = rows; rows > 0 {
		f.Day = task.DayOf(a.newest(ctx, l))
	}
	f.Parts = []Part{{Name: "long fields", Entries: rows, Bytes: details, Estimated: true}, {Name: "rows", Entries: rows, Bytes: a.All.RowBytes, Estimated: true}}
	a.Files = append(a.Files, f)
	return nil
}

// newest is the row time of a legacy file's newest row; 0 if it does not tell.
func (a *Analysis) newest(ctx context.Context, l *Legacy) int64 {
	_, newest, err := l.Bounds(ctx)
	if err != nil {
		return 0
	}
	return newest
}

// tryLegacy opens a file that is no day file as a legacy one; refused is what
// is said if it is none either.
func tryLegacy(path string, refused error) (*Legacy, error) {
	l, err := OpenLegacy(path)
	var foreign *ForeignError
	if err != nil && (errors.As(refused, &foreign) || IsOurs(path)) {
		return nil, refused
	}
	return l, err
}
