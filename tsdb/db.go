package tsdb

import (
	"context"

	"daybook/tsdb/task"
)

// DB is one data directory.
type DB struct{}

func Open(o Options) (*DB, error)                              { return nil, nil }
func OpenReadOnly(o Options) (*DB, error)                      { return nil, nil }
func (db *DB) Run(ctx context.Context) error                   { return nil }
func (db *DB) Close() error                                    { return nil }
func (db *DB) Ready() Progress                                 { return Progress{} }
func (db *DB) Blocks(ctx context.Context) ([]BlockInfo, error) { return nil, nil }
func (db *DB) Health() Health                                  { return Health{} }
func (db *DB) Reserve(bytes int64) (release func(), err error) { return nil, nil }
func (db *DB) Append(ctx context.Context, recs []Record) (Appended, error) {
	return Appended{}, nil
}
func (db *DB) Get(ctx context.Context, id string) (task.Invocation, error) {
	return task.Invocation{}, nil
}
func (db *DB) Select(ctx context.Context, q Query) (Page, error)     { return Page{}, nil }
func (db *DB) Cut(ctx context.Context, seal bool) (CutResult, error) { return CutResult{}, nil }
func (db *DB) Dump(ctx context.Context, blocks []string, q Query, fn func(*task.Invocation) error) error {
	return nil
}
