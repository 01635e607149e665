package render

import (
	"strconv"

	"daybook/tsdb"
	"daybook/tsdb/task"
)

// AppendBlocks prints the answer of /api/v1/blocks and of `daybook ls --json`,
// with its line feed.
func AppendBlocks(dst []byte, blocks []tsdb.BlockInfo) []byte {
	dst = append(dst, `{"blocks":[`...)
	for i := range blocks {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBlock(dst, &blocks[i])
	}
	return append(dst, "]}\n"...)
}

func appendBlock(dst []byte, b *tsdb.BlockInfo) []byte {
	dst = task.AppendJSONString(append(dst, `{"kind":`...), string(b.Kind))
	dst = AppendText(append(dst, `,"day":`...), b.Day)
	dst = AppendText(append(dst, `,"path":`...), b.Path)
	dst = strconv.AppendInt(append(dst, `,"generation":`...), int64(b.Generation), 10)
	dst = strconv.AppendInt(append(dst, `,"rows":`...), b.Rows, 10)
	dst = strconv.AppendBool(append(dst, `,"rows_exact":`...), b.RowsExact)
	dst = strconv.AppendInt(append(dst, `,"bytes":`...), b.Bytes, 10)
	dst = AppendTime(append(dst, `,"oldest":`...), b.Oldest)
	dst = AppendTime(append(dst, `,"newest":`...), b.Newest)
	dst = strconv.AppendInt(append(dst, `,"gaps":`...), int64(b.Gaps), 10)
	return append(dst, '}')
}

// AppendText prints a JSON string, null if it is empty.
func AppendText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return task.AppendJSONString(dst, s)
}

// AppendTime prints microseconds as Unix seconds, null if they are 0.
func AppendTime(dst []byte, us int64) []byte {
	if us == 0 {
		return append(dst, "null"...)
	}
	return task.AppendSeconds(dst, us)
}
