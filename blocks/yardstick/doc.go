// Package yardstick is what Daybook is measured against in the same run: other
// ways to keep the same rows in SQLite, through the same driver, as durable
// (WAL mode, synchronous=FULL) and without anything of Daybook's own.
//
//   - Ancestor is the layout that Daybook replaces: a TEXT primary key on
//     task_id, indexes on (finished_at) and (task_name, finished_at), a second
//     table for details, INSERT OR REPLACE.
//   - Plain is the least that can be done: rows appended to one table by a
//     growing integer key, ids in 16 bytes, names as numbers, details as
//     columns, no index, 32 rows a statement. It answers nothing but a scan, so
//     it is a limit and no alternative.
//
// Figures on a machine depend on what else it does; the ratio of two figures of
// one run does much less.
package yardstick
