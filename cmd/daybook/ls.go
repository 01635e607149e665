package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/render"
	"daybook/tsdb"
)

type lsCommand struct {
	dir  string
	json bool
}

func (c *lsCommand) register(cmd *kingpin.CmdClause) {
	storagePathFlag(cmd, &c.dir)
	cmd.Flag("json", "Print what /api/v1/blocks answers.").BoolVar(&c.json)
}

func (c *lsCommand) run() error {
	return inspect(c.dir, func(ctx context.Context, db *tsdb.DB) error {
		blocks, err := db.Blocks(ctx)
		if err != nil {
			return fmt.Errorf("list the blocks: %w", err)
		}
		w := bufio.NewWriter(os.Stdout)
		if c.json {
			w.Write(render.AppendBlocks(nil, blocks)) // w keeps the error
		} else {
			printBlocks(w, blocks)
		}
		return w.Flush()
	})
}

func printBlocks(w *bufio.Writer, blocks []tsdb.BlockInfo) {
	out := newColumns(w, "KIND", "DAY", ">ROWS", ">BYTES", "OLDEST", "NEWEST", ">GAPS", "PATH")
	for _, b := range blocks {
		rows := strconv.FormatInt(b.Rows, 10)
		if !b.RowsExact {
			rows = "~" + rows
		}
		out.row(string(b.Kind), b.Day, rows, strconv.FormatInt(b.Bytes, 10), clock(b.Oldest), clock(b.Newest), strconv.Itoa(b.Gaps), b.Path)
	}
	out.flush()
}

// clock is a time for people, "" if it is not known.
func clock(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000Z")
}
