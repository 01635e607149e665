// Package blocks holds the files of a data directory that are SQLite
// databases: the live file of a day that is being written, the sealed file of
// a day that is over, and the attach pool that queries them together. It is
// the only importer of the SQLite driver.
//
// # Model
//
// A day has at most one sealed file and at most one live file. Without a
// sealed file the live one is the day; with one, it is an overlay: its rows
// and its mask come before the sealed rows of the same task_ids. Row keys are
// task.Key order within the day (see schema.go); docs/format/block.md is the
// specification.
//
// A Catalog knows the files. A View pins one generation of it: what a View
// names stays readable until the View is released, also when the catalog has
// moved on and the file is to be deleted.
//
// # Traps this package exists to keep
//
// A live file is never opened except through SQLite (closing any other file
// descriptor would drop the process's locks on it). No path is used twice for
// different content. ATTACH always names mode=ro, so that a deleted file is
// not created again. Sealed files are attached immutable.
package blocks
