package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// ErrCheckpoint is returned when a checkpoint could not copy the whole WAL,
// because a reader or writer is in the way: try again later.
var ErrCheckpoint = errors.New("the checkpoint is not complete")

// Checkpoint copies the WAL into the file and, if nobody reads it, empties it.
func (l *Live) Checkpoint(ctx context.Context) error {
	w, err := l.takeWriter(ctx)
	if err != nil {
		return err
	}
	defer func() { l.writer <- w }()
	if err := checkpoint(ctx, w.c); err != nil {
		return fmt.Errorf("%s: %w", l.Name(), err)
	}
	return nil
}

func checkpoint(ctx context.Context, c *conn) error {
	var vals [3]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "PRAGMA main.wal_checkpoint(PASSIVE)"); err != nil {
		return err
	}
	busy, _ := vals[0].(int64)
	if vals[1] != vals[2] || busy != 0 {
		return fmt.Errorf("%v of %v pages: %w", vals[2], vals[1], ErrCheckpoint)
	}
	// To empty the WAL nobody may read; that is not worth waiting for.
	err := c.exec("PRAGMA busy_timeout = 0")
	if err == nil {
		_, err = c.queryRow(ctx, vals[:], "PRAGMA main.wal_checkpoint(TRUNCATE)")
	}
	return errors.Join(err, c.exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyMillis)))
}
