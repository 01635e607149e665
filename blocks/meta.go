package blocks

import (
	"context"
	"database/sql/driver"
	"fmt"

	"daybook/tsdb/task"
)

// The keys of the table meta (docs/format/block.md).
const (
	metaKind         = "kind"   // live, sealed or parked
	metaFormat       = "format" // FormatVersion, for people
	metaDay          = "day"    // YYYY-MM-DD
	metaSeq          = "sequence"
	metaMaskVersion  = "mask_version"
	metaGeneration   = "generation"
	metaRows         = "rows"
	metaOldest       = "oldest" // row times in microseconds; 0 without rows
	metaNewest       = "newest"
	metaSealedAt     = "sealed_at" // RFC 3339
	metaSealedBy     = "sealed_by"
	metaVersion      = "daybook_version"
	metaFilterBlocks = "filter_blocks"
	metaIDPages      = "id_pages"
	metaIDKeyBytes   = "id_key_bytes"
	metaWordsCut     = "words_cut" // up to which cut a live file has words
	metaHoursTo      = "hours_to"  // up to where the hours of a live file are complete, in microseconds (rolluphours.go)
	metaWaitRule     = "wait_rule" // waitRule; absent in files whose rollups are of the first one
)

const (
	kindLive   = "live"
	kindSealed = "sealed"
	kindParked = "parked"
)

func setMeta(c *conn, key string, value driver.Value) error {
	return c.exec("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)
}

// hasTable reports whether an attached file has a table.
func hasTable(ctx context.Context, c *conn, schema, table string) (bool, error) {
	var vals [1]driver.Value
	return c.queryRow(ctx, vals[:], "SELECT 1 FROM "+schema+".sqlite_schema WHERE type = 'table' AND name = ?", table)
}

// metaValue reads one key of the main schema; nil if it is absent.
func metaValue(ctx context.Context, c *conn, key string) (driver.Value, error) {
	var vals [1]driver.Value
	_, err := c.queryRow(ctx, vals[:], "SELECT value FROM meta WHERE key = ?", key)
	return vals[0], err
}

func metaInt(ctx context.Context, c *conn, key string) (int64, error) {
	v, err := metaValue(ctx, c, key)
	if err != nil || v == nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("meta %q is not a number: %w", key, errRow)
	}
	return n, nil
}

func metaText(ctx context.Context, c *conn, key string) (string, error) {
	v, err := metaValue(ctx, c, key)
	if err != nil || v == nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("meta %q is not a text: %w", key, errRow)
	}
	return s, nil
}

func metaDayOf(ctx context.Context, c *conn) (task.Day, error) {
	s, err := metaText(ctx, c, metaDay)
	if err != nil {
		return 0, err
	}
	d, err := task.ParseDay(s)
	if err != nil {
		return 0, fmt.Errorf("meta %q is %w: %w", metaDay, err, errRow)
	}
	return d, nil
}
