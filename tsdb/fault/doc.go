// Package fault is where tests reach into the storage: at named points, where
// they kill the process, and at file operations, which they let fail, count or
// write down.
//
// It does nothing at all unless the program is built with the tag "faults": then
// its functions are empty, and the compiler leaves them out. With the tag, a hook
// is asked (Set), and the process kills itself where DAYBOOK_CRASH says:
// "cut.logged:2" the second time that point is reached, "op:40" before the 40th
// file operation.
//
// SQLite's own operations are reported, too, in package blocks, and the log's in
// package tsdb: these are the two that hand out their file system.
//
// The points are listed in docs/reliability.md.
package fault
